"""Descriptors alone, several model versions beside each other: how well they find, and how fast.

    python -m tests.bench.descriptors --archive PATH [--strangers PATH] [--crops N]
        [--imagenet BACKBONE …] [VERSION …]

Nothing is compared, and there are no hashes and no words: the cosine of descriptors ranks. The
archive has a manifest and a `groups.json` or groups; its rules hold. A query is taken as it is,
with its mirror image, and in all eight orientations, as searches take it. `--strangers` adds the
pictures of another folder to what is searched, none of which matches; `--crops` adds so many
seeded crops of each of them, for a larger archive of the same kind.

VERSION is the directory of a published version. `--imagenet` adds the ImageNet weights of a
backbone, not trained at all on pictures like these: GeM, whitened on 2,500 of the strangers. All
are run without torch, as an embedder on a CPU does.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from halftone.archive import manifests
from halftone.evaluation import labelled
from halftone.evaluation.metrics import Cosines, Judgement, figures, judge
from halftone.imaging import images
from halftone.imaging.orientations import orientations
from halftone.vision.portable import PortableModel
from halftone.vision.preprocessing import Preprocessing, prepare_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    Floats = NDArray[np.float32]

DEPTH = 50
_BATCH = 64
_WHITENING = 2500
_SMALLEST_CROP = 0.4
_MAX_PIXELS = 100_000_000
_SPEED_SECONDS = 5.0


@dataclass(frozen=True)
class Views:
    """The orientations of a query that count, as rows of `orientations(...)` of all eight."""

    name: str
    rows: tuple[int, ...]


ALL = orientations(mirrored=True, rotated=True)
VIEWS = (
    Views("as it is", (0,)),
    Views("and mirrored", tuple(row for row, way in enumerate(ALL) if not way.rotation)),
    Views("all eight", tuple(range(len(ALL)))),
)


def run(
    models: dict[str, PortableModel],
    *,
    archive: Path,
    strangers: Path | None,
    crops: int = 0,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Return the figures of each model by its name."""
    pictures = labelled.read_labelled(archive)
    others = manifests.list_pictures(strangers) if strangers is not None else []
    results = {}
    for name, model in models.items():
        embedded = labelled.embed(model, pictures=pictures, orientations=ALL)
        unknown = _embed_strangers(model, others, crops=crops, seed=seed)
        results[name] = {
            "size": model.spec.preprocessing.size,
            "dimension": model.spec.dimension,
            "pictures_per_second": measure_speed(model),
            "views": {},
        }
        truth = embedded.archive.truth()
        for views in VIEWS:
            assert embedded.views is not None
            chosen = embedded.views[list(views.rows)]
            several = chosen if len(chosen) > 1 else None
            judgement = judge(Cosines(embedded.descriptors, views=several), truth=truth)
            found = figures(judgement)
            ranks = {"": judgement.first_rank}
            if len(unknown):
                ranks["_with_strangers"] = rank_among(judgement, views=chosen, strangers=unknown)
            results[name]["views"][views.name] = {
                **{key: found[key] for key in ("recall_at_1", "map", "micro_ap")},
                **{f"recall_at_1{among}": _share(rank, depth=1) for among, rank in ranks.items()},
                **{
                    f"recall_at_{DEPTH}{among}": _share(rank, depth=DEPTH)
                    for among, rank in ranks.items()
                },
                "pictures": len(embedded.descriptors),
                "strangers": len(unknown),
            }
    return results


def rank_among(judgement: Judgement, *, views: Floats, strangers: Floats) -> NDArray[np.int64]:
    """Return the rank of each query's first match when strangers are searched as well: int64 [Q].

    A stranger with the score of the match comes before it.

    Args:
        judgement: The archive without strangers.
        views: The descriptors of its pictures in each orientation of a query, [O, N, D]; the first
            is the picture as it is.
        strangers: The descriptors of pictures that match nothing, [M, D].
    """
    ranks = judgement.first_rank.copy()
    matches = judgement.truth.matches
    for place, query in enumerate(judgement.truth.queries):
        partners = np.concatenate(
            [matches[matches[:, 0] == query, 1], matches[matches[:, 1] == query, 0]]
        )
        mine = views[:, query]
        best = (mine @ views[0, partners].T).max()
        ranks[place] += int(((mine @ strangers.T).max(axis=0) >= best).sum())
    return ranks


def measure_speed(model: PortableModel) -> float:
    """Return how many pictures a second the model embeds that are decoded and prepared."""
    size = model.spec.preprocessing.size
    batch = np.random.default_rng(0).integers(0, 256, (16, size, size), dtype=np.uint8)
    model.embed(batch)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < _SPEED_SECONDS:
        model.embed(batch)
        count += len(batch)
    return count / (time.perf_counter() - start)


def import_untrained(backbone: str, *, whiten_on: Path, directory: Path) -> PortableModel:
    """Make a version of a backbone's ImageNet weights, whitened on pictures, and load it."""
    # Imported here because versions are run without torch.
    from halftone.vision.model import import_imagenet_weights  # noqa: PLC0415

    preprocessing = Preprocessing(size=224)
    paths = manifests.list_pictures(whiten_on)
    order = np.random.default_rng(0).permutation(len(paths))[:_WHITENING]
    with ThreadPoolExecutor() as pool:
        prepared = pool.map(
            lambda row: prepare_file(paths[row], preprocessing=preprocessing)[1], order
        )
        pictures = np.stack([each for each in prepared if not isinstance(each, str)])
    model = import_imagenet_weights(
        None,
        whitening_images=pictures,
        backbone=backbone,
        preprocessing=preprocessing,
        grid=1,
        data=whiten_on.name,
    )
    model.save(directory)
    return PortableModel.load(directory)


def show(results: dict[str, dict[str, Any]]) -> None:
    """Print the figures as a table."""
    table = Table("", "px", "pictures/s", "query", "R@1", "mAP", "µAP", f"R@{DEPTH}")
    table.add_column("R@1, strangers")
    table.add_column(f"R@{DEPTH}, strangers")
    for name, result in results.items():
        for number, (views, found) in enumerate(result["views"].items()):
            facts = (name, str(result["size"]), f"{result['pictures_per_second']:.0f}")
            table.add_row(
                *(facts if number == 0 else ("",) * len(facts)),
                views,
                *(
                    f"{found[key]:.3f}" if key in found else ""
                    for key in (
                        "recall_at_1",
                        "map",
                        "micro_ap",
                        f"recall_at_{DEPTH}",
                        "recall_at_1_with_strangers",
                        f"recall_at_{DEPTH}_with_strangers",
                    )
                ),
            )
    Console(width=150).print(table)


def _embed_strangers(
    model: PortableModel, paths: Sequence[Path], *, crops: int, seed: int
) -> Floats:
    """Return the descriptors of pictures and of crops of them: float32 [M, D]."""
    parts = [np.empty((0, model.spec.dimension), dtype=np.float32)]
    batch: list[NDArray[np.uint8]] = []
    for prepared in _read_strangers(model.spec.preprocessing, paths, crops=crops, seed=seed):
        batch += prepared
        if len(batch) >= _BATCH:
            parts.append(model.embed(np.stack(batch)))
            batch = []
    if batch:
        parts.append(model.embed(np.stack(batch)))
    return np.concatenate(parts)


def _read_strangers(
    preprocessing: Preprocessing, paths: Sequence[Path], *, crops: int, seed: int
) -> Iterator[list[NDArray[np.uint8]]]:
    """Yield each picture, prepared, and crops of it."""

    def read(row: int) -> list[NDArray[np.uint8]]:
        picture = images.decode(
            paths[row].read_bytes(), max_pixels=_MAX_PIXELS, target=4 * preprocessing.size
        )
        chance = np.random.default_rng([seed, row])
        return [
            preprocessing(picture),
            *(preprocessing(crop(picture, chance)) for _ in range(crops)),
        ]

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), _BATCH):
            yield from pool.map(read, range(start, min(start + _BATCH, len(paths))))


def crop(picture: Image.Image, chance: np.random.Generator) -> Image.Image:
    """Cut a random part out of a picture, with two fifths to all of each side."""
    sides = np.array(picture.size)
    shares = chance.uniform(_SMALLEST_CROP, 1.0, size=2)
    left, top = (1 - shares) * chance.uniform(size=2) * sides
    width, height = np.maximum(shares * sides, 16)
    return picture.crop((round(left), round(top), round(left + width), round(top + height)))


def _share(ranks: NDArray[np.int64], *, depth: int) -> float:
    return float((ranks <= depth).mean())


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("versions", nargs="*", type=Path, metavar="VERSION")
    parser.add_argument("--archive", required=True, type=Path)
    parser.add_argument("--strangers", type=Path)
    parser.add_argument("--crops", type=int, default=0)
    parser.add_argument("--imagenet", nargs="+", default=[], metavar="BACKBONE")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.imagenet and arguments.strangers is None:
        parser.error("--imagenet needs --strangers to whiten on")
    with tempfile.TemporaryDirectory() as folder:
        models = {
            "/".join(path.parts[-2:]): PortableModel.load(path) for path in arguments.versions
        }
        for backbone in arguments.imagenet:
            directory = Path(folder) / backbone
            directory.mkdir()
            models[f"{backbone}, ImageNet"] = import_untrained(
                backbone, whiten_on=arguments.strangers, directory=directory
            )
        results = run(
            models,
            archive=arguments.archive,
            strangers=arguments.strangers,
            crops=arguments.crops,
        )
    show(results)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
