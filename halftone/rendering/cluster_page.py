"""The life of a picture as a web page: a time line, the printings, each laid over the earliest.

The page fetches nothing. Its one script moves what is there already; its styles place the pictures
with the homographies of the links, so that no warped copies have to be made.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import io
import re
import textwrap
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

import halftone
from halftone.client import Relation
from halftone.core import errors, files, templates
from halftone.rendering import alignments, light_table, timelines, wording
from halftone.rendering.light_table import SizedPicture

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from halftone.client import Client, Cluster, Link
    from halftone.rendering.timelines import Printing

KICKER: Final = "The life of a picture"
"""Above the title of a cluster's page."""
_HTML_SUFFIXES: Final = (".html", ".htm")
_TITLE: Final = 110
# A share of a picture's area; the same as where clusters are made.
_WHOLE: Final = 0.6
_MOST_LINKS: Final = 200
_MOST_TICKS: Final = 12
_THREADS: Final = 4
# The room that a number takes on a track, in percent.
_CHIP: Final = 4.4
_ROW_HEIGHT: Final = 1.9
_MONTHS_BELOW_YEARS: Final = 3
_URL: Final = re.compile(r"https?://[^\s]+", re.IGNORECASE)


def fetch_thumbnails(client: Client, cluster: Cluster) -> dict[str, SizedPicture]:
    """Return the thumbnails of a cluster's members, by name.

    Members whose picture is lost or damaged are left out.
    """

    def fetch(name: str) -> SizedPicture | None:
        try:
            content = client.thumbnail(name).content
            with Image.open(io.BytesIO(content)) as image:
                return SizedPicture(content, *image.size)
        except (errors.NotFound, errors.DataLoss, OSError):
            return None

    names = [member.image.name for member in cluster.members]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = zip(names, pool.map(fetch, names), strict=True)
        return {name: picture for name, picture in found if picture is not None}


def place_page(path: Path) -> Path:
    """Return where `write_page` writes the page itself: to `path`, or into the folder `path`."""
    return path if path.suffix.lower() in _HTML_SUFFIXES else path / "index.html"


def write_page(
    cluster: Cluster,
    *,
    pictures: Mapping[str, SizedPicture],
    path: Path,
    now: dt.datetime,
    kicker: str = KICKER,
) -> Path:
    """Write the page: one file with the pictures inside, or a folder with the pictures beside it.

    Args:
        cluster: A cluster with members and links.
        pictures: Thumbnails of its members by name.
        path: A file if it ends in `.html` or `.htm`, else a directory.
        now: The date on the page.
        kicker: The line above the title.

    Returns:
        The path of the page itself.
    """
    page_path = place_page(path)
    if page_path == path:
        sources = {name: _make_data_uri(picture.content) for name, picture in pictures.items()}
        files.with_folders(path)
    else:
        folder = path / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        sources = {}
        for number, member in enumerate(cluster.members, start=1):
            picture = pictures.get(member.image.name)
            if picture is not None:
                file = f"{number:04}.jpg"
                files.replace_file(folder / file, picture.content)
                sources[member.image.name] = f"pictures/{file}"
    page = render(cluster, pictures=pictures, sources=sources, now=now, kicker=kicker)
    files.replace_file(page_path, page.encode())
    return page_path


def _make_data_uri(content: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(content).decode()


def render(
    cluster: Cluster,
    *,
    pictures: Mapping[str, SizedPicture],
    sources: Mapping[str, str],
    now: dt.datetime,
    kicker: str = KICKER,
) -> str:
    """Return the HTML of the page.

    Args:
        cluster: As in `write_page`.
        pictures: As in `write_page`.
        sources: The URLs of these pictures, by the names of the images.
        now: As in `write_page`.
        kicker: As in `write_page`.
    """
    printings = timelines.list_printings(cluster)
    overlays = tuple(light_table.list_overlays(cluster, printings, pictures=pictures))
    laid = {overlay.number for overlay in overlays}
    script = _read_template("cluster.js")
    numbers = {printing.image.name: printing.number for printing in printings}
    weakest, longest = timelines.find_weakest_link(cluster), timelines.find_longest_gap(printings)
    cards = [
        _make_card(
            printing,
            first=numbers[cluster.first_image.name],
            picture=pictures.get(printing.image.name),
            source=sources.get(printing.image.name),
            is_long=printing is longest,
            weakest=weakest,
            has_overlay=printing.number in laid,
        )
        for printing in printings
    ]
    template = templates.load("cluster.html.jinja", package="halftone.rendering")
    return template.render(
        kicker=kicker,
        title=_choose_title(cluster),
        summary=timelines.summarize(cluster),
        facts=_list_facts(cluster, printings),
        axis=_place_axis(printings),
        overlays=overlays,
        first_number=numbers[cluster.first_image.name],
        cards=cards,
        printings_note=" ".join(
            filter(
                None,
                [
                    "In the order of their dates, as far as these are known.",
                    timelines.describe_left_out(cluster),
                ],
            )
        ),
        has_captions=any(card["caption"] for card in cards),
        links=[
            _make_link_row(link, numbers=numbers, is_weakest=link is weakest)
            for link in _choose_links(cluster, weakest=weakest)
        ],
        links_note=_describe_links(cluster),
        colophon=f"{cluster.name} · made by Halftone {halftone.__version__} on {now:%Y-%m-%d}",
        style=_read_template("cluster.css"),
        script=script,
        # Only this script may run, whatever an archive's captions hold.
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _read_template(name: str) -> str:
    return (
        importlib.resources.files("halftone.rendering")
        .joinpath("templates", name)
        .read_text("utf-8")
    )


def _choose_title(cluster: Cluster) -> str:
    """Return the earliest caption, by which historians know the picture.

    The caption of a plate or a page describes other pictures as well, so it is taken last.
    """
    wholes = _find_wholes(cluster)
    images = sorted(
        (member.image for member in cluster.members), key=lambda image: image.name not in wholes
    )
    captions = [image.caption.strip() for image in images]
    caption = next((caption for caption in captions if caption), "")
    return textwrap.shorten(caption, _TITLE, placeholder=" …") or f"Picture {cluster.id}"


def _find_wholes(cluster: Cluster) -> set[str]:
    """Return the names of members that show little else than the cluster's picture.

    The others, such as plates and pages, share only a small part of themselves with every link.
    """
    most: dict[str, float] = {}
    for link in cluster.links:
        for overlap in link.verification.overlaps[:1]:
            for name, share in ((link.a, overlap.query_share), (link.b, overlap.image_share)):
                most[name] = max(most.get(name, 0.0), share)
    names = {member.image.name for member in cluster.members}
    return {name for name in names if most.get(name, 1.0) >= _WHOLE}


def _list_facts(cluster: Cluster, printings: Sequence[Printing]) -> list[tuple[str, str]]:
    first = cluster.first_image
    where = ", ".join(part for part in (first.journal, wording.describe_date(first)) if part)
    facts = []
    if first.earliest_date is not None:
        facts.append(("Earliest known printing", where))
        last = [printing for printing in printings if printing.image.earliest_date][-1].image
        if last.name != first.name:
            parts = (last.journal, wording.describe_date(last))
            facts.append(("Latest known printing", ", ".join(filter(None, parts))))
    gap = timelines.find_longest_gap(tuple(printings))
    if gap is not None:
        words = gap.gap.removesuffix(" later")
        numbers = f"between no. {gap.number - 1} and no. {gap.number}"
        facts.append(("Longest time unseen", f"{words}, {numbers}"))
    return facts


def _place_axis(printings: Sequence[Printing]) -> dict[str, Any] | None:
    """Return the positions on the time line in percent, or None without dates."""
    spans = [printing.span for printing in printings if printing.span]
    if not spans:
        return None
    start, end = min(span[0] for span in spans), max(span[1] for span in spans)
    if end - start <= _MONTHS_BELOW_YEARS:
        start, end = float(int(start)), float(-(-end // 1))
        ticks = [(int(start) + quarter / 4) for quarter in range(4 * int(end - start) + 1)]
        labels = [str(int(tick)) if tick == int(tick) else _name_quarter(tick) for tick in ticks]
    else:
        margin = 0.02 * (end - start)
        start, end = start - margin, end + margin
        ticks = [float(year) for year in wording.choose_ticks(start, end, most=_MOST_TICKS)]
        labels = [str(int(tick)) for tick in ticks]

    def place(year: float) -> float:
        return round(100 * (year - start) / (end - start), 2)

    lanes: dict[str, list[Printing]] = {}
    for printing in printings:
        if printing.span:
            lanes.setdefault(printing.image.journal or "Unknown journal", []).append(printing)
    gap = timelines.find_longest_gap(tuple(printings))
    band = None
    if gap is not None and gap.span is not None:
        before = [printing.span for printing in printings[: gap.number - 1] if printing.span]
        left, right = place(max(span[1] for span in before)), place(gap.span[0])
        if right > left:
            words = gap.gap.removesuffix(" later")
            width = round(right - left, 2)
            # The words take about as many percent of the track.
            fits = width > 1.1 * len(words)
            title = f"{words} without a known printing"
            band = {"left": left, "width": width, "label": words if fits else "", "title": title}
    return {
        "ticks": [
            {"left": place(tick), "label": label} for tick, label in zip(ticks, labels, strict=True)
        ],
        "lanes": [_place_lane(name, group, place=place) for name, group in lanes.items()],
        "band": band,
        "undated": [printing.number for printing in printings if not printing.span],
    }


def _name_quarter(moment: float) -> str:
    return {1: "Apr", 2: "Jul", 3: "Oct"}[round(4 * (moment % 1))]


def _place_lane(name: str, group: Sequence[Printing], *, place: Any) -> dict[str, Any]:
    """Return a journal's marks, in as many rows as are needed to keep their numbers apart."""
    rows: list[float] = []
    marks = []
    for printing in group:
        left, right = (place(moment) for moment in printing.span or (0.0, 0.0))
        middle = (left + right) / 2
        begin, end = min(left, middle - _CHIP / 2), max(right, middle + _CHIP / 2)
        row = next((row for row, taken in enumerate(rows) if taken <= begin), len(rows))
        rows[row : row + 1] = [end]
        marks.append(
            {
                "number": printing.number,
                "left": left,
                "width": round(right - left, 2),
                "top": round(0.4 + row * _ROW_HEIGHT, 2),
                "title": f"{printing.image.journal or 'unknown journal'}, {printing.date}",
                "is_earliest": printing.is_earliest,
            }
        )
    return {"name": name, "marks": marks, "height": round(0.8 + len(rows) * _ROW_HEIGHT, 2)}


def _make_card(
    printing: Printing,
    *,
    first: int,
    picture: SizedPicture | None,
    source: str | None,
    is_long: bool,
    weakest: Link | None,
    has_overlay: bool,
) -> dict[str, Any]:
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
        "tags": _list_tags(printing, weakest=weakest),
        "caption": image.caption.strip(),
        "language": image.language,
        "evidence": _describe_evidence(printing, first=first),
        "has_overlay": has_overlay,
        "name": image.name,
        "source": image.source_uri,
        "source_url": image.source_uri if is_url else "",
        "rights": image.rights,
    }


def _list_tags(printing: Printing, *, weakest: Link | None) -> list[tuple[str, str]]:
    tags = []
    if printing.is_earliest and printing.image.earliest_date:
        tags.append(("first", "Earliest known printing"))
    if printing.may_be_earliest:
        tags.append(("first", "May be as early"))
    overlap = alignments.find_main_overlap(printing.link) if printing.link else None
    if overlap is not None and overlap.mirrored:
        tags.append(("turned", "Mirrored"))
    if overlap is not None and overlap.negative:
        tags.append(("turned", "Negative"))
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


def _describe_probability(link: Link) -> str:
    if link.probability is None:
        return "the same picture"
    return f"the same picture with a probability of {wording.format_probability(link.probability)}"


def _choose_links(cluster: Cluster, *, weakest: Link | None) -> list[Link]:
    """Return the most probable links, and the weakest one that holds the cluster together."""
    shown = timelines.list_inner_links(cluster)[:_MOST_LINKS]
    if weakest is not None and not any(link is weakest for link in shown):
        shown.append(weakest)
    return shown


def _describe_links(cluster: Cluster) -> str:
    count = len(cluster.links)
    note = "The pairs that were found to be the same picture, the surest first."
    if count > _MOST_LINKS:
        note += f" The first {_MOST_LINKS} of {count:,}."
    return " ".join(filter(None, (note, timelines.describe_certainty(cluster))))


def _make_link_row(link: Link, *, numbers: Mapping[str, int], is_weakest: bool) -> dict[str, Any]:
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
        said,
    ]
    return ", ".join(filter(None, parts))
