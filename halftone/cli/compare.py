"""`halftone compare`: two images of the archive beside each other."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from PIL import Image

from halftone.cli import hits, output, tables
from halftone.cli.connecting import server_options
from halftone.cli.options import archive_option, complete_name, json_option, read_crop
from halftone.client import Cluster, ClusterMember, Decision, Link, Relation, VerificationState
from halftone.client.types import probability_label
from halftone.core import errors, files
from halftone.rendering import cluster_page, json_forms, overlaps, overlay, texts, wording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.cli.connecting import Connect
    from halftone.client import Client, Compared, Hit, ImageRecord, Overlap, OverlapPart, Verdict
    from halftone.imaging.images import Region

_RELATIONS: Final = {
    Relation.SAME_SCAN: "both come from the same scan",
    Relation.REPRINT: "the same picture, printed twice",
    Relation.CROP_OF: "the first is a part of the second",
    Relation.CONTAINS: "the second is a part of the first",
    Relation.MIRRORED: "one is the other, mirrored",
    Relation.COMPOSITE: "they share a part, and each has what the other lacks",
    Relation.SAME_SCENE: "the same scene, seen from two places",
    Relation.SHARED_ELEMENTS: "different pictures that have a frame, type, a base map or the like "
    "in common",
    Relation.UNRELATED: "no part in common",
    Relation.NOT_COMPARED: "one of them has too few details",
    Relation.ON_PAGE: "one is the page that the other stands on: the same printing",
    Relation.UNKNOWN: "",
}


@click.command()
@click.argument("query", metavar="IMAGE")
@click.argument("image", metavar="IMAGE")
@archive_option
@click.option(
    "--crop", metavar="X,Y,W,H", help="Compare this part of the first: pixels, or pct:x,y,w,h."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="JPEG or PNG to write: both with what they share and where they differ, and the second "
    "laid upon the first.",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    help="Write a page with a light table: FILE.html, or a directory.",
)
@json_option
@server_options
def compare(
    *,
    query: str,
    image: str,
    archive: tuple[str, ...],
    crop: str | None,
    out: Path | None,
    html: Path | None,
    as_json: bool,
    connect: Connect,
) -> None:
    """Compare two images of the archive: how probably they are the same picture, and why.

    IMAGE is archives/ARCHIVE/images/ID, or an ID with --archive.
    """
    if out is not None and out.suffix.lower() not in {".jpg", ".jpeg", ".png"}:
        raise click.BadParameter("It is to end in .jpg or .png.", param_hint="--out")
    if html is not None and crop is not None:
        raise click.UsageError("--html shows whole pictures: leave out --crop.")
    with connect() as client:
        name, other = (complete_name(each, archives=archive) for each in (query, image))
        record = client.get(name)
        region = None
        if crop is not None:
            region = read_crop(crop, size=lambda: (record.width, record.height))
        compared = client.compare(name, other, crop=region)
        if as_json:
            pair = {
                "model_version": compared.model_version,
                "verdicts_unavailable": compared.verdicts_unavailable,
                "query": json_forms.record_to_json(record),
            }
            output.print_json({**pair, **json_forms.hit_to_json(compared.hit)})
        else:
            link = _find_link(client, name, other) if region is None else None
            _print(record, compared.hit, region=region, link=link)
            if compared.verdicts_unavailable:
                output.remark(output.VERDICTS_UNAVAILABLE)
        if out is not None:
            drawn = _draw(client, record=record, compared=compared, region=region)
            buffer = io.BytesIO()
            drawn.save(buffer, "PNG" if out.suffix.lower() == ".png" else "JPEG", quality=90)
            files.write_output(output.make_folder(out), buffer.getvalue())
            output.remark(f"Wrote {out}.")
        if html is not None:
            output.make_folder(cluster_page.place_page(html))
            output.remark(
                f"Wrote {_write_page(client, record=record, hit=compared.hit, path=html)}."
            )


def _find_link(client: Client, name: str, other: str) -> Link | None:
    """Return the link of two images in their cluster, or None if they are not linked."""
    # The comparison is answered already, whatever becomes of this.
    with contextlib.suppress(errors.HalftoneError):
        for link in client.cluster(name).links:
            if {link.a, link.b} == {name, other}:
                return link
    return None


def _print(record: ImageRecord, hit: Hit, *, region: Region | None, link: Link | None) -> None:
    facts = [
        ("first", hits.describe_record(record)),
        ("second", hits.describe_record(hit.image)),
        ("probability", probability_label(hit.probability)),
        *_list_doubts(hit, link=link),
        ("relation", ": ".join(filter(None, (hit.relation.label, _explain(hit))))),
    ]
    if hit.verdict:
        facts.append(("archivist", output.describe_verdict(hit.verdict)))
    pair = _Pair(record=record, hit=hit, region=region)
    for overlap in hit.overlaps:
        facts += pair.list_shared(overlap)
    facts += pair.list_differences()
    facts.append(("likeness", hits.describe_likeness(hit)))
    tables.print_facts(output.make_console(), facts)


def _list_doubts(hit: Hit, *, link: Link | None) -> list[tuple[str, str]]:
    """Return the fact that the cluster has another probability of the two images, if it has."""
    there = wording.format_probability(link.probability) if link else ""
    if not there or there == wording.format_probability(hit.probability):
        return []
    reason = "there descriptors and hashes are compared as the pictures lie, here also mirrored"
    return [("in cluster", f"{there}: {reason} and turned")]


def _explain(hit: Hit) -> str:
    late = hit.verification.state is VerificationState.OUT_OF_TIME
    if late and hit.relation is Relation.NOT_COMPARED:
        return "the time was over"
    if hit.overlaps and hit.relation is Relation.UNRELATED:
        return "too little in common to mean anything"
    return _RELATIONS[hit.relation]


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """Two pictures, in which parts are located.

    Attributes:
        record: The first.
        hit: The second, as a hit of the first.
        region: The part of the first that was compared; None if all of it was.
    """

    record: ImageRecord
    hit: Hit
    region: Region | None

    def list_shared(self, overlap: Overlap) -> list[tuple[str, str]]:
        """Return the facts about what the two share by an overlap."""
        parts = overlaps.list_outlined(overlap, relation=self.hit.relation)
        first, second = overlap.query_share, overlap.image_share
        count = ""
        if self.hit.relation is Relation.SHARED_ELEMENTS and parts:
            # The shares of the overlap are those of its largest part.
            count = f"{wording.format_count(len(parts), 'part')}, "
            ours, theirs = self._sizes
            first = overlaps.measure_share([part.query_polygon for part in parts], size=ours)
            second = overlaps.measure_share([part.image_polygon for part in parts], size=theirs)
        in_first, in_second = self.locate(parts)
        of_crop = " of the crop" if self.region else ""
        agreement = overlaps.describe_agreement(overlap)
        return [
            ("shared", f"{count}{overlap.inlier_count} inliers, details that lie alike in both"),
            ("  in first", ", ".join(filter(None, (f"{first:.0%}{of_crop}", in_first)))),
            ("  in second", ", ".join(filter(None, (f"{second:.0%}", in_second)))),
            ("  lies", _describe_lie(overlap)),
            *([("  agrees", agreement)] if agreement else []),
        ]

    def list_differences(self) -> list[tuple[str, str]]:
        """Return the facts about what differs."""
        facts = []
        for number, difference in enumerate(overlaps.list_differences(self.hit), start=1):
            in_first, in_second = self.locate([difference.part])
            facts += [
                (f"differs {number}", overlaps.describe_difference(difference)),
                ("  in first", in_first),
                ("  in second", in_second),
            ]
        return facts

    def locate(self, parts: Sequence[OverlapPart]) -> tuple[str, str]:
        """Return the boxes around parts in words, in both pictures; "" without parts."""
        ours, theirs = self._sizes
        corner = (self.region.x, self.region.y) if self.region else (0, 0)
        return (
            _join_boxes(
                [
                    overlaps.format_box(part.query_polygon, size=ours, corner=corner)
                    for part in parts
                ],
                image=self.record,
            ),
            _join_boxes(
                [overlaps.format_box(part.image_polygon, size=theirs) for part in parts],
                image=self.hit.image,
            ),
        )

    @property
    def _sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return width and height of what was compared of each."""
        ours = self.region or self.record
        return (ours.width, ours.height), (self.hit.image.width, self.hit.image.height)


def _join_boxes(boxes: Sequence[str], *, image: ImageRecord) -> str:
    if not boxes:
        return ""
    numbered = [f"{number}: {box}" for number, box in enumerate(boxes, start=1)]
    said = f"the parts {'; '.join(numbered)}" if len(boxes) > 1 else f"the part {boxes[0]}"
    return f"{said} (x,y,w,h) of {image.width} x {image.height} pixels"


def _describe_lie(overlap: Overlap) -> str:
    """Return in words how the second picture shows the part that it shares with the first."""
    parts = [
        "one a negative of the other" if overlap.negative else "",
        "mirrored" if overlap.mirrored else "",
        f"turned {overlap.rotation:+z.1f}°",
        f"{overlap.scale:.2f} times as large in the second",
    ]
    return ", ".join(filter(None, parts))


def _write_page(client: Client, *, record: ImageRecord, hit: Hit, path: Path) -> Path:
    """Write a page of the two images, like the page of a cluster, and return its path.

    Raises:
        errors.FailedPrecondition: The two share no part by which to lay one over the other.
    """
    if not hit.overlaps:
        raise errors.FailedPrecondition(
            "No page is written: no part is known that both show, to lay one over the other by.",
            subject=hit.image.name,
        )
    first, second = sorted(
        (record, hit.image), key=lambda image: (image.earliest_date or dt.date.max, image.name)
    )
    days = [image.earliest_date for image in (first, second) if image.earliest_date]
    link = Link(
        a=record.name,
        b=hit.image.name,
        probability=hit.probability,
        relation=hit.relation,
        verification=hit.verification,
        verdict=_find_sameness(hit.verdict),
    )
    member = functools.partial(ClusterMember, weakest_link=hit.probability, link_count=1)
    pair = Cluster(
        name=f"{record.name} and {hit.image.name}",
        size=2,
        journal_count=len({image.journal for image in (first, second) if image.journal}),
        earliest_date=min(days, default=None),
        latest_date=max(days, default=None),
        weakest_link=hit.probability,
        first_image=first,
        journals=tuple(dict.fromkeys(image.journal for image in (first, second) if image.journal)),
        members=(member(image=first), member(image=second)),
        links=(link,),
    )
    pictures = cluster_page.fetch_thumbnails(client, pair)
    kicker = (
        f"Two images: the same picture with a probability of {probability_label(hit.probability)}"
    )
    if hit.verdict:
        kicker += f"; an archivist says: {hit.verdict.label}"
    return cluster_page.write_page(
        pair,
        pictures=pictures,
        path=path,
        now=dt.datetime.now(dt.UTC),
        kicker=kicker,
    )


def _find_sameness(verdict: Verdict | None) -> Decision | None:
    """Return SAME if an archivist said so and no other verdict overrules it, as links have it."""
    said = verdict is not None and verdict.decision is Decision.SAME and not verdict.overruled
    return Decision.SAME if said else None


def _draw(
    client: Client, *, record: ImageRecord, compared: Compared, region: Region | None
) -> Image.Image:
    hit = compared.hit
    query = _fetch_thumbnail(client, record)
    size = (record.width, record.height)
    if region is not None:
        across, down = query.width / size[0], query.height / size[1]
        left, top = round(region.x * across), round(region.y * down)
        right = max(left + 1, round((region.x + region.width) * across))
        bottom = max(top + 1, round((region.y + region.height) * down))
        query = query.crop((left, top, right, bottom))
        size = (region.width, region.height)
    return overlay.draw_sheet(
        query,
        _fetch_thumbnail(client, hit.image),
        hit=hit,
        query_size=size,
        image_size=(hit.image.width, hit.image.height),
        titles=(_make_title(record), _make_title(hit.image)),
        lines=list_lines(hit, cropped=region is not None),
        notes=[*_list_notes(hit), *_list_rights(record, hit.image)],
    )


def list_lines(hit: Hit, *, cropped: bool = False) -> list[str]:
    """Return the lines below a drawing of two images: one for each overlap.

    Args:
        hit: The second image, beside the first.
        cropped: Whether only a part of the first was compared.
    """
    sides = ("the crop" if cropped else "the first", "the second")
    return [hits.describe_overlap(overlap, hit=hit, sides=sides) for overlap in hit.overlaps]


def _list_notes(hit: Hit) -> list[str]:
    """Return what a drawing says of two images as a whole."""
    said = [f"{hit.relation.label.capitalize()}: {_explain(hit)}."] if hit.overlaps else []
    if hit.verdict:
        said.append(f"An archivist says: {output.describe_verdict(hit.verdict)}")
    return said


def _list_rights(first: ImageRecord, second: ImageRecord) -> list[str]:
    sides = (("first", first), ("second", second))
    return [
        f"Rights of the {side}: {texts.flatten(record.rights)}"
        for side, record in sides
        if record.rights
    ]


def _fetch_thumbnail(client: Client, record: ImageRecord) -> Image.Image:
    return Image.open(io.BytesIO(client.thumbnail(record.name).content))


def _make_title(record: ImageRecord) -> str:
    parts = (record.journal or record.image_id, record.date)
    return texts.flatten(", ".join(part for part in parts if part))
