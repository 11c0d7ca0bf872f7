"""Reports on a model version: one HTML page without scripts, and its diagrams.

`page` is the format (sections of text, tables, pictures); the other modules make sections of
figures. Nothing here computes a figure. Start with `model_report`.
"""
