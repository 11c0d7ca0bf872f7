"""How many true printings are among the candidates, as an archive grows.

    python -m tests.bench.candidates VERSION --archive PATH [--strangers PATH] [--crops N]
        [--quarters 200] [--depth 50] [--json FILE]

What is not a candidate is never compared, however alike it is. So this compares nothing: it lists
the candidates of each channel (descriptor, hash, words) and of all together, as searches take
them, and says for how many queries a true printing is among the first 1, 10 and 50. Queries are
the pictures of a labelled archive that were printed again, by its rules, and `--quarters` seeded
quarters of its other pictures, printed anew. `--strangers` adds the pictures of another folder to
what is searched, and `--crops` so many seeded crops of each.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from halftone.archive import manifests
from halftone.evaluation import labelled
from halftone.evaluation.truth import FALSE, MATCH
from halftone.imaging import images
from halftone.imaging.orientations import orientations
from halftone.matching.features import DIMENSION, SIDE
from halftone.matching.fingerprint import archive_fingerprint, fingerprint
from halftone.matching.offline import Gallery
from halftone.vision.portable import PortableModel
from halftone.vision.reprinting import reprint
from tests.bench.descriptors import crop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from halftone.matching.fingerprint import Fingerprint

ALL: Final = orientations(mirrored=True, rotated=True)
CHANNELS: Final = ("all together", "descriptor", "hash", "words")
RANKS: Final = (1, 10, 50)
_BATCH: Final = 64
_MAX_PIXELS: Final = 100_000_000


def run(
    model: PortableModel,
    *,
    archive: Path,
    strangers: Path | None,
    crops: int = 0,
    quarters: int = 200,
    depth: int = RANKS[-1],
    seed: int = 0,
) -> dict[str, Any]:
    """Return the recall of each channel, for each kind of query and size of archive."""
    pictures = labelled.read_labelled(archive)
    others = manifests.list_pictures(strangers) if strangers is not None else []
    read = [_read(path) for path in pictures.paths]
    descriptors = [_embed(model, read)]
    prints: list[Fingerprint] = [archive_fingerprint(each) for each in read]
    truth = pictures.truth()
    queries = _known(truth, read=read)
    unprinted = np.setdiff1d(np.arange(len(read)), truth.matches)
    queries += _print_quarters(
        [(int(row), read[row]) for row in unprinted], count=quarters, seed=seed
    )
    stages = [len(read)]
    for batch in _read_strangers(others, crops=crops, seed=seed):
        descriptors.append(_embed(model, batch))
        prints += [_without_features(archive_fingerprint(each)) for each in batch]
    if others:
        stages.append(len(prints))
    rows = np.concatenate(descriptors)
    results: dict[str, Any] = {}
    asked = [
        (kind, image, matches, left_out, fingerprint(image), _views(model, image))
        for kind, image, matches, left_out in queries
    ]
    for size in stages:
        gallery = Gallery(rows[:size], prints[:size])
        ranks: dict[str, dict[str, list[float]]] = {}
        start = time.perf_counter()
        for kind, _, matches, left_out, made, views in asked:
            found = gallery.find_candidates(views, made, depth=depth, without=left_out)
            for name, listed in zip(CHANNELS, (found.rows, *found.channels), strict=True):
                at = [place for place, row in enumerate(listed, start=1) if row in matches]
                ranks.setdefault(kind, {}).setdefault(name, []).append(min(at, default=np.inf))
        results[str(size)] = {
            "seconds_per_query": (time.perf_counter() - start) / len(asked),
            **{
                kind: {
                    name: {str(k): float((np.array(found) <= k).mean()) for k in RANKS}
                    for name, found in channels.items()
                }
                for kind, channels in ranks.items()
            },
        }
    return results


def _known(
    truth: Any, *, read: Sequence[Image.Image]
) -> list[tuple[str, Image.Image, set[int], list[int]]]:
    """Return the queries that have a known printing, their matches, and the rows to leave out."""
    queries = []
    for query in truth.queries.tolist():
        kinds = truth.kinds(query, query + 1)[0]
        matches = set(np.flatnonzero(kinds == MATCH).tolist())
        left_out = [row for row in np.flatnonzero(kinds != FALSE).tolist() if row not in matches]
        queries.append(("printed again", read[query], matches, [query, *left_out]))
    return queries


def _print_quarters(
    pictures: Sequence[tuple[int, Image.Image]], *, count: int, seed: int
) -> list[tuple[str, Image.Image, set[int], list[int]]]:
    """Return printings of quarters of pictures: half of each side, anywhere."""
    chance = np.random.default_rng(seed)
    queries = []
    for place in chance.permutation(len(pictures))[:count].tolist():
        row, picture = pictures[place]
        width, height = picture.width // 2, picture.height // 2
        left = int(chance.integers(0, picture.width - width + 1))
        top = int(chance.integers(0, picture.height - height + 1))
        part = picture.crop((left, top, left + width, top + height))
        queries.append(("a quarter", reprint(part, seed=row, side=700).convert("L"), {row}, []))
    return queries


def _read(path: Path) -> Image.Image:
    return images.decode(path.read_bytes(), max_pixels=_MAX_PIXELS, target=2 * SIDE, luminance=True)


def _read_strangers(paths: Sequence[Path], *, crops: int, seed: int) -> Iterator[list[Image.Image]]:
    """Yield batches of pictures and of crops of them."""

    def read(row: int) -> list[Image.Image]:
        picture = _read(paths[row])
        chance = np.random.default_rng([seed, row])
        return [picture, *(crop(picture, chance) for _ in range(crops))]

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), _BATCH):
            found = pool.map(read, range(start, min(start + _BATCH, len(paths))))
            yield [each for pictures in found for each in pictures]


def _embed(model: PortableModel, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
    parts = [
        model.embed(
            np.stack([model.spec.preprocessing(each) for each in pictures[at : at + _BATCH]])
        )
        for at in range(0, len(pictures), _BATCH)
    ]
    return np.concatenate(parts)


def _views(model: PortableModel, picture: Image.Image) -> dict[Any, NDArray[np.float32]]:
    pixels = model.spec.preprocessing(picture)
    rows = model.embed(np.stack([way.apply(pixels) for way in ALL]))
    return dict(zip(ALL, rows, strict=True))


def _without_features(made: Fingerprint) -> Fingerprint:
    """Drop the local features, which take most of the memory and are not compared here."""
    features = dataclasses.replace(
        made.features,
        points=np.empty((0, 4), dtype=np.float32),
        descriptors=np.empty((0, DIMENSION), dtype=np.uint8),
        copy=b"",
    )
    return dataclasses.replace(made, features=features)


def show(results: dict[str, Any]) -> None:
    """Print the figures as a table."""
    table = Table("pictures", "query", "candidates by", *(f"first {k}" for k in RANKS))
    for size, found in results.items():
        for kind in (key for key in found if key != "seconds_per_query"):
            for name, recalls in found[kind].items():
                table.add_row(size, kind, name, *(f"{recalls[str(k)]:.3f}" for k in RANKS))
    Console(width=110).print(table)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("version", type=Path, metavar="VERSION")
    parser.add_argument("--archive", required=True, type=Path)
    parser.add_argument("--strangers", type=Path)
    parser.add_argument("--crops", type=int, default=0)
    parser.add_argument("--quarters", type=int, default=200)
    parser.add_argument("--depth", type=int, default=RANKS[-1])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = run(
        PortableModel.load(arguments.version),
        archive=arguments.archive,
        strangers=arguments.strangers,
        crops=arguments.crops,
        quarters=arguments.quarters,
        depth=arguments.depth,
    )
    show(results)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
