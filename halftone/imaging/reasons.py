"""The reasons for which a picture is refused, as callers of the services see them."""

from __future__ import annotations

from typing import Final

EMPTY: Final = "EMPTY"
NOT_AN_IMAGE: Final = "NOT_AN_IMAGE"
UNSUPPORTED_FORMAT: Final = "UNSUPPORTED_FORMAT"
TRUNCATED: Final = "TRUNCATED"
CORRUPT: Final = "CORRUPT"
TOO_MANY_BYTES: Final = "TOO_MANY_BYTES"
TOO_MANY_PIXELS: Final = "TOO_MANY_PIXELS"
TOO_SMALL: Final = "TOO_SMALL"
ANIMATED: Final = "ANIMATED"
REGION_OUTSIDE: Final = "REGION_OUTSIDE"
TOO_EXPENSIVE: Final = "TOO_EXPENSIVE"
"""The picture takes more memory or time to decode than a picture may take."""
