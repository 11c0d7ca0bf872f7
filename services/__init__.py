"""Halftone's services: embedder, search and trainer."""
