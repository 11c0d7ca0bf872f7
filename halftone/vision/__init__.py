"""Turns pictures into descriptors: preprocessing, network, whitening, versions on a device.

`model` loads and saves a version's network with all that must travel with it. `network` is the
network itself and `resnet` has its layers, `whitening` fits the last of them, `inference` runs it
fast on a GPU, `quantizing` makes its int8 form for CPUs, and `threads` limits the threads of torch.
`simulation` prints batches of pictures for training, `reprinting` a single one. This is the only
room of the library that imports torch; `preprocessing` and `reprinting` do without. Start with
`model`.
"""
