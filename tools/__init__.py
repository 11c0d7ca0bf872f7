"""Holds programs for those who work on Halftone; nothing here is installed."""
