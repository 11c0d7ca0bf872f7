"""Turns pictures into descriptors: preprocessing, network, whitening, versions on a device.

`model` loads and saves a version's network with all that must travel with it. `network` is the
network itself, `resnet` and `efficientnet` have its layers and `initial_weights` reads ImageNet's;
`whitening` fits the last layers, `inference` runs it fast on a GPU, `graph` writes it for CPUs with
`graph_builder`, `quantizing` makes its int8 form, and `threads` limits the threads of torch.
`simulation` prints batches of pictures for training, `reprinting` a single one; `furnishing` draws
the furniture that calibrations learn from. This is the only room of the library that imports torch;
`preprocessing`, `reprinting` and `furnishing` do without. Start with `model`.
"""
