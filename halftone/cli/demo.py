"""`halftone demo`: the whole way from a folder of pictures to the answers, on this machine."""

from __future__ import annotations

import shlex
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from PIL import Image, ImageOps

from halftone.archive import manifests as archives
from halftone.archive import sample as sample_archive
from halftone.cli import hits, import_archive, output
from halftone.cli.terminal.failures import needs_extra
from halftone.cli.terminal.progress import Counter
from halftone.client import Client, Filter, ImageRecord, Search
from halftone.core import errors
from halftone.core.settings import read_max_pixels
from halftone.imaging import images
from halftone.rendering import contact_sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.client import Hit, Query

HITS: Final = 6
_SAMPLE_SIDE: Final = 640
# The number of pictures of an unknown archive that are searched by, to find some worth showing.
_CANDIDATES: Final = 192
_BATCH: Final = 64
# The shorter side in pixels of a picture that a part is cut of.
_SMALLEST: Final = 64


@dataclass(frozen=True, kw_only=True)
class Question:
    """A search of the demonstration.

    Attributes:
        title: The question.
        note: The command that asks it, for people.
        picture: The query as the contact sheet shows it.
        photograph: The photograph that the query shows, if that is known.
    """

    title: str
    note: str
    query: Query
    picture: str | Path | Image.Image
    where: Filter
    photograph: str = ""


@click.command()
@click.option(
    "--archive",
    "source",
    type=click.Path(path_type=Path, exists=True),
    help="A folder with a manifest; without it a sample archive is made.",
)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo"),
    show_default=True,
    help="Where everything is kept; running again reuses it.",
)
@click.option("--serve", is_flag=True, help="Keep the page on the archive running until Ctrl-C.")
@needs_extra("demo")
def demo(*, source: Path | None, directory: Path, serve: bool) -> None:
    """Show everything on a sample archive, or on your own."""
    from halftone.stack import local  # noqa: PLC0415  # needs the server's packages
    from halftone.stack.page import find_scheme  # noqa: PLC0415

    signal.signal(signal.SIGTERM, _interrupt)
    if source is not None:
        archives.find_manifest(source)
    notes = output.make_notes()
    directory.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    stack = local.LocalStack(
        directory / "data",
        ports=local.Ports.any_free(),
        report=notes.print,
        with_page=serve,
    )
    # A sheet of the run before would be taken for this one's if this one fails.
    for sheet in _name_sheets(directory):
        sheet.unlink(missing_ok=True)
    folder = source or directory / "sample"
    if source is None:
        notes.print(f"Sample archive: {folder} …")
        _make_sample(folder)
    notes.print(f"Starting the embedder and the search service in {directory / 'data'} …")
    with stack:
        addresses = stack.addresses
        notes.print(f"Ready: search {addresses.search}, embedder {addresses.embedder}.")
        with Client(addresses.search, embedder=addresses.embedder) as client:
            name = import_archive.derive_archive(folder)
            rejected = directory / "rejected.csv"
            outcome = import_archive.run_import(
                client,
                folder,
                archive=name,
                rejected=rejected,
                notes=rejected.with_name("notes.csv"),
            )
            summary = outcome.summary
            output.make_console().print(import_archive.describe(summary, archive=name))
            output.remark(*outcome.remarks)
            if source is None:
                questions = _make_sample_questions(folder, archive=name)
            else:
                questions = _make_own_questions(client, folder, archive=name)
            sections = [_ask(client, question) for question in questions]
        _write_sheets(sections, directory=directory, name=name, count=summary.total)
        if serve and addresses.page:
            notes.print(
                f"The page on this archive: {find_scheme()}://{addresses.page}/ (Ctrl-C stops)"
            )
            signal.signal(signal.SIGINT, lambda *_: stack.request_stop())
            signal.signal(signal.SIGTERM, lambda *_: stack.request_stop())
            stack.wait()
    notes.print(f"Stopped. {time.perf_counter() - started:.0f} s in all.")
    program, data = output.find_program(), shlex.quote(str(directory / "data"))
    picture = shlex.quote(str(questions[0].picture))
    notes.print("To search it yourself, this in one terminal, and then the page that it names,")
    notes.print("http://127.0.0.1:7100/, in a browser, or the other command in another terminal:")
    notes.print(f"  {program} up --data {data}")
    notes.print(f"  {program} search {picture} --data {data}")


def _make_sample(folder: Path) -> None:
    from halftone.vision.reprinting import reprint  # noqa: PLC0415  # only for the sample

    # A scan of this size is made quickly and still shows the dots of the screen.
    with Counter() as counter:
        advance = counter.add("Printing the sample archive", total=sample_archive.PRINTINGS)

        def press(
            image: Image.Image, *, seed: int, caption: str | None, mirror: bool
        ) -> Image.Image:
            printed = reprint(image, seed=seed, caption=caption, mirror=mirror, side=_SAMPLE_SIDE)
            advance()
            return printed

        sample_archive.make(folder, reprint=press)


def _make_sample_questions(folder: Path, *, archive: str) -> list[Question]:
    here = Filter(archives=[archive])
    plain = sample_archive.query_path(folder, "astronaut")
    filtered = sample_archive.query_path(folder, "cat")
    journal = sample_archive.JOURNALS[0]
    cropped = sample_archive.query_path(folder, "photographer")
    part = _cut_mirrored_part(_decode(cropped))
    return [
        Question(
            title="Where else was this portrait printed?",
            note=f"halftone search {shlex.quote(str(plain))}",
            query=plain,
            picture=plain,
            where=here,
            photograph="astronaut",
        ),
        Question(
            title="And this one, in two journals and these years only?",
            note=f"halftone search {shlex.quote(str(filtered))} --journal '{journal.name}' "
            f"--journal 'Neustedter Rundschau' --from 1980 --to 1995",
            query=filtered,
            picture=filtered,
            where=Filter(
                archives=[archive],
                journals=[journal.name, "Neustedter Rundschau"],
                start="1980",
                end="1995",
            ),
            photograph="cat",
        ),
        Question(
            title="And a part of a picture, mirrored?",
            note=f"The middle of {cropped.name}, turned over",
            query=part,
            picture=part,
            where=here,
            photograph="photographer",
        ),
    ]


def _make_own_questions(client: Client, folder: Path, *, archive: str) -> list[Question]:
    """Return questions about the pictures that have the most similar hits in other journals."""
    best = _find_best_pairs(client, archive=archive)
    if not best:
        raise errors.FailedPrecondition(
            f"The archive {archive} has no two pictures of different journals; there is nothing to "
            "find.",
            subject=archive,
        )
    plain, _ = best[0]
    filtered, hit = best[min(1, len(best) - 1)]
    other = hit.image
    asked = [f"--journal {shlex.quote(other.journal)}"] if other.journal else []
    start, end = "", ""
    if other.earliest_date and other.latest_date:
        start, end = str(other.earliest_date.year), str(other.latest_date.year)
        asked += [f"--from {start}", f"--to {end}"]
    questions = [
        Question(
            title="Where else was this picture printed?",
            note=f"halftone search {shlex.quote(plain.name)}",
            query=plain.name,
            picture=plain.name,
            where=Filter(archives=[archive]),
        ),
        Question(
            title="By journal and date" if asked else "Another one",
            note=" ".join([f"halftone search {shlex.quote(filtered.name)}", *asked]),
            query=filtered.name,
            picture=filtered.name,
            where=Filter(
                archives=[archive],
                journals=[other.journal] if other.journal else [],
                start=start,
                end=end,
            ),
        ),
    ]
    large = [
        record
        for record, _ in [*best[2:], *best[:2]]
        if min(record.width, record.height) >= _SMALLEST
    ]
    if large:
        original = _read_original(folder, archive=archive, name=large[0].name)
        part = _cut_mirrored_part(original)
        questions.append(
            Question(
                title="A part of a picture, mirrored",
                note=f"The middle of {large[0].name}, turned over",
                query=part,
                picture=part,
                where=Filter(archives=[archive]),
            )
        )
    return questions


def _find_best_pairs(client: Client, *, archive: str) -> list[tuple[ImageRecord, Hit]]:
    records = list(client.list(filter=Filter(archives=[archive]), page_size=1000))
    sample = records[:: max(1, len(records) // _CANDIDATES)]
    pairs: list[tuple[ImageRecord, Hit]] = []
    for start in range(0, len(sample), _BATCH):
        batch = sample[start : start + _BATCH]
        searches = [
            Search(
                query=record,
                filter=Filter(
                    archives=[archive],
                    exclude=Filter(journals=[record.journal]) if record.journal else None,
                ),
                limit=1,
            )
            for record in batch
        ]
        for record, page in zip(batch, client.batch_search(searches), strict=True):
            if not isinstance(page, errors.HalftoneError) and page.hits:
                pairs.append((record, page.hits[0]))
    pairs.sort(key=lambda pair: -pair[1].similarity)
    # Both ends of a pair find each other; one of them is enough.
    shown: set[str] = set()
    distinct = []
    for record, hit in pairs:
        if record.name not in shown and hit.image.name not in shown:
            shown |= {record.name, hit.image.name}
            distinct.append((record, hit))
    return distinct


def _ask(client: Client, question: Question) -> contact_sheet.SearchSection:
    page = client.search(question.query, filter=question.where, limit=HITS)

    def is_right(hit: Hit) -> bool:
        return question.photograph in hit.image.labels.get(sample_archive.PHOTOGRAPH, ())

    known = bool(question.photograph)
    hits.print_hits(
        page.hits,
        title=question.title,
        note=question.note,
        truth=(lambda hit: "same picture" if is_right(hit) else "another") if known else None,
    )
    return contact_sheet.fetch_section(
        client,
        query=question.picture,
        hits=page.hits,
        title=question.title,
        note=question.note,
        is_right=is_right if known else None,
    )


def _write_sheets(
    sections: Sequence[contact_sheet.SearchSection], *, directory: Path, name: str, count: int
) -> None:
    title = "Halftone"
    number = {2: "Two", 3: "Three"}[len(sections)]
    note = (
        f"{number} searches in the archive “{name}” of {count} pictures; the query is on the left."
    )
    page, picture = _name_sheets(directory)
    contact_sheet.write_html(sections, path=page, title=title, note=note)
    contact_sheet.write_png(sections, path=picture, title=title, note=note)
    output.make_console().print(f"\nContact sheet: {page} and {picture}")


def _name_sheets(directory: Path) -> tuple[Path, Path]:
    return directory / "contact-sheet.html", directory / "contact-sheet.png"


def _cut_mirrored_part(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    box = (width * 15 // 100, height * 10 // 100, width * 88 // 100, height * 92 // 100)
    return ImageOps.mirror(picture.crop(box))


def _read_original(folder: Path, *, archive: str, name: str) -> Image.Image:
    for row in archives.read_manifest(folder, archive=archive):
        if row.image is not None and row.image.name == name and row.path is not None:
            return _decode(row.path)
    raise errors.NotFound(f"{name} is not in {folder} any more.", resource_name=name)


def _decode(path: Path) -> Image.Image:
    return images.decode(path.read_bytes(), max_pixels=read_max_pixels())


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
