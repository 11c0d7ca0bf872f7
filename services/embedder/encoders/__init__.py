"""How a model version computes descriptors: one interface, two engines.

`encoder` is the interface that the batcher uses; `torch_encoder` and `openvino_encoder` implement
it and are held to one contract suite (tests/contract/test_encoder.py). `decoding` makes tensors of
pictures.
"""
