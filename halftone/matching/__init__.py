"""What two pictures share: local features, perceptual hashes, visual words, geometry, probability.

`fingerprint` makes everything that a picture is found by, `verification` compares two pictures, and
`probability` turns the evidence into one number. It needs OpenCV, pdqhash, NumPy and Pillow, knows
no archive and no service, and imports no torch. Start with `fingerprint`.
"""
