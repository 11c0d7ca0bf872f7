"""Draws printed furniture around pictures, for what is fitted: frames, heads, boards, maps.

A calibration learns from these pairs that shared furniture is no shared picture. Pictures come in,
pairs of clean sheets go out; `reprinting` prints them. Nothing here is shared with the benchmark
in `halftone.evaluation.furniture`, which judges what was fitted. Start with `pairs`.
"""

from halftone.vision.furnishing.pairs import KINDS, Pair, furnish_pair

__all__ = ["KINDS", "Pair", "furnish_pair"]
