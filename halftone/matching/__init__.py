"""What two pictures share: local features, perceptual hashes, visual words, geometry, probability.

Importing the package imports nothing. It needs OpenCV, pdqhash, NumPy and Pillow, and no torch.
"""
