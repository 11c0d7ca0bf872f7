"""What both ends of a channel say about a picture that is too large."""

from __future__ import annotations

from halftone.core import wire


def test_a_size_is_told_beside_its_limit():
    limit = wire.MAX_IMAGE_BYTES
    assert wire.describe_excess(limit + 1, limit=limit) == "has 32.1 MiB; the limit is 32 MiB"
    assert wire.describe_excess(2 * limit, limit=limit) == "has 64.0 MiB; the limit is 32 MiB"
    assert wire.describe_excess(1_500, limit=1_000) == "has 1,500 bytes; the limit is 1,000"
