"""The life of a picture as a web page: a time line, the printings, each laid over the earliest.

The page fetches nothing. Its one script moves what is there already; its styles place the pictures
with the homographies of the links, so that no warped copies have to be made.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import io
import textwrap
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

import halftone
from halftone.archive.showing import NOT_SHOWN
from halftone.core import errors, files, templates
from halftone.rendering import cluster_cards, light_table, timelines, wording
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


def fetch_thumbnails(client: Client, cluster: Cluster) -> dict[str, SizedPicture]:
    """Return the thumbnails of a cluster's members, by name.

    Members whose picture is lost or damaged, or must not be shown, are left out.
    """

    def fetch(name: str) -> SizedPicture | None:
        try:
            content = client.thumbnail(name).content
            with Image.open(io.BytesIO(content)) as image:
                return SizedPicture(content, *image.size)
        except errors.PermissionDenied as error:
            if error.reason != NOT_SHOWN:
                raise
            return None
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
    files.write_output(page_path, page.encode())
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
        cluster_cards.make_card(
            printing,
            cluster=cluster,
            first_number=numbers[cluster.first_image.name],
            picture=pictures.get(printing.image.name),
            source=sources.get(printing.image.name),
            is_long=printing is longest,
            weakest=weakest,
            has_overlay=printing.number in laid,
        )
        for printing in printings
    ]
    template = templates.load("cluster.html.jinja", package="halftone.rendering")
    unlike = timelines.are_unlike(cluster)
    return template.render(
        kicker=kicker,
        unlike=unlike,
        title="Different pictures" if unlike else _choose_title(cluster),
        summary=timelines.summarize(cluster),
        # Different pictures have no life in common.
        facts=[] if unlike else _list_facts(cluster, printings),
        axis=None if unlike else _place_axis(printings),
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
            cluster_cards.make_link_row(link, numbers=numbers, is_weakest=link is weakest)
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


def _choose_links(cluster: Cluster, *, weakest: Link | None) -> list[Link]:
    """Return the most probable links, and the weakest one that holds the cluster together."""
    shown = timelines.list_inner_links(cluster)[:_MOST_LINKS]
    if weakest is not None and not any(link is weakest for link in shown):
        shown.append(weakest)
    return shown


def _describe_links(cluster: Cluster) -> str:
    if timelines.are_unlike(cluster):
        return "What was found in common, although it is probably not one picture."
    count = len(cluster.links)
    note = "The pairs that were found to be the same picture, the surest first."
    if count > _MOST_LINKS:
        note += f" The first {_MOST_LINKS} of {count:,}."
    return " ".join(filter(None, (note, timelines.describe_certainty(cluster))))
