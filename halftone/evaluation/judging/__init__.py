"""Makes the judge of `halftone.matching.judge`: what it learns from, and how."""
