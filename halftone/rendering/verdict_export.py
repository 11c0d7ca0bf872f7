"""Archivists' verdicts as a data set to train on, and as a table that loses none of them.

A data set is a folder with `manifest.csv`, `images/` and `verdicts.csv`. Pictures that were judged
to be the same form a group, named in the manifest's column `group`. Verdicts may join two pictures
through others and also say that the two are different, for example of a plate with two pictures.
Then only the pairs that were judged to be the same may attract each other in training, and the data
set has a `groups.json` that lists them.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from halftone.archive.showing import NOT_SHOWN
from halftone.client import Decision
from halftone.core import errors, files
from halftone.core.formulas import GUARDED, guard, guard_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TextIO

    from halftone.client import Client, Cluster, ImageRecord, Verdict

Pair = tuple[str, str]

VERDICT_COLUMNS: Final = (
    *("verdict", "a", "b", "decision", "note", "author", "create_time", "end_time", "overruled"),
)
_MANIFEST_COLUMNS: Final = (
    *("image_id", "file", "journal", "date", "page", "caption", "language", "rights", "show"),
)
_THREADS: Final = 4


@dataclass(kw_only=True)
class Pairs:
    """Pairs of images, by name, as archivists or links judge them.

    Attributes:
        same: Pairs that show the same picture.
        different: Pairs that do not.
        unsure: Pairs on which an archivist was undecided.
    """

    same: set[Pair] = field(default_factory=set)
    different: set[Pair] = field(default_factory=set)
    unsure: set[Pair] = field(default_factory=set)

    def add_verdict(self, verdict: Verdict) -> None:
        """Add a verdict that holds; an overruled one has no effect."""
        if verdict.overruled:
            return
        pair = _sort_pair(verdict.a, verdict.b)
        if verdict.decision is Decision.SAME:
            self.same.add(pair)
        elif verdict.decision is Decision.DIFFERENT:
            self.different.add(pair)
        else:
            self.unsure.add(pair)

    def add_cluster(self, cluster: Cluster) -> None:
        """Add the links of a cluster as SAME pairs, except pairs judged DIFFERENT or UNSURE."""
        links = {_sort_pair(link.a, link.b) for link in cluster.links}
        self.same |= links - self.different - self.unsure


@dataclass(frozen=True, kw_only=True)
class VerdictGroup:
    """Images that were judged to show the same picture.

    Attributes:
        links: The pairs that were judged.
        composite: Whether other verdicts keep some of the members apart, so that only the linked
            pairs show the same picture.
    """

    members: tuple[str, ...]
    links: tuple[Pair, ...]
    composite: bool


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """The result of an export.

    Attributes:
        images: The number of pictures that were written.
        composite: The number of composite groups among `groups`.
        missing: Names of images that are gone from the archive.
        hidden: Names of images whose pictures the archive does not show. They are left out.
    """

    images: int
    groups: int
    composite: int
    verdicts: int
    missing: tuple[str, ...]
    hidden: tuple[str, ...] = ()


def make_groups(pairs: Pairs) -> tuple[VerdictGroup, ...]:
    """Return the groups that pairs form transitively, in the order of their first members."""
    joined: dict[str, set[str]] = {}
    for a, b in pairs.same:
        names = joined.get(a, {a}) | joined.get(b, {b})
        joined.update(dict.fromkeys(names, names))
    links = defaultdict(list)
    for pair in sorted(pairs.same):
        links[id(joined[pair[0]])].append(pair)
    torn = {id(joined[a]) for a, b in pairs.different if a in joined and b in joined[a]}
    distinct = {id(names): names for names in joined.values()}
    return tuple(
        VerdictGroup(members=tuple(sorted(names)), links=tuple(links[key]), composite=key in torn)
        for key, names in sorted(distinct.items(), key=lambda item: min(item[1]))
    )


def write_dataset(
    client: Client,
    *,
    directory: Path,
    clusters: Iterable[Cluster] = (),
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> ExportSummary:
    """Write the data set; after a failure nothing of it is left.

    Args:
        client: A client of the service that keeps verdicts and pictures.
        directory: A directory that is empty or does not exist yet.
        clusters: Clusters with members and links, whose links count as pairs, too.
        on_progress: Called with the number of pictures that are fetched and their total.

    Raises:
        errors.InvalidArgument: The directory is not empty.
        errors.FailedPrecondition: There is nothing to train on.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise errors.InvalidArgument(
            f"{directory} is there already and not empty.", field="directory"
        )
    history = list(client.verdicts(history=True, page_size=1000))
    pairs = Pairs()
    for verdict in history:
        if verdict.end_time is None:
            pairs.add_verdict(verdict)
    for cluster in clusters:
        pairs.add_cluster(cluster)
    names = sorted({name for pair in pairs.same | pairs.different for name in pair})
    if not names:
        raise errors.FailedPrecondition(
            "There is no verdict that says `same` or `different`: `halftone judge` keeps one.",
            subject="verdicts",
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        summary = _write(
            client, folder=work, names=names, pairs=pairs, verdicts=history, progress=on_progress
        )
        work.chmod(0o755)
        files.sync_tree(work)
        work.replace(directory)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    files.sync_directory(directory.parent)
    return summary


def _write(
    client: Client,
    *,
    folder: Path,
    names: Sequence[str],
    pairs: Pairs,
    verdicts: Sequence[Verdict],
    progress: Callable[[int, int], None],
) -> ExportSummary:
    (folder / "images").mkdir()
    records, hidden = _fetch(client, names=names, folder=folder / "images", progress=progress)
    single = len({record.archive for record, _ in records.values()}) == 1
    ids = {
        name: record.image_id if single else f"{record.archive}/{record.image_id}"
        for name, (record, _) in records.items()
    }
    groups = make_groups(pairs)
    composite = [group for group in groups if group.composite]
    group_names = {
        name: f"g{number}" for number, group in enumerate(groups) for name in group.members
    }
    with files.writing(folder / "manifest.csv", for_spreadsheets=True) as file:
        table = csv.writer(file)
        table.writerow([*_MANIFEST_COLUMNS, *(["group"] if not composite else []), GUARDED])
        for name, (record, picture) in records.items():
            known = [str(getattr(record, column)) for column in _MANIFEST_COLUMNS[2:]]
            row = [ids[name], f"images/{picture}", *known]
            row += [group_names.get(name, "")] if not composite else []
            table.writerow(guard_row(row))
    if composite:
        listing = [
            {
                "group": f"g{number}",
                "members": [ids[name] for name in group.members if name in ids],
                "links": [
                    {"a": ids[a], "b": ids[b]} for a, b in group.links if a in ids and b in ids
                ],
                "composite": group.composite,
            }
            for number, group in enumerate(groups)
        ]
        files.replace_file(folder / "groups.json", files.to_json(listing))
    with files.writing(folder / "verdicts.csv", for_spreadsheets=True) as file:
        write_verdicts(verdicts, file=file)
    return ExportSummary(
        images=len(records),
        groups=len(groups),
        composite=len(composite),
        verdicts=len(verdicts),
        missing=tuple(name for name in names if name not in records and name not in hidden),
        hidden=tuple(hidden),
    )


def _fetch(
    client: Client, *, names: Sequence[str], folder: Path, progress: Callable[[int, int], None]
) -> tuple[dict[str, tuple[ImageRecord, str]], list[str]]:
    """Fetch records and pictures. Images that are gone from the archive are left out.

    Returns:
        For each name that is still there, its record and the name of the picture's file; and the
        names of the images whose pictures the archive does not show.
    """
    hidden: set[str] = set()

    def fetch(numbered: tuple[int, str]) -> tuple[ImageRecord, str] | None:
        number, name = numbered
        try:
            record, picture = client.get(name), client.thumbnail(name)
        except errors.NotFound:
            return None
        except errors.PermissionDenied as error:
            if error.reason != NOT_SHOWN:
                raise
            hidden.add(name)
            return None
        file = f"{number:06}.jpg"
        files.replace_file(folder / file, picture.content)
        return record, file

    records = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        fetched = pool.map(fetch, enumerate(names))
        for done, (name, fetched_one) in enumerate(zip(names, fetched, strict=True), start=1):
            if fetched_one is not None:
                records[name] = fetched_one
            progress(done, len(names))
    return records, sorted(hidden)


def write_verdicts(verdicts: Iterable[Verdict], *, file: TextIO) -> int:
    """Write a row for each verdict and return the number of rows."""
    table = csv.writer(file)
    table.writerow(VERDICT_COLUMNS)
    count = 0
    for verdict in verdicts:
        count += 1
        times = (verdict.create_time, verdict.end_time)
        table.writerow(
            [
                *(verdict.id, verdict.a, verdict.b, verdict.decision.value),
                *(guard(verdict.note), guard(verdict.author)),
                *(moment.isoformat() if moment else "" for moment in times),
                int(verdict.overruled),
            ]
        )
    return count


def _sort_pair(a: str, b: str) -> Pair:
    return (a, b) if a <= b else (b, a)
