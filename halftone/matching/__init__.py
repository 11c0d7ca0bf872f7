"""Compares two pictures: local features, hashes, visual words, geometry, probability.

`fingerprint` makes everything by which a picture is found, from `features`, `pdq` and `words`.
`fusion` merges the candidates of these channels, `verification` compares two pictures,
`probability` turns the evidence into one number, and `relation` names the kind of match. `offline`
searches in memory as the service does. The room needs OpenCV, NumPy and Pillow, knows no
archive and no service, and imports no torch. Start with `fingerprint`.
"""
