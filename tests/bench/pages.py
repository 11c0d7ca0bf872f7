"""Pages of text in the archive: whether the pictures on them are found, and find them.

    python -m tests.bench.pages ARCHIVE [--sources N] [--cache DIRECTORY]
    python -m tests.bench.pages ARCHIVE --records [--sources N] [--most N] [--server HOST:PORT]

ARCHIVE is any folder of pictures. Some are printed on pages of text, at five sizes. *Archived*: the
page stands in the archive in place of the picture, and another printing of the picture is searched
for (a crop of 80 %, 120 lines to the inch, turned by a degree). *Searched by*: the archive has the
picture. Each also with the features of the page alone. By hash, words and local features alone.

With `--records` pages and the pictures on them are records of an archive that a service holds; see
`tests.bench.page_records`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from threadpoolctl import threadpool_limits

from halftone.evaluation.press import gallery as press_gallery
from halftone.evaluation.press.benchmark import PressPlan, plan_of
from halftone.imaging.orientations import UPRIGHT
from halftone.matching.features import extract
from halftone.matching.fingerprint import Fingerprint, fingerprint
from halftone.matching.offline import Gallery
from halftone.matching.words import Vocabulary
from tests.bench import page_records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL import Image

_SHARES: Final = ("60 %", "40 %", "25 %", "15 %", "8 %")
_SAME: Final = 0.9  # the probability from which two are called the same
_PRINTING: Final = ("composed", 2)


def without_pictures(image: Image.Image) -> Fingerprint:
    """A fingerprint as if no pictures were looked for on pages."""
    made = fingerprint(image)
    features = extract(image)
    vocabulary = Vocabulary.load()
    words = {
        mirrored: vocabulary.words(features.mirrored() if mirrored else features)
        for mirrored in made.words
    }
    return Fingerprint(pdq=made.pdq, features=features, words=words)


def found(
    plan: PressPlan, prints: Sequence[Fingerprint], *, queries: Callable[[int], Fingerprint]
) -> tuple[int, int, int]:
    """Sources found first, and called the same; other pictures that were called the same."""
    vectors = np.tile(np.eye(1, 2, dtype=np.float32), (len(prints), 1))
    gallery = Gallery(vectors, prints)
    unlike = {UPRIGHT: np.array([0, 1], dtype=np.float32)}
    groups = plan.pictures.groups[list(plan.gallery)]
    first = called = wrong = 0
    for row in plan.positives:
        place = plan.gallery.index(row)
        others = np.flatnonzero(groups == plan.pictures.groups[row])
        ranked = gallery.search(
            unlike, queries(row), without=[int(each) for each in others if each != place]
        )
        first += ranked[0].index == place
        called += any(each.index == place and each.probability >= _SAME for each in ranked)
        wrong += sum(each.index != place and each.probability >= _SAME for each in ranked)
    return first, called, wrong


def print_records(plan: PressPlan, *, most: int | None, server: str | None) -> None:
    """Measures pages and the pictures on them as records, and prints shares of the sources."""
    outcomes = page_records.measure(
        plan, shares=_SHARES, printing=_PRINTING, most=most, server=server
    )
    count = len(plan.positives)
    print(f"{count} pictures: found (R@1), page likely too, with the clipping, with its own page")
    for share, each in outcomes.items():
        figures = (each.found, each.twice, each.together, each.with_page)
        print(f"{share:>5}" + "".join(f" {len(rows) / count:.3f}" for rows in figures))
        missed = sorted(set(plan.positives) - set(each.found))
        apart = sorted(set(plan.positives) - set(each.together))
        if missed or apart:
            print(f"      not found: {missed}; not with the clipping: {apart}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--sources", type=int, default=20)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--records", action="store_true", help="pictures as records of a service")
    parser.add_argument("--most", type=int, help="with --records: the most other pictures")
    parser.add_argument("--server", help="with --records: a stack that runs already")
    asked = parser.parse_args()
    pictures = press_gallery.read_collection(asked.archive)
    plan = plan_of(pictures, sources=asked.sources, conditions=[_PRINTING])
    if asked.records:
        print_records(plan, most=asked.most, server=asked.server)
        return
    every = press_gallery.fingerprints(pictures, cache=asked.cache)
    prints = [every[row] for row in plan.gallery]

    def printed(row: int, transformation: str, strength: int) -> Image.Image:
        return plan.print_picture(row, transformation=transformation, strength=strength).image

    count = len(plan.positives)
    print(f"{count} pictures among {len(prints):,}: found first, called the same, false")
    with threadpool_limits(1, user_api="blas"):
        for strength, share in enumerate(_SHARES, start=1):
            for name, make in (("page alone", without_pictures), ("with pictures", fingerprint)):
                pages = {row: make(printed(row, "collage", strength)) for row in plan.positives}
                archived = [
                    pages.get(row, made) for row, made in zip(plan.gallery, prints, strict=True)
                ]
                by_page = found(plan, prints, queries=pages.__getitem__)
                by_picture = found(
                    plan, archived, queries=lambda row: fingerprint(printed(row, *_PRINTING))
                )
                print(
                    f"{share:>5} {name:14}"
                    + "".join(
                        f" {text}: {first / count:.3f} {called / count:.3f} {wrong}"
                        for text, (first, called, wrong) in (
                            ("archived", by_picture),
                            ("searched by", by_page),
                        )
                    ),
                    flush=True,
                )


if __name__ == "__main__":
    main()
