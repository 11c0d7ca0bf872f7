"""Draws the pictures of a report: a query with its candidates, or two pictures side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from halftone.core import errors
from halftone.core.settings import read_max_pixels
from halftone.evaluation.metrics import UNITS
from halftone.evaluation.report.page import ReportPicture
from halftone.evaluation.report.plots import DIFFERENT, SAME
from halftone.imaging import images

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from halftone.evaluation.judged import JudgedImages
    from halftone.evaluation.metrics import Judgement

_SIDE: Final = 132
_LINE: Final = 16
_GAP: Final = 8
_FRAME: Final = 3
_GREYS: Final = 24
_RETRIEVED: Final = 5


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A picture of a strip.

    `same` frames it in green (the same picture) or red (another one); None draws no frame.
    """

    path: Path
    label: str
    same: bool | None = None


def strip(path: Path, *, tiles: Sequence[Tile], side: int = _SIDE) -> None:
    """Draw tiles from left to right into a PNG of few colours.

    Args:
        path: The PNG file to write.
        tiles: The pictures.
        side: Width and height of a tile, in pixels.
    """
    width = len(tiles) * (side + _GAP) - _GAP
    sheet = Image.new("RGB", (width, side + _LINE), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=11)
    for number, tile in enumerate(tiles):
        left = number * (side + _GAP)
        if tile.same is not None:
            box = (left, 0, left + side - 1, side - 1)
            draw.rectangle(box, outline=SAME if tile.same else DIFFERENT, width=_FRAME)
        small = _small(tile.path, side=side - 2 * _FRAME - 2)
        if small is None:
            draw.text((left + 8, side // 2), "cannot be read", fill="#666666", font=font)
        else:
            sheet.paste(small, (left + (side - small.width) // 2, (side - small.height) // 2))
        draw.text((left + 2, side + 1), tile.label, fill="black", font=font)
    greys = [round(step * 255 / (_GREYS - 1)) for step in range(_GREYS)]
    palette = Image.new("P", (1, 1))
    marks = [int(colour[at : at + 2], 16) for colour in (SAME, DIFFERENT) for at in (1, 3, 5)]
    palette.putpalette([level for grey in greys for level in (grey,) * 3] + marks)
    sheet.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


def retrieval_strips(
    folder: Path, *, judged: JudgedImages, queries: Sequence[int], prefix: str
) -> list[ReportPicture]:
    """Draw a strip for each query: its picture, then its first candidates.

    Args:
        folder: The report's folder, which gets the files.
        judged: The judged images. Nothing is drawn if they have no files.
        queries: The queries, by their places in `truth.queries`.
        prefix: What the names of the files begin with.
    """
    judgement, truth = judged.judgement, judged.judgement.truth
    if judged.paths is None:
        return []
    pictures = []
    for number, query in enumerate(queries, start=1):
        image = int(truth.queries[query])
        rank = int(judgement.first_rank[query])
        precision = float(judgement.average_precision[query])
        title = (
            f"{judged.names[image]}: first match at rank {rank}, average precision {precision:.2f}"
        )
        shown = candidate_tiles(judged, query=query)
        tiles = [Tile(path=judged.paths[image], label="query"), *shown]
        file = f"{prefix}-{number}.png"
        strip(folder / file, tiles=tiles)
        found = "; ".join(
            f"{tile.label} {'the same picture' if tile.same else 'another picture'}"
            for tile in shown
        )
        pictures.append(
            ReportPicture(file=file, alt=f"{title}. {found}.", caption=title, wide=True)
        )
    return pictures


def candidate_tiles(judged: JudgedImages, *, query: int) -> list[Tile]:
    """Return the first candidates of a query, framed by whether they match.

    If none of them matches, the query's best match comes last, with its rank.
    """
    judgement, paths = judged.judgement, judged.paths
    if paths is None:
        return []
    image = int(judgement.truth.queries[query])
    candidates = judgement.candidates[query]
    candidates = candidates[candidates >= 0][:_RETRIEVED]
    same = judgement.truth.are_matches(np.full(len(candidates), image), candidates)
    tiles = [
        Tile(path=paths[candidate], label=f"{score / UNITS:.3f}", same=bool(right))
        for candidate, score, right in zip(
            candidates, judgement.candidate_scores[query], same, strict=False
        )
    ]
    rank = int(judgement.first_rank[query])
    if rank > len(candidates):
        match, score = _best_match(judgement, image=image)
        tiles.append(Tile(path=paths[match], label=f"{score:.3f}  rank {rank}", same=True))
    return tiles


def pair_pictures(
    folder: Path,
    *,
    judged: JudgedImages,
    pairs: Sequence[tuple[int, int]],
    scores: Sequence[float],
    same: bool,
    prefix: str,
) -> list[ReportPicture]:
    """Draw the two pictures of each pair side by side.

    Args:
        folder: The report's folder, which gets the files.
        judged: The judged images. Nothing is drawn if they have no files.
        pairs: The rows of the two images of each pair.
        scores: The score of each pair.
        same: Whether the pairs show the same picture by the truth; it colours their frames.
        prefix: What the names of the files begin with.
    """
    if judged.paths is None:
        return []
    pictures = []
    for number, ((a, b), score) in enumerate(zip(pairs, scores, strict=True), start=1):
        file = f"{prefix}-{number}.png"
        tiles = [
            Tile(path=judged.paths[a], label=f"{score:.3f}", same=same),
            Tile(path=judged.paths[b], label="", same=same),
        ]
        strip(folder / file, tiles=tiles)
        verdict = "the same picture" if same else "different pictures by the truth"
        caption = f"{score:.3f}: {judged.names[a]} / {judged.names[b]}"
        pictures.append(ReportPicture(file=file, alt=f"{caption}, {verdict}", caption=caption))
    return pictures


def _best_match(judgement: Judgement, *, image: int) -> tuple[int, float]:
    """Return the match of a query that scores highest, and its score."""
    truth = judgement.truth
    mine = np.flatnonzero((truth.matches == image).any(axis=1))
    best = mine[judgement.true_scores[mine].argmax()]
    a, b = truth.matches[best]
    return int(b if a == image else a), float(judgement.true_scores[best]) / UNITS


def _small(path: Path, *, side: int) -> Image.Image | None:
    try:
        picture = images.decode(
            path.read_bytes(), max_pixels=read_max_pixels(), target=2 * side, luminance=True
        )
    except (OSError, errors.ImageRejected):
        return None
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture
