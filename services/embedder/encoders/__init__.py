"""Computes the descriptors of a model version: one interface, several engines.

`encoder` is the interface that the batcher uses. `portable_encoder` runs versions on the CPU by
OpenVINO or onnxruntime, also in int8, `torch_encoder` on the CPU or on CUDA; all pass one contract
suite (tests/contract/test_encoder.py). `choice` picks one of them by the settings. `decoding` turns
an image's bytes into the network's inputs. Start with `encoder`.
"""
