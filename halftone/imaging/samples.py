"""Turns samples of more than eight bits into grey levels.

Scanners and programs keep samples of 8, 10, 12 or 14 bits in 16 bits as they are. Such a file says
16, and read as 16 it is black. White is therefore the largest number of the fewest bits that hold
all samples. A picture of 16 bits whose brightest sample is below a quarter of white becomes
brighter by that, and never other than in proportion.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from halftone.imaging.strips import cut_strips

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from PIL import ImageFile

_DEPTHS: Final = (8, 10, 12, 14, 16)
_BITS, _LARGEST = 258, (281, 341)
_SHALLOW: Final = 1 << 6
"""High bytes below this are those of samples of at most 14 bits."""
_SWAPPED: Final = {
    ";16L": ";16B",
    ";16B": ";16L",
    ";16N": ";16B" if sys.byteorder == "little" else ";16L",
}


def read_depth(picture: Image.Image) -> int:
    """Return how many bits the samples of a TIFF have at least, as its tags say; 0 if they do not.

    The largest sample of 16 bits says nothing: programs write it whatever the samples are.
    """
    tags = getattr(picture, "tag_v2", {})
    bits = _read_number(tags, _BITS)
    depth = bits if bits < _DEPTHS[-1] else 0
    for tag in _LARGEST:
        largest = _read_number(tags, tag).bit_length()
        depth = max(depth, largest if largest < _DEPTHS[-1] else 0)
    return depth


def scale(picture: Image.Image, *, depth: int = 0, inverted: bool = False) -> Image.Image:
    """Return the grey levels of a picture with one sample of more than 8 bits a pixel.

    Args:
        picture: A picture of mode "I;16" (in any byte order), "I" or "F".
        depth: How many bits the samples have at least; see `read_depth`.
        inverted: Whether white is zero.
    """
    grey = Image.new("L", picture.size)
    if picture.mode.startswith("I;16"):
        largest = max(int(np.asarray(strip).max()) for _, strip in cut_strips(picture))
        table = _make_table(_find_white(largest, depth=depth), inverted=inverted)
        for top, strip in cut_strips(picture):
            grey.paste(Image.fromarray(table[np.asarray(strip)]), (0, top))
        return grey
    low, high = _find_range(picture, depth=depth)
    for top, strip in cut_strips(picture):
        scaled = (_read_floats(strip) - low) * (255 / max(high - low, 1e-12))
        values = np.rint(255 - scaled if inverted else scaled).clip(0, 255)
        grey.paste(Image.fromarray(values.astype(np.uint8)), (0, top))
    return grey


def is_wide(picture: ImageFile.ImageFile) -> bool:
    """Return whether Pillow will keep only the high byte of each of several samples a pixel.

    It must be asked before the pixels are decoded.
    """
    return any(
        ";16" in name and not name.startswith(("I", "RGBa", "LA"))
        for name in (_get_rawmode(tile) for tile in picture.tile)
    )


def widen(picture: Image.Image, *, reopen: Callable[[], ImageFile.ImageFile]) -> Image.Image:
    """Return a picture of several 16-bit samples a pixel, with samples of fewer bits scaled.

    Args:
        picture: The decoded picture, of the high bytes. It is changed in place.
        reopen: Opens the file again; it is read a second time if the samples use few bits, and
            takes as much memory again.
    """
    bands = picture.getbands()
    opaque = [band for band in range(len(bands)) if bands[band] != "A"]
    extremes = picture.getextrema()
    if max(extremes[band][1] for band in opaque) >= _SHALLOW:  # type: ignore[index]  # one pair a band
        return picture
    low_bytes = reopen()
    # Read in the other byte order, the low bytes are the high ones.
    low_bytes.tile = [
        tile._replace(args=_swap(tile.args))  # type: ignore[arg-type]  # what a decoder takes
        for tile in low_bytes.tile
    ]
    low_bytes.load()
    most = np.zeros(len(bands), dtype=np.int64)
    for (_, high), (_, low) in zip(cut_strips(picture), cut_strips(low_bytes), strict=True):
        most = np.maximum(most, _join(high, low).max(axis=(0, 1)))
    white = _find_white(max(int(most[band]) for band in opaque), depth=0)
    tables = [
        _make_table(white if band in opaque else _find_white(int(most[band]), depth=0))
        for band in range(len(bands))
    ]
    # Each strip is a copy, so the picture takes what comes of it.
    for (top, high), (_, low) in zip(cut_strips(picture), cut_strips(low_bytes), strict=True):
        levels = _join(high, low)
        for band, table in enumerate(tables):
            levels[..., band] = table[levels[..., band]]
        narrow = levels.astype(np.uint8).tobytes()
        picture.paste(Image.frombytes(picture.mode, high.size, narrow), (0, top))
    return picture


def _join(high: Image.Image, low: Image.Image) -> NDArray[np.uint16]:
    joined: NDArray[np.uint16] = np.asarray(high).astype(np.uint16)
    joined <<= 8
    joined |= np.asarray(low)
    return joined


def _find_white(largest: int, *, depth: int) -> int:
    bits = max(largest.bit_length(), depth)
    return (1 << next((each for each in _DEPTHS if each >= bits), _DEPTHS[-1])) - 1


def _make_table(white: int, *, inverted: bool = False) -> NDArray[np.uint8]:
    """Return the grey level of each sample of 16 bits, uint8 [65536]."""
    levels = np.rint(np.arange(1 << 16) * (255 / white)).clip(0, 255)
    table: NDArray[np.uint8] = (255 - levels if inverted else levels).astype(np.uint8)
    return table


def _find_range(picture: Image.Image, *, depth: int) -> tuple[float, float]:
    """Return the samples that become black and white."""
    extremes = [
        (part.min(), part.max()) for part in (_read_floats(s) for _, s in cut_strips(picture))
    ]
    low, high = float(min(extremes)[0]), float(max(high for _, high in extremes))
    if picture.mode == "I" and low >= 0 and high < 1 << _DEPTHS[-1]:
        return 0.0, float(_find_white(int(high), depth=depth))
    if picture.mode == "F" and low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high


def _read_floats(strip: Image.Image) -> NDArray[np.float32]:
    samples = np.asarray(strip).astype(np.float32)
    samples[~np.isfinite(samples)] = 0
    return samples


def _get_rawmode(tile: object) -> str:
    args = getattr(tile, "args", None)
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _swap(args: object) -> object:
    if isinstance(args, tuple):
        return (_swap(args[0]), *args[1:])
    text = str(args)
    return text[:-4] + _SWAPPED.get(text[-4:], text[-4:])


def _read_number(tags: object, tag: int) -> int:
    """Return the largest number of a tag; 0 if it holds something else, as in a damaged file."""
    try:
        value = tags.get(tag, 0)  # type: ignore[attr-defined]  # a mapping
        values = value if isinstance(value, tuple) else (value,)
        return max((each for each in values if isinstance(each, int)), default=0)
    except Exception:  # noqa: BLE001 - Pillow's parsers raise anything on damaged metadata
        return 0
