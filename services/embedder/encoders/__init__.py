"""Computes the descriptors of a model version: one interface, two engines.

`encoder` is the interface that the batcher uses. `torch_encoder` and `openvino_encoder` implement
it and pass one contract suite (tests/contract/test_encoder.py). `decoding` turns an image's bytes
into the network's inputs. Start with `encoder`.
"""
