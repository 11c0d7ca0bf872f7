"""Pictures into descriptors: preprocessing, network, whitening, model versions, press simulation.

Importing the package imports nothing; `preprocessing` and `reprinting` work without torch.
"""
