"""Pages and the pictures on them as records, through the service: are they found, and together?

`python -m tests.bench.pages ARCHIVE --records` runs it; see there. For each size, every source is
printed on a page of text. The page is a record, and so is the picture, cut out where it stands,
with its page and place. Beside them the archive has what it has without the sources. *Found*:
another printing of the picture is searched for, and the first hit is the picture's record, its page
named with it. *Twice*: the page is a likely hit as well. *Together*: that printing is imported as a
clipping, and is in one cluster with the picture's record. *With its page*: a cluster has a page and
a picture on it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.client import Filter, NewImage
from halftone.core import errors
from tests.bench.archive import stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL import Image

    from halftone.client import Client
    from halftone.evaluation.press.benchmark import PressPlan

_REST: Final = "rest"
_CLIPPINGS: Final = "clippings"
_LIKELY: Final = 0.5


@dataclass(slots=True)
class Outcome:
    """What was found of the pages of one size: the rows of the sources."""

    found: list[int] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    together: list[int] = field(default_factory=list)
    with_page: list[int] = field(default_factory=list)


def measure(
    plan: PressPlan,
    *,
    shares: Sequence[str],
    printing: tuple[str, int],
    most: int | None,
    server: str | None,
) -> dict[str, Outcome]:
    """Import pages, pictures and clippings, search, group, and return the outcomes by share.

    Args:
        plan: The sources, and what else is in the archive.
        shares: The sizes of the pictures, as shares of their pages.
        printing: The transformation and strength of the printing that is searched for.
        most: The most other pictures in the archive; None for all.
        server: The address of a running stack; None starts one.
    """
    transformation, strength = printing
    clippings = {
        row: plan.print_picture(row, transformation=transformation, strength=strength).image
        for row in plan.positives
    }
    outcomes = {share: Outcome() for share in shares}
    with stack(server) as client:
        _load(client, _list_rest(plan, most=most))
        for number, share in enumerate(shares, start=1):
            _load(client, _list_pages(plan, number=number))
            for row, clipping in clippings.items():
                _search(client, clipping, row=row, number=number, outcome=outcomes[share])
        _load(
            client,
            (
                NewImage(image_id=f"{row}", archive=_CLIPPINGS, content=image)
                for row, image in clippings.items()
            ),
        )
        job = client.build_clusters()
        for last in client.watch_cluster_job(job.name):
            job = last
        for row in plan.positives:
            _look_up(client, row, outcomes=list(outcomes.values()))
    return outcomes


def _load(client: Client, records: Iterator[NewImage]) -> None:
    summary = client.import_images(records)
    if summary.rejected:
        raise SystemExit(f"{summary.rejected[0].name} was rejected: {summary.rejected[0].error}")


def _list_rest(plan: PressPlan, *, most: int | None) -> Iterator[NewImage]:
    """Yield what the archive has besides the sources and other printings of them."""
    groups = plan.pictures.groups
    sources = {int(groups[row]) for row in plan.positives}
    rest = [row for row in plan.gallery if int(groups[row]) not in sources]
    for row in rest[:most]:
        yield NewImage(image_id=f"{row}", archive=_REST, content=plan.pictures.paths[row])


def _list_pages(plan: PressPlan, *, number: int) -> Iterator[NewImage]:
    """Yield the pages of one size, and of each the picture that was printed on it."""
    archive = f"pages-{number}"
    for row in plan.positives:
        printed = plan.print_picture(row, transformation="collage", strength=number)
        size = np.array(printed.image.size)
        left, top = np.floor(printed.region.min(axis=0)).clip(0, size).astype(int).tolist()
        right, bottom = np.ceil(printed.region.max(axis=0)).clip(0, size).astype(int).tolist()
        page = NewImage(
            image_id=f"{row}", archive=archive, content=_encode(printed.image), page=f"{row}"
        )
        yield page
        yield NewImage(
            image_id=f"{row}/1",
            archive=archive,
            content=_encode(printed.image.crop((left, top, right, bottom))),
            page_image=page.name,
            page_region=(left, top, right - left, bottom - top),  # type: ignore[arg-type]
        )


def _encode(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _search(
    client: Client, clipping: Image.Image, *, row: int, number: int, outcome: Outcome
) -> None:
    page = f"archives/pages-{number}/images/{row}"
    hits = client.search(clipping, filter=Filter(archives=[_REST, f"pages-{number}"])).hits
    if hits and hits[0].image.name == f"{page}/1" and hits[0].page and hits[0].page.name == page:
        outcome.found.append(row)
    if any(hit.image.name == page and hit.probability >= _LIKELY for hit in hits):
        outcome.twice.append(row)


def _look_up(client: Client, row: int, *, outcomes: Sequence[Outcome]) -> None:
    names = _list_members(client, f"archives/{_CLIPPINGS}/images/{row}")
    for number, outcome in enumerate(outcomes, start=1):
        page = f"archives/pages-{number}/images/{row}"
        if f"{page}/1" in names:
            outcome.together.append(row)
        if page in _list_members(client, f"{page}/1"):
            outcome.with_page.append(row)


def _list_members(client: Client, name: str) -> set[str]:
    try:
        cluster = client.cluster(name)
    except errors.NotFound:
        return set()
    return {member.image.name for member in cluster.members}
