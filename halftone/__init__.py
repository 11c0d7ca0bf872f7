"""Halftone: near-duplicate image search for newspaper and journal archives.

Programs use `halftone.client`, and `halftone.errors` for what it raises; docs/api.md has an example
of each call. The rooms of the library are described in docs/architecture.md. Importing this package
reads no environment, opens no connection and never imports torch.
"""

__version__ = "0.1.0"
