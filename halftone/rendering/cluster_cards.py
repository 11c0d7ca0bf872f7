"""What a cluster's page says of each printing and of each link."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from halftone.archive.showing import Show
from halftone.client.types import Relation
from halftone.rendering import alignments, overlaps, timelines, wording

if TYPE_CHECKING:
    from collections.abc import Mapping

    from halftone.client import Cluster, ImageRecord, Link
    from halftone.rendering.light_table import SizedPicture
    from halftone.rendering.timelines import Printing

_URL: Final = re.compile(r"https?://[^\s]+", re.IGNORECASE)


def make_card(
    printing: Printing,
    *,
    cluster: Cluster,
    first_number: int,
    picture: SizedPicture | None,
    source: str | None,
    is_long: bool,
    weakest: Link | None,
    has_overlay: bool,
) -> dict[str, Any]:
    """Return what the page shows of a printing, by the names that its template uses.

    Args:
        printing: The printing.
        cluster: Its cluster.
        first_number: The number of the earliest known printing.
        picture: The printing's picture, if it could be had.
        source: The URL of this picture.
        is_long: Whether the picture was unseen before it for the longest time.
        weakest: The weakest link of the cluster.
        has_overlay: Whether it can be laid over the earliest printing.
    """
    image = printing.image
    is_url = bool(_URL.fullmatch(image.source_uri))
    page = wording.describe_page(image.page, word="p.")
    shown = None
    if picture is not None and source is not None:
        shown = {"source": source, "width": picture.width, "height": picture.height}
    said = f" of {printing.date}" if image.date else ""
    return {
        "number": printing.number,
        "gap": printing.gap,
        "is_long": is_long,
        "is_earliest": printing.is_earliest,
        "picture": shown,
        "alt": f"Printing {printing.number}{said}, {image.journal or 'journal unknown'}",
        "heading": image.journal or "Unknown journal",
        "date": printing.date,
        "where": " · ".join(part for part in (printing.date, page, image.language) if part),
        "tags": _list_tags(printing, weakest=weakest, unlike=timelines.are_unlike(cluster)),
        "caption": image.caption.strip(),
        "language": image.language,
        "evidence": _describe_evidence(printing, first=first_number),
        "differences": _list_differences(
            printing, first=cluster.first_image, first_number=first_number
        ),
        "has_overlay": has_overlay,
        "name": image.name,
        "source": image.source_uri,
        "source_url": image.source_uri if is_url else "",
        "rights": image.rights,
        "hidden": image.show is Show.NONE,
    }


def _list_tags(printing: Printing, *, weakest: Link | None, unlike: bool) -> list[tuple[str, str]]:
    tags = []
    if printing.is_earliest and printing.image.earliest_date and not unlike:
        tags.append(("first", "Earliest known printing"))
    if printing.may_be_earliest and not unlike:
        tags.append(("first", "May be as early"))
    overlap = alignments.find_main_overlap(printing.link) if printing.link else None
    if overlap is not None and overlap.mirrored:
        tags.append(("turned", "Mirrored"))
    if overlap is not None and overlap.negative:
        tags.append(("turned", "Negative"))
    if printing.link is not None:
        differing = overlaps.count_differences(overlaps.list_differences(printing.link))
        tags += [("differs", differing.capitalize())] if differing else []
    if printing.is_weakest and weakest is not None:
        tags.append(("weak", f"Weakest link: {wording.format_probability(weakest.probability)}"))
    if printing.is_judged:
        tags.append(("judged", "Judged to be the same"))
    return tags


def _describe_evidence(printing: Printing, *, first: int) -> str:
    if printing.is_earliest:
        return ""
    link = printing.link
    if link is not None:
        words = timelines.describe_evidence(link, of=printing.image.name)
        return f"Beside no. {first}: {_describe_probability(link)}; {words}."
    if printing.alignment is not None:
        return (
            f"Not linked with no. {first} itself, but through "
            f"{printing.alignment.steps - 1} other printing"
            f"{'s' if printing.alignment.steps > 2 else ''}."  # noqa: PLR2004 - two links, one between
        )
    return f"Linked with other printings than no. {first}."


def _list_differences(printing: Printing, *, first: ImageRecord, first_number: int) -> list[str]:
    """Return a line for each difference between a printing and the earliest one."""
    link, image = printing.link, printing.image
    if link is None:
        return []
    lines = []
    for difference in overlaps.list_differences(link):
        polygons = difference.part.query_polygon, difference.part.image_polygon
        ours, theirs = polygons if link.a == image.name else reversed(polygons)
        here = overlaps.format_box(ours, size=(image.width, image.height))
        there = overlaps.format_box(theirs, size=(first.width, first.height))
        lines.append(
            f"{overlaps.describe_difference(difference)}: {there} of no. {first_number}, {here} of "
            f"no. {printing.number} (x,y,w,h in pixels)"
        )
    return lines


def _describe_probability(link: Link) -> str:
    if link.probability is None:
        return "the same picture"
    return f"the same picture with a probability of {wording.format_probability(link.probability)}"


def make_link_row(link: Link, *, numbers: Mapping[str, int], is_weakest: bool) -> dict[str, Any]:
    """Return what the table of links shows of a link, by the names that the template uses.

    Args:
        link: The link.
        numbers: The numbers of the printings by the names of their images.
        is_weakest: Whether it is the weakest link.
    """
    a, b = sorted((link.a, link.b), key=lambda name: numbers[name])
    relation = timelines.find_relation(link, of=a)
    words = relation.label
    if relation in {Relation.CROP_OF, Relation.CONTAINS}:
        verb = "is a crop of" if relation is Relation.CROP_OF else "contains"
        words = f"no. {numbers[a]} {verb} no. {numbers[b]}"
    return {
        "a": numbers[a],
        "b": numbers[b],
        "probability": wording.format_probability(link.probability),
        "relation": words,
        "evidence": _describe_link(link, numbers=numbers),
        "is_weakest": is_weakest and len(numbers) > 2,  # noqa: PLR2004 - of two the only link says nothing
    }


def _describe_link(link: Link, *, numbers: Mapping[str, int]) -> str:
    said = f"an archivist says: {link.verdict.value}" if link.verdict else ""
    overlap = alignments.find_main_overlap(link)
    if overlap is None:
        file = "the very same file" if timelines.is_same_file(link) else ""
        return ", ".join(filter(None, (file, said))) or "Not compared by details."
    shares = {numbers[link.a]: overlap.query_share, numbers[link.b]: overlap.image_share}
    parts = [
        f"{overlap.inlier_count} matching details",
        " and ".join(f"{share:.0%} of no. {number}" for number, share in sorted(shares.items())),
        "mirrored" if overlap.mirrored else "",
        "one a negative of the other" if overlap.negative else "",
        overlaps.count_differences(overlaps.list_differences(link)),
        said,
    ]
    return ", ".join(filter(None, parts))
