"""Clusters for other programs: CSV, JSON Lines and W3C Web Annotations.

All three are written cluster by cluster as they come, whatever their number.
"""

from __future__ import annotations

import csv
import datetime as dt
import html
import itertools
import json
import uuid
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import halftone
from halftone.archive import records
from halftone.client import Decision
from halftone.core import errors
from halftone.core.formulas import guard
from halftone.rendering import alignments, json_forms, overlaps, timelines, wording

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from typing import TextIO

    from halftone.client import Client, Cluster, ImageRecord, Link, Verdict
    from halftone.rendering.timelines import Printing

CONTEXT: Final = "http://www.w3.org/ns/anno.jsonld"
MEDIA_FRAGMENTS: Final = "http://www.w3.org/TR/media-frags/"
_THREADS: Final = 4
# The number of clusters that are requested ahead of the one that is written.
_AHEAD: Final = 16
# A polygon that fills this share of the upright rectangle around it counts as a rectangle.
_RECTANGLE: Final = 0.99
# Absolute IRIs that name something; a source may also be "Shelf 12" or a local path.
_IRIS: Final = ("http://", "https://", "urn:", "ark:", "doi:", "info:")

COLUMNS: Final = (
    *("cluster", "size", "journals", "position", "is_earliest", "gap_days", "gap", "image"),
    *("journal", "date", "earliest_date", "latest_date", "page", "caption", "language"),
    *("source_uri", "rights", "weakest_link", "links", "mirrored_to_earliest"),
    "negative_of_earliest",
    "differences_to_earliest",
    *("page_image", "page_region"),
)


def fetch_members(client: Client, clusters: Iterable[Cluster]) -> Iterator[Cluster]:
    """Fetch clusters with their members and links, and yield them in the same order.

    A cluster that dissolved meanwhile, or became a part of another one, is left out.
    """

    def fetch(cluster: Cluster) -> Cluster | None:
        try:
            return client.cluster(cluster.name)
        except errors.NotFound:
            return None

    source = iter(clusters)
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: deque[tuple[str, Future[Cluster | None]]] = deque()
        while True:
            for cluster in itertools.islice(source, _AHEAD - len(waiting)):
                waiting.append((cluster.name, pool.submit(fetch, cluster)))
            if not waiting:
                return
            name, asked = waiting.popleft()
            found = asked.result()
            # The name of a cluster that became a part of another leads to that one.
            if found is not None and found.name == name:
                yield found


def cluster_to_json(cluster: Cluster) -> dict[str, Any]:
    """Convert a cluster; empty fields are left out."""
    values: dict[str, Any] = {
        "name": cluster.name,
        "size": cluster.size,
        "journal_count": cluster.journal_count,
        "journals": list(cluster.journals),
        "earliest_date": _format_iso(cluster.earliest_date),
        "latest_date": _format_iso(cluster.latest_date),
        "span_years": cluster.span_years,
        "undated_count": timelines.count_undated(cluster),
        "weakest_link": round(cluster.weakest_link, 6),
        "first_image": cluster.first_image.name,
        "create_time": _format_iso(cluster.create_time),
        "update_time": _format_iso(cluster.update_time),
    }
    if cluster.members:
        values["printings"] = [
            {
                "position": printing.number,
                "gap_days": printing.member.gap_days,
                "gap": printing.gap,
                "is_earliest": printing.is_earliest,
                "may_be_earliest": printing.may_be_earliest,
                "weakest_link": round(printing.member.weakest_link, 6),
                "link_count": printing.member.link_count,
                "image": json_forms.record_to_json(printing.image),
                **(
                    {"page": json_forms.record_to_json(printing.member.page)}
                    if printing.member.page
                    else {}
                ),
            }
            for printing in timelines.list_printings(cluster)
        ]
        values["links"] = [link_to_json(link) for link in cluster.links]
    return {key: value for key, value in values.items() if value not in (None, "", [])}


def link_to_json(link: Link) -> dict[str, Any]:
    """Convert a link."""
    return {
        "a": link.a,
        "b": link.b,
        "probability": None if link.probability is None else round(link.probability, 6),
        "relation": link.relation.value,
        "verdict": link.verdict.value if link.verdict else None,
        "overlaps": [
            json_forms.overlap_to_json(overlap, sides=("a", "b"))
            | {"rotation": round(overlap.rotation, 3)}
            for overlap in link.verification.overlaps
        ],
    }


def write_csv(clusters: Iterable[Cluster], *, file: TextIO) -> int:
    """Write a row for each printing and return the number of clusters."""
    table = csv.writer(file)
    table.writerow(COLUMNS)
    count = 0
    for cluster in clusters:
        count += 1
        for printing in timelines.list_printings(cluster):
            image, gap = printing.image, printing.member.gap_days
            overlap = alignments.find_main_overlap(printing.link) if printing.link else None
            record = (image.page, image.caption, image.language, image.source_uri, image.rights)
            table.writerow(
                [
                    *(cluster.id, cluster.size, cluster.journal_count, printing.number),
                    int(printing.is_earliest),
                    "" if gap is None else gap,
                    *(printing.gap, image.name, guard(image.journal), image.date),
                    *(_format_iso(image.earliest_date) or "", _format_iso(image.latest_date) or ""),
                    *map(guard, record),
                    *(round(printing.member.weakest_link, 6), printing.member.link_count),
                    "" if overlap is None else int(overlap.mirrored),
                    "" if overlap is None else int(overlap.negative),
                    "" if overlap is None else _count_differences(printing),
                    image.page_image,
                    "" if image.page_region is None else ",".join(map(str, image.page_region)),
                ]
            )
    return count


def _count_differences(printing: Printing) -> int:
    return len(overlaps.list_differences(printing.link)) if printing.link else 0


def write_jsonl(clusters: Iterable[Cluster], *, file: TextIO) -> int:
    """Write a line for each cluster, with its printings and links, and return their number."""
    count = 0
    for cluster in clusters:
        count += 1
        file.write(json.dumps(cluster_to_json(cluster), ensure_ascii=False) + "\n")
    return count


def write_annotations(
    clusters: Iterable[Cluster],
    *,
    file: TextIO,
    verdicts: Mapping[frozenset[str], Verdict],
    now: dt.datetime,
) -> int:
    """Write an AnnotationCollection with an annotation for each link between members.

    Args:
        clusters: Clusters with members and links.
        file: The file that receives one JSON-LD document.
        verdicts: The verdicts that hold, by the set of their two image names. If one says SAME, the
            annotation of its link gets the author, time and note of the verdict.
        now: The time of the export.

    Returns:
        The number of clusters that were read.
    """
    name = uuid.uuid4().urn
    page = f"{name}#page"
    file.write(
        f'{{"@context": "{CONTEXT}", "id": "{name}", "type": "AnnotationCollection", '
        '"label": "Printings of the same pictures", '
        f'"generator": {json.dumps(_describe_software())}, "generated": "{_format_time(now)}", '
        f'"last": "{page}", '
        f'"first": {{"id": "{page}", "type": "AnnotationPage", "startIndex": 0, "items": [\n'
    )
    count = total = 0
    for cluster in clusters:
        count += 1
        for link in timelines.list_inner_links(cluster):
            verdict = verdicts.get(frozenset((link.a, link.b)))
            annotation = make_annotation(link, cluster=cluster, verdict=verdict, now=now)
            file.write(",\n" * (total > 0) + json.dumps(annotation, ensure_ascii=False))
            total += 1
    file.write(f'\n]}}, "total": {total}}}\n')
    return count


def make_annotation(
    link: Link, *, cluster: Cluster, verdict: Verdict | None, now: dt.datetime
) -> dict[str, Any]:
    """Convert a link to an annotation: the later printing is its target, the earlier one its body.

    See https://www.w3.org/TR/annotation-model/, which requires `@context`, `id`, `type` and
    `target`, a `source` for each specific resource, and a `value` for each selector.

    Args:
        link: The link.
        cluster: The cluster, with both images among its members.
        verdict: The verdict that holds on the two images, or None. If it says SAME, the annotation
            gets its author, time and note.
        now: The time of the export.
    """
    images = {member.image.name: member.image for member in cluster.members}
    order = {name: number for number, name in enumerate(images)}
    earlier, later = sorted((link.a, link.b), key=lambda name: order[name])
    overlap = alignments.find_main_overlap(link)
    polygons: dict[str, Sequence[tuple[float, float]]] = {}
    if overlap is not None:
        polygons = {link.a: overlap.query_polygon, link.b: overlap.image_polygon}
    said = verdict is not None and verdict.decision is Decision.SAME
    bodies: list[dict[str, Any]] = [
        {
            **_make_resource(images[earlier], polygon=polygons.get(earlier, ())),
            "purpose": "linking",
        },
        _make_text(_describe(link, of=later), purpose="describing"),
    ]
    annotation: dict[str, Any] = {
        "@context": CONTEXT,
        "id": f"urn:uuid:{uuid.uuid5(records.parse_name(link.a).point_id, link.b)}",
        "type": "Annotation",
        "motivation": "linking",
        "creator": _describe_software(),
        "created": _format_time(cluster.update_time or now),
        "generator": _describe_software(),
        "generated": _format_time(now),
        "body": bodies,
        "target": _make_resource(images[later], polygon=polygons.get(later, ())),
    }
    if verdict is not None and said:
        if verdict.author:
            annotation["creator"] = {"type": "Person", "name": verdict.author}
        if verdict.create_time is not None:
            annotation["created"] = _format_time(verdict.create_time)
        if verdict.note:
            bodies.append(_make_text(verdict.note, purpose="commenting", language=""))
    return annotation


def _make_resource(image: ImageRecord, *, polygon: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Describe a printing, or the part of it that another printing shows, too."""
    source: dict[str, Any] = {
        "id": find_iri(image),
        "type": "Image",
        "dcterms:identifier": image.name,
        "dcterms:title": image.caption,
        "dcterms:isPartOf": image.journal,
        "dcterms:date": image.date,
        "dcterms:rights": image.rights,
    }
    resource: dict[str, Any] = {
        "type": "SpecificResource",
        "source": {key: value for key, value in source.items() if value},
    }
    if polygon:
        resource["selector"] = make_selector(polygon)
    return resource


def find_iri(image: ImageRecord) -> str:
    """Return an IRI for a record: its `source_uri` if that is one, otherwise a UUID.

    The UUID is made from the record's name. It is the id of the record's point in the store, so it
    is the same in every export.
    """
    source = image.source_uri.strip()
    if source.lower().startswith(_IRIS) and not any(mark in source for mark in ' <>"{}|\\^`'):
        return source
    return f"urn:uuid:{records.parse_name(image.name).point_id}"


def make_selector(polygon: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Return the selector of a part of a picture, in pixels.

    An upright rectangle becomes a media fragment, any other polygon an SVG.
    """
    xs, ys = [x for x, _ in polygon], [y for _, y in polygon]
    box = (max(xs) - min(xs)) * (max(ys) - min(ys))
    corners = zip(polygon, [*polygon[1:], polygon[0]], strict=True)
    area = abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in corners)) / 2
    if area >= _RECTANGLE * box:
        left, top = max(round(min(xs)), 0), max(round(min(ys)), 0)
        width, height = round(max(xs)) - left, round(max(ys)) - top
        return {
            "type": "FragmentSelector",
            "conformsTo": MEDIA_FRAGMENTS,
            "value": f"xywh=pixel:{left},{top},{width},{height}",
        }
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in polygon)
    return {
        "type": "SvgSelector",
        "value": '<svg xmlns="http://www.w3.org/2000/svg">'
        f'<polygon points="{html.escape(points)}"/></svg>',
    }


def _describe(link: Link, *, of: str) -> str:
    overlap = alignments.find_main_overlap(link)
    parts = ["The same picture"]
    if link.probability is not None:
        parts[0] += f" with a probability of {wording.format_probability(link.probability)}"
    if link.verdict is not None:
        parts.append(f"an archivist says: {link.verdict.value}")
    parts.append(f"relation to it: {timelines.find_relation(link, of=of).label}")
    if overlap is not None:
        parts.append(f"{overlap.inlier_count} matching details")
        if overlap.mirrored:
            parts.append("mirrored")
        if overlap.negative:
            parts.append("one is a negative of the other")
    differences = overlaps.list_differences(link)
    if differences:
        boxes = [
            overlaps.format_box(
                each.part.query_polygon if link.a == of else each.part.image_polygon
            )
            for each in differences
        ]
        parts.append(f"{overlaps.count_differences(differences)}: {' and '.join(boxes)} (x,y,w,h)")
    return "; ".join(parts) + "."


def _make_text(value: str, *, purpose: str, language: str = "en") -> dict[str, Any]:
    found = {"type": "TextualBody", "value": value, "format": "text/plain", "purpose": purpose}
    return {**found, "language": language} if language else found


def _describe_software() -> dict[str, str]:
    return {"type": "Software", "name": f"Halftone {halftone.__version__}"}


def _format_time(moment: dt.datetime) -> str:
    """Return a time as xsd:dateTime in UTC."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _format_iso(value: dt.date | dt.datetime | None) -> str | None:
    return None if value is None else value.isoformat()
