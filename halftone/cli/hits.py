"""Prints images of the archive: the hits of a search, and records."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from halftone.cli import output, tables
from halftone.cli.tables import Column, Layout
from halftone.client.types import Relation, VerificationState, probability_label
from halftone.rendering import json_forms, overlaps, texts, wording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from halftone.client import Hit, ImageRecord, Overlap, OverlapPart

_STATES: Final = {
    VerificationState.OVERLAPPING: "",
    VerificationState.NO_OVERLAP: "compared; no part in common",
    VerificationState.NOT_COMPARED: "not compared by local features",
    VerificationState.OUT_OF_TIME: "not compared: the time was over",
}
_NOT_COMPARED: Final = (
    "not compared: there were better candidates (--verify-count), or too few details, or no time "
    "was left. The probability then rests on how alike the two are as a whole: look yourself."
)
_SHORT_CAPTION, _LONG_CAPTION = 48, 140
_LEAST_TEXT: Final = 32


def print_hits(
    hits: Sequence[Hit],
    *,
    title: str = "",
    note: str = "",
    truth: Callable[[Hit], str] | None = None,
    explained: bool = False,
    everything: bool = True,
) -> None:
    """Print hits as a table.

    Args:
        hits: The most probable first.
        title: A line above the table.
        note: A line between title and table.
        truth: Function that says in a word whether a hit is right, if that is known.
        explained: Whether to print below the table what each hit shares with the query.
        everything: Whether to print unlikely hits as well; otherwise one line sums them up.
    """
    out = output.make_console()
    if title:
        out.print(f"\n{title}", style="bold", soft_wrap=True)
    if note:
        out.print(note, style="dim", soft_wrap=True)
    if not hits:
        out.print("Nothing found.")
        return
    ranked = [(rank, hit) for rank, hit in enumerate(hits, start=1) if everything or hit.is_likely]
    if ranked:
        tables.print_table(out, *lay_out_hits(ranked, truth=truth))
    if any(hit.is_likely and hit.relation is Relation.NOT_COMPARED for _, hit in ranked):
        out.print(_NOT_COMPARED, style="dim", soft_wrap=True)
    if len(ranked) < len(hits):
        rest = [hit for hit in hits if not hit.is_likely]
        out.print(_describe_rest(rest, alone=not ranked), style="dim", soft_wrap=True)
    if explained:
        for rank, hit in ranked:
            out.print(f"\n{rank}  {hit.image.name}", style="bold", soft_wrap=True)
            print_explanation(hit)


def _describe_rest(rest: Sequence[Hit], *, alone: bool) -> str:
    """Return a sentence about the unlikely hits; `alone` if there are no others."""
    best = max(rest, key=lambda hit: hit.probability)
    odds, relation = probability_label(best.probability), best.relation.label
    if alone:
        count = wording.format_count(len(rest), "candidate")
        which = "The only candidate" if len(rest) == 1 else f"The best of {count}"
        return (
            f"Nothing likely was found. {which} has a probability of {odds} ({relation}): --all "
            f"lists {'it' if len(rest) == 1 else 'them'}."
        )
    be, them = ("is", "it") if len(rest) == 1 else ("are", "them")
    return f"{len(rest):,} more {be} unlikely, at most {odds} ({relation}): --all lists {them}."


def lay_out_hits(
    ranked: Sequence[tuple[int, Hit]], *, truth: Callable[[Hit], str] | None
) -> tuple[Layout, ...]:
    """Return the layouts of a table of hits with their ranks, the broadest first."""
    # Columns that would be empty are left out: most hits lie as the query does, without a verdict.
    judged = any(hit.verdict for _, hit in ranked)
    figures = [
        Column(title="rank", right=True),
        Column(title="probability", right=True),
        Column(title="relation"),
        *([Column(title="truth")] if truth is not None else []),
        *([Column(title="verdict")] if judged else []),
    ]
    cells = [
        [
            str(rank),
            probability_label(hit.probability),
            hit.relation.label,
            *([truth(hit)] if truth is not None else []),
            *([hit.verdict.label if hit.verdict else ""] if judged else []),
        ]
        for rank, hit in ranked
    ]
    return _lay_out(
        [hit.image for _, hit in ranked],
        lies=[hit.lies for _, hit in ranked],
        figures=figures,
        cells=cells,
    )


def _lay_out(
    images: Sequence[ImageRecord],
    *,
    lies: Sequence[str],
    figures: Sequence[Column] = (),
    cells: Sequence[Sequence[str]] = (),
) -> tuple[Layout, ...]:
    """Return the layouts of a table of records, the broadest first.

    Args:
        images: The records.
        lies: How the query lies in each image, in words; "" where it lies as the query does.
        figures: Columns on the left of the records.
        cells: Their cells.
    """
    images = [texts.flatten_record(image) for image in images]
    left = cells or [()] * len(images)
    turned = any(lies)
    fields = [
        Column(title="journal", most=32),
        Column(title="date"),
        Column(title="page", most=8),
        Column(title="caption", most=_SHORT_CAPTION),
        *([Column(title="lies")] if turned else []),
        Column(title="name"),
    ]
    broad = [
        [
            *before,
            *(image.journal, image.date, image.page, image.caption),
            *([lie] if turned else []),
            image.name,
        ]
        for before, image, lie in zip(left, images, lies, strict=True)
    ]
    said = [describe_printing(image, lies=lie) for image, lie in zip(images, lies, strict=True)]
    names = [image.name for image in images]
    printing = Column(title="printing", wraps=True, least=_LEAST_TEXT)
    if not figures:
        return (
            Layout(columns=fields, rows=broad),
            Layout(
                columns=[Column(title="name"), printing], rows=list(zip(names, said, strict=True))
            ),
        )
    whole = Column(title="printing", wraps=True, least=max(tables.measure(names), _LEAST_TEXT))
    together = ["\n".join(filter(None, pair)) for pair in zip(said, names, strict=True)]
    return (
        Layout(columns=[*figures, *fields], rows=broad),
        Layout(
            columns=[*figures, whole],
            rows=[[*row, text] for row, text in zip(left, together, strict=True)],
        ),
        Layout(
            columns=[*figures, printing, Column()],
            rows=[[*row, *pair] for row, *pair in zip(left, said, names, strict=True)],
        ),
    )


def print_explanation(hit: Hit) -> None:
    """Print why a hit was found: its likeness in each channel, and the parts that it shares."""
    out = output.make_console()
    out.print(f"   {describe_likeness(hit)}", soft_wrap=True)
    if hit.page:
        place = hit.image.page_region
        where = f" at {','.join(map(str, place))} (x,y,w,h)" if place else ""
        out.print(f"   on the page {hit.page.name}{where}", soft_wrap=True)
    if hit.verdict:
        said = output.describe_verdict(hit.verdict)
        out.print(f"   an archivist says: {said}", soft_wrap=True)
    for overlap in hit.overlaps:
        said = describe_overlap(overlap, hit=hit)
        out.print(f"   {said}", soft_wrap=True)
    differences = describe_differences(hit)
    if differences:
        out.print(f"   {differences}", soft_wrap=True)
    if not hit.overlaps:
        out.print(f"   {_STATES[hit.verification.state]}", style="dim", soft_wrap=True)


def describe_likeness(hit: Hit) -> str:
    """Return in words how alike a hit is in each channel."""
    parts = [f"similarity {hit.similarity:.3f}"]
    if hit.pdq_distance is not None:
        parts.append(f"PDQ {hit.pdq_distance} of 256 bits apart")
    if hit.words_similarity is not None:
        parts.append(f"words {hit.words_similarity:.3f}")
    return ", ".join(parts)


def describe_overlap(
    overlap: Overlap, *, hit: Hit, sides: tuple[str, str] = ("the query", "the image")
) -> str:
    """Return an overlap in words, for example `78 inliers; 98 % of the query, …`.

    Of shared elements it says where they are in the image.

    Args:
        overlap: The part that two pictures share.
        hit: The hit that has it.
        sides: What the two pictures are called.
    """
    extent = f"{overlap.query_share:.0%} of {sides[0]}, {overlap.image_share:.0%} of {sides[1]}"
    if hit.relation is Relation.SHARED_ELEMENTS and overlap.parts:
        places = " and ".join(_locate(part, hit.image) for part in overlap.parts)
        count = wording.format_count(len(overlap.parts), "part")
        extent = f"{count} of {sides[1]}: {places} (x,y,w,h)"
    agreeing = overlap.agreeing_share
    parts = [
        f"{overlap.inlier_count} inliers",
        extent,
        *([f"{agreeing:.0%} agrees"] if agreeing is not None else []),
        f"scale {overlap.scale:.2f}",
        f"turned {overlap.rotation:+z.1f}°",
        *(["mirrored"] if overlap.mirrored else []),
        *(["negative"] if overlap.negative else []),
    ]
    return "; ".join(parts)


def describe_differences(hit: Hit) -> str:
    """Return in words what differs between a hit and the query, and where in the hit; or ""."""
    differences = overlaps.list_differences(hit)
    places = [
        f"{_locate(each.part, hit.image)} ({overlaps.describe_difference(each)})"
        for each in differences
    ]
    count = overlaps.count_differences(differences)
    return f"{count} of the image (x,y,w,h): {'; '.join(places)}" if places else ""


def _locate(part: OverlapPart, image: ImageRecord) -> str:
    return overlaps.format_box(part.image_polygon, size=(image.width, image.height))


def print_records(records: Iterable[ImageRecord]) -> None:
    """Print records as a table."""
    out = output.make_console()
    images = list(records)
    if images:
        tables.print_table(out, *lay_out_records(images))
    else:
        out.print("Nothing found.")


def lay_out_records(images: Sequence[ImageRecord]) -> tuple[Layout, ...]:
    """Return the layouts of a table of records, the broadest first."""
    return _lay_out(images, lies=[""] * len(images))


def describe_record(image: ImageRecord) -> str:
    """Return a record in up to three lines; the last line is its name."""
    return "\n".join(filter(None, (describe_printing(image, most=None), image.name)))


def describe_printing(
    image: ImageRecord, *, date: bool = True, lies: str = "", most: int | None = _LONG_CAPTION
) -> str:
    """Return where and when an image was printed, and its caption, in up to two lines.

    Args:
        image: The record.
        date: Whether to say when.
        lies: How the query lies in the image, in words; "": it is not said.
        most: The most characters of the caption; None: all.
    """
    image = texts.flatten_record(image)
    page = wording.describe_page(image.page, word="page")
    day = image.date if date else ""
    first = ", ".join(part for part in (image.journal, day, page, lies) if part)
    caption = image.caption
    if most is not None:
        caption = textwrap.shorten(caption, most, placeholder=" …")
    return "\n".join(part for part in (first, caption) if part)


def print_record(record: ImageRecord) -> None:
    """Print all fields of a record."""
    facts: list[tuple[str, str]] = []
    for key, value in json_forms.record_to_json(record).items():
        if isinstance(value, dict):
            facts += [(f"label {label}", ", ".join(values)) for label, values in value.items()]
        elif isinstance(value, list):
            facts.append((key, "\n".join(map(str, value))))
        else:
            facts.append((key, str(value)))
    tables.print_facts(output.make_console(), facts)
