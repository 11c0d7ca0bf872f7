"""Halftone: near-duplicate image search for newspaper and journal archives.

Importing this package reads no environment, opens no connection and never imports torch.
"""

__version__ = "0.1.0"
