"""Compares two pictures: local features, hashes, visual words, geometry, probability.

`fingerprint` makes everything by which a picture is found, `verification` compares two pictures,
and `probability` turns the evidence into one number. The room needs OpenCV, pdqhash, NumPy and
Pillow, knows no archive and no service, and imports no torch. Start with `fingerprint`.
"""
