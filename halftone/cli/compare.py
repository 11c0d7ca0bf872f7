"""`halftone compare`: two images of the archive beside each other."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from PIL import Image

from halftone.cli import hits, output, tables
from halftone.cli.connecting import server_options
from halftone.cli.options import archive_option, complete_name, json_option, read_crop
from halftone.client import Cluster, ClusterMember, Link, Relation, VerificationState
from halftone.client.types import probability_label
from halftone.core import errors
from halftone.rendering import cluster_page, json_forms, overlay, texts, wording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.cli.connecting import Connect
    from halftone.client import Client, Compared, Hit, ImageRecord, Overlap
    from halftone.imaging.images import Region

_RELATIONS: Final = {
    Relation.SAME_SCAN: "both come from the same scan",
    Relation.REPRINT: "the same picture, printed twice",
    Relation.CROP_OF: "the first is a part of the second",
    Relation.CONTAINS: "the second is a part of the first",
    Relation.MIRRORED: "one is the other, mirrored",
    Relation.COMPOSITE: "they share a part, and each has what the other lacks",
    Relation.SAME_SCENE: "the same scene, seen from two places",
    Relation.UNRELATED: "no part in common",
    Relation.NOT_COMPARED: "one of them has too few details",
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
    help="JPEG or PNG to write: both with what they share, and the second laid upon the first.",
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
            drawn.save(output.make_folder(out), quality=90)
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
        *_list_differences(hit, link=link),
        ("relation", ": ".join(filter(None, (hit.relation.label, _explain(hit))))),
    ]
    if hit.verdict:
        facts.append(("archivist", output.describe_verdict(hit.verdict)))
    corner = (region.x, region.y) if region else (0, 0)
    for overlap in hit.overlaps:
        shared = f"{overlap.inlier_count} inliers, details that lie alike in both"
        share = f"{overlap.query_share:.0%}{' of the crop' if region else ''}"
        place = _locate(overlap.image_polygon, hit.image)
        facts += [
            ("shared", shared),
            ("  in first", share + _locate(overlap.query_polygon, record, corner=corner)),
            ("  in second", f"{overlap.image_share:.0%}{place}"),
            ("  lies", _describe_lie(overlap)),
        ]
    facts.append(("likeness", hits.describe_likeness(hit)))
    tables.print_facts(output.make_console(), facts)


def _list_differences(hit: Hit, *, link: Link | None) -> list[tuple[str, str]]:
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
    return _RELATIONS[hit.relation]


def _locate(
    polygon: Sequence[tuple[float, float]], image: ImageRecord, *, corner: tuple[int, int] = (0, 0)
) -> str:
    """Return the box around a polygon in words, in the form that `--crop` takes."""
    if not polygon:
        return ""
    across, down = zip(*polygon, strict=True)
    left, top = round(min(across)), round(min(down))
    width, height = round(max(across)) - left, round(max(down)) - top
    box = f"{left + corner[0]},{top + corner[1]},{width},{height}"
    return f", the part {box} (x,y,w,h) of {image.width} x {image.height} pixels"


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
        overlaps=hit.overlaps,
        query_size=size,
        image_size=(hit.image.width, hit.image.height),
        titles=(_make_title(record), _make_title(hit.image)),
        lines=list_lines(hit, cropped=region is not None),
    )


def list_lines(hit: Hit, *, cropped: bool = False) -> list[str]:
    """Return the lines below a drawing of two images: what they share, and what was said of them.

    Args:
        hit: The second image, beside the first.
        cropped: Whether only a part of the first was compared.
    """
    sides = ("the crop" if cropped else "the first", "the second")
    lines = [hits.describe_overlap(overlap, sides=sides) for overlap in hit.overlaps]
    if hit.verdict:
        lines.append(f"An archivist says: {output.describe_verdict(hit.verdict)}")
    return lines


def _fetch_thumbnail(client: Client, record: ImageRecord) -> Image.Image:
    return Image.open(io.BytesIO(client.thumbnail(record.name).content))


def _make_title(record: ImageRecord) -> str:
    parts = (record.journal or record.image_id, record.date)
    return texts.flatten(", ".join(part for part in parts if part))
