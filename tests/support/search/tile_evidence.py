"""Evidence of comparisons tile by tile, for tests that need no pictures."""

from __future__ import annotations

from halftone.matching.agreement import TileEvidence

WHOLE = TileEvidence(
    agreeing=1,
    solid=1,
    breadth=1,
    pure=1,
    count=200,
    contradicting=0,
    differing=0,
    judgement=4,
)
"""What a faithful printing of the whole picture shows."""
