"""Writes TIFF files of kinds that Pillow does not write."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

NONE, DEFLATE, WEBP, JPEG_2000 = 1, 8, 50001, 34712


@dataclass(kw_only=True)
class Page:
    """A page to be written.

    Attributes:
        values: [height, width] or [height, width, samples], of 8, 16 or 32 bits.
        compression: The number of the compression.
        compress: Compresses the samples of a strip or tile [rows, columns(, samples)]; None: by
            `compression`.
        rows: The rows of a strip, or the side of a tile; 0: one strip.
        tiled: Whether there are tiles.
        photometric: 0 white is zero, 1 black is zero, 2 RGB.
        planar: Whether each colour has its own strips.
        predictor: Whether each sample is kept as its difference to the one before.
        kind: The subfile type; None: it is not said.
        tags: Further tags: number → (type, values).
        below: Pages that the page links to (SubIFDs).
    """

    values: np.ndarray
    compression: int = NONE
    compress: Callable[[np.ndarray], bytes] | None = None
    rows: int = 0
    tiled: bool = False
    photometric: int | None = None
    planar: bool = False
    predictor: bool = False
    kind: int | None = None
    tags: dict[int, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    below: tuple[Page, ...] = ()


def write_tiff(*pages: Page, big_endian: bool = False, big: bool = False) -> bytes:
    """Return a TIFF, or a BigTIFF if `big`, of some pages."""
    order = ">" if big_endian else "<"
    writer = _Writer(order, big=big)
    for page in pages:
        writer.add(page)
    return writer.finish()


class _Writer:
    def __init__(self, order: str, *, big: bool) -> None:
        self._order, self._big = order, big
        mark = b"MM" if order == ">" else b"II"
        head = struct.pack(order + ("HHHQ" if big else "HL"), *((43, 8, 0, 0) if big else (42, 0)))
        self._content = bytearray(mark + head)
        self._link = 8 if big else 4

    def add(self, page: Page) -> None:
        below = [self._write(each)[0] for each in page.below]
        start, link = self._write(page, below=below)
        self._put_offset(self._link, start)
        self._link = link

    def finish(self) -> bytes:
        return bytes(self._content)

    def _put_offset(self, at: int, value: int) -> None:
        struct.pack_into(self._order + ("Q" if self._big else "L"), self._content, at, value)

    def _write(self, page: Page, *, below: list[int] | None = None) -> tuple[int, int]:
        """Write the strips and the directory; return its offset and that of its link."""
        values = page.values if page.values.ndim == 3 else page.values[..., None]
        height, width, samples = values.shape
        bits = values.dtype.itemsize * 8
        step = page.rows or height
        planes = [values[..., [each]] for each in range(samples)] if page.planar else [values]
        parts = [part for plane in planes for part in self._cut(plane, page, step)]
        offsets, lengths = [], []
        for part in parts:
            content = self._compress(part, page)
            offsets.append(len(self._content))
            lengths.append(len(content))
            self._content += content + b"\0" * (len(content) % 2)
        photometric = page.photometric if page.photometric is not None else 2 if samples > 2 else 1
        tags: dict[int, tuple[int, tuple[int, ...]]] = {
            256: (4, (width,)),
            257: (4, (height,)),
            258: (3, (bits,) * samples),
            259: (3, (page.compression,)),
            262: (3, (photometric,)),
            277: (3, (samples,)),
            284: (3, (2 if page.planar else 1,)),
            339: (3, (3 if values.dtype.kind == "f" else 1,) * samples),
            **page.tags,
        }
        if page.kind is not None:
            tags[254] = (4, (page.kind,))
        if page.predictor:
            tags[317] = (3, (2,))
        if samples in (2, 4):
            tags[338] = (3, (2,))
        if below:
            tags[330] = (16 if self._big else 4, tuple(below))
        wide = 16 if self._big else 4
        if page.tiled:
            tags |= {322: (3, (step,)), 323: (3, (step,)), 324: (wide, tuple(offsets))}
            tags[325] = (4, tuple(lengths))
        else:
            tags |= {273: (wide, tuple(offsets)), 278: (4, (step,)), 279: (4, tuple(lengths))}
        return self._write_directory(tags)

    @staticmethod
    def _cut(plane: np.ndarray, page: Page, step: int) -> list[np.ndarray]:
        height, width, _ = plane.shape
        if not page.tiled:
            return [plane[top : top + step] for top in range(0, height, step)]
        across, down = -(-width // step), -(-height // step)
        padding = ((0, down * step - height), (0, across * step - width), (0, 0))
        padded = np.pad(plane, padding, mode="edge")
        return [
            padded[row * step : (row + 1) * step, column * step : (column + 1) * step]
            for row in range(down)
            for column in range(across)
        ]

    def _compress(self, part: np.ndarray, page: Page) -> bytes:
        if page.compress is not None:
            return page.compress(part)
        if page.predictor:
            part = np.concatenate([part[:, :1], np.diff(part, axis=1)], axis=1)
        data = part.astype(part.dtype.newbyteorder(self._order)).tobytes()
        return zlib.compress(data) if page.compression == DEFLATE else data

    def _write_directory(self, tags: dict[int, tuple[int, tuple[int, ...]]]) -> tuple[int, int]:
        place, entries = 8 if self._big else 4, b""
        for number, (kind, values) in sorted(tags.items()):
            form = {1: "B", 3: "H", 4: "L", 16: "Q"}[kind]
            data = struct.pack(f"{self._order}{len(values)}{form}", *values)
            if len(data) > place:
                where = struct.pack(self._order + ("Q" if self._big else "L"), len(self._content))
                self._content += data + b"\0" * (len(data) % 2)
                data = where
            entries += struct.pack(
                self._order + ("HHQ" if self._big else "HHL"), number, kind, len(values)
            ) + data.ljust(place, b"\0")
        start = len(self._content)
        self._content += struct.pack(self._order + ("Q" if self._big else "H"), len(tags)) + entries
        link = len(self._content)
        self._content += bytes(place)
        return start, link
