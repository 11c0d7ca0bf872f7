"""Pictures into descriptors: preprocessing, network, whitening, model versions, press simulation.

Only `halftone.vision.preprocessing` and `halftone.vision.reprinting` work without torch; nothing is imported here, so that
importing the package costs nothing.
"""
