"""Turns pictures into descriptors: preprocessing, network, whitening, versions on a device.

`model` loads and saves a version's network with all that must travel with it, `simulation` prints
batches of pictures for training. This is the only room of the library that imports torch;
`preprocessing` and `reprinting` do without. Start with `model`.
"""
