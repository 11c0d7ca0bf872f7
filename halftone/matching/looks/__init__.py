"""Looks at two registered pictures: whether what they share is a picture, and where they differ.

Small convolutional networks, packaged with their weights, that run on NumPy.
"""
