"""`halftone judge` and `halftone verdicts …`: what archivists say of pairs of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from halftone.cli import output, tables
from halftone.cli.connecting import DefaultGroup, search_target, server_options
from halftone.cli.options import (
    archive_option,
    complete_name,
    confirm,
    find_login_name,
    json_option,
    limit_option,
    yes_option,
)
from halftone.client import Decision, Relation
from halftone.core import errors
from halftone.core.settings import ClientSettings
from halftone.rendering import cluster_export, json_forms, texts, verdict_export

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from halftone.cli.connecting import Connect
    from halftone.client import Client, Cluster, Verdict

_MOST_LINES: Final = 10
# The least share that two pictures have in common if neither is a page or a plate that shows the
# other among more; as in the grouping of the search service.
_WHOLE: Final = 0.6
# Every id with at most this many digits fits into 64 bits.
_MOST_DIGITS: Final = 18


@click.command()
@click.argument("a", metavar="IMAGE")
@click.argument("b", metavar="IMAGE")
@click.argument("decision", type=click.Choice([decision.value for decision in Decision]))
@click.option("--note", default="", help="Why.")
@click.option("--author", help="Who says so.  [default: HALFTONE_AUTHOR, or the login name]")
@archive_option
@json_option
@server_options
def judge(
    *,
    a: str,
    b: str,
    decision: str,
    note: str,
    author: str | None,
    archive: tuple[str, ...],
    as_json: bool,
    connect: Connect,
) -> None:
    """Say whether two images are the same picture. It is kept for good.

    `same` holds the two in one cluster, `different` keeps them apart, both through every later
    grouping and model version; `unsure` only keeps the note.

    IMAGE is archives/ARCHIVE/images/ID, or an ID with --archive.
    """
    names = (complete_name(a, archives=archive), complete_name(b, archives=archive))
    with connect() as client:
        before = [_find_cluster(client, name) for name in names]
        verdict = client.judge(
            names[0], names[1], decision, note=note, author=author or _find_author()
        )
        after = [_find_cluster(client, name) for name in names]
        joins = verdict.decision is Decision.SAME and not _are_together(before)
        warning = _warn_of_a_part(client, verdict) if joins else ""
    if as_json:
        values = {
            **json_forms.verdict_to_json(verdict),
            "cluster_a": after[0].name if after[0] else None,
            "cluster_b": after[1].name if after[1] else None,
        }
        output.print_json(values)
        output.remark(*filter(None, (warning,)))
        return
    output.say(f"{verdict.name}: {names[0]} and {names[1]} are {_phrase(verdict.decision)}.")
    output.say(describe_consequence(verdict.decision, names=names, before=before, after=after))
    for line in describe_overruled(verdict):
        output.say(line)
    output.remark(*filter(None, (warning,)))


def _are_together(clusters: Sequence[Cluster | None]) -> bool:
    """Return whether two images are in one cluster, given the cluster of each."""
    first, second = clusters
    return first is not None and second is not None and first.name == second.name


def _warn_of_a_part(client: Client, verdict: Verdict) -> str:
    """Return a sentence if one of two images shows more than the other, as a page does, else ""."""
    try:
        hit = client.compare(verdict.a, verdict.b).hit
    except errors.HalftoneError:
        # The verdict is recorded; it cannot be said whether one is a part of the other.
        return ""
    if hit.relation is Relation.SHARED_ELEMENTS:
        return (
            "Warning: what the two share looks like a frame, type, a base map or the like, and not "
            "like a picture. Judged the same, all printings of either come into one cluster. If "
            f"the pictures differ, take it back: halftone verdicts delete {verdict.id}."
        )
    shares = [(overlap.query_share, overlap.image_share) for overlap in hit.overlaps[:1]]
    if not shares or min(shares[0]) >= _WHOLE:
        return ""
    in_a, in_b = shares[0]
    if max(shares[0]) < _WHOLE:
        what = f"each of the two shows more than the part that they share ({in_a:.0%}, {in_b:.0%})"
    else:
        larger, smaller = (verdict.a, verdict.b) if in_a < in_b else (verdict.b, verdict.a)
        what = (
            f"{larger} shows more than {smaller}, as a page or a plate does; what they share is "
            f"{min(shares[0]):.0%} of it"
        )
    return (
        f"Warning: {what}. Judged the same, all printings of either come into one cluster. If only "
        f"a part is the same, take it back: halftone verdicts delete {verdict.id}. A search finds "
        "pages and plates without a verdict."
    )


@click.group(cls=DefaultGroup)
@search_target
def verdicts(**_target: Any) -> None:  # its commands read it
    """List, take back and export what archivists said of pairs.

    Without a command, `list`.
    """


@verdicts.command("list")
@click.option("--image", default="", metavar="IMAGE", help="Only those on this image.")
@click.option("--history", is_flag=True, help="Those that no longer hold as well.")
@limit_option("verdicts", default=100)
@archive_option
@json_option
@server_options
def list_(
    *,
    image: str,
    history: bool,
    limit: int,
    archive: tuple[str, ...],
    as_json: bool,
    connect: Connect,
) -> None:
    """List verdicts, the newest first."""
    name = complete_name(image, archives=archive) if image else ""
    with connect() as client:
        found = client.verdicts(image=name, history=history, page_size=min(limit + 1, 1000))
        shown, more = output.take(found, limit)
    if as_json:
        output.print_json([json_forms.verdict_to_json(verdict) for verdict in shown])
    elif shown:
        tables.print_table(output.make_console(), lay_out_verdicts(shown, history=history))
    else:
        output.say("No verdicts.")
    if more:
        output.remark_more(limit)


def lay_out_verdicts(shown: Sequence[Verdict], *, history: bool) -> tables.Layout:
    """Return a table of verdicts; with `history`, with the time when each ceased to hold."""
    # The two names stand one below the other: side by side they are too broad for most terminals.
    titles = ["verdict", "time", "decision", "author", *(["until"] if history else []), "images"]
    noted = any(verdict.note for verdict in shown)
    return tables.Layout(
        columns=[
            *(tables.Column(title=title) for title in titles),
            *([tables.Column(title="note", wraps=True)] if noted else []),
        ],
        rows=[
            [
                verdict.id,
                _format_time(verdict, "create_time"),
                verdict.label,
                texts.flatten(verdict.author),
                *([_format_time(verdict, "end_time")] if history else []),
                f"{verdict.a}\n{verdict.b}",
                *([texts.flatten(verdict.note)] if noted else []),
            ]
            for verdict in shown
        ],
    )


@verdicts.command(short_help="Take a verdict back; it stays in the history.")
@click.argument("verdict", metavar="VERDICT")
@yes_option
@json_option
@server_options
def delete(*, verdict: str, yes: bool, as_json: bool, connect: Connect) -> None:
    """Take a verdict back, by the id that `halftone verdicts` lists; it stays in the history."""
    number = verdict.removeprefix("verdicts/")
    if not (number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS):
        raise click.BadParameter(
            f"{verdict[:80]!r} is no verdict's id; `halftone verdicts` lists them.",
            param_hint="VERDICT",
        )
    name = f"verdicts/{int(number)}"
    with connect() as client:
        overruled = set()
        for each in client.verdicts(page_size=1000):
            # A verdict that has ended stays as it is and needs no question.
            if each.name == name:
                said = f"{each.a} and {each.b} are {_phrase(each.decision)}"
                confirm(f"Take back {each.name}, that {said}?", yes=yes)
            if each.overruled:
                overruled.add(each.name)
        old = client.delete_verdict(name)
        if as_json:
            output.print_json(json_forms.verdict_to_json(old))
            return
        after = client.verdicts(page_size=1000) if overruled else ()
        restored = [each for each in after if each.name in overruled and not each.overruled]
        pair = {old.a, old.b}
        on_one = client.verdicts(image=old.a, page_size=1000)
        later = next((each for each in on_one if {each.a, each.b} == pair), None)
    if later is not None:
        said = f"{later.name} says that {old.a} and {old.b} are {_phrase(later.decision)}"
        output.say(f"{old.name} does not hold any more: {said}.")
    else:
        output.say(f"{old.name} is taken back: nothing is said of {old.a} and {old.b}.")
    for line in (*_describe_restored(restored), *describe_overruled(old)):
        output.say(line)


@verdicts.command(short_help="Write a data set to train on.")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--with-clusters", is_flag=True, help="Learn from what was found to be the same as well."
)
@server_options
def export(*, directory: Path, with_clusters: bool, connect: Connect) -> None:
    """Write the pictures that were judged to DIRECTORY, as a data set to train on.

    Pictures that were judged to be the same form a group; verdicts.csv has all verdicts. Train with
    `halftone train` and --objective metric.
    """
    with connect() as client:
        clusters = (
            cluster_export.fetch_members(client, client.clusters(page_size=200))
            if with_clusters
            else ()
        )
        output.make_folder(directory)
        summary = verdict_export.write_dataset(
            client, directory=directory, clusters=clusters, on_progress=_make_progress()
        )
    output.say(
        f"Wrote {output.count_images(summary.images)} in {summary.groups:,} group"
        f"{'' if summary.groups == 1 else 's'} to {directory}; {summary.verdicts:,} verdict"
        f"{'' if summary.verdicts == 1 else 's'} to {directory / 'verdicts.csv'}."
    )
    notes = output.make_notes()
    if summary.composite:
        notes.print(
            f"{summary.composite} of the groups hold pictures that are said to be different: of "
            "them only the pairs that were said to be the same attract (groups.json)."
        )
    if summary.missing:
        notes.print(
            f"{output.count_images(len(summary.missing))} no longer in the archive, such as "
            f"{summary.missing[0]}."
        )
    if summary.hidden:
        notes.print(
            f"{output.count_images(len(summary.hidden))} left out, because the archive does not "
            f"show their pictures, such as {summary.hidden[0]}."
        )


def describe_consequence(
    decision: Decision,
    *,
    names: Sequence[str],
    before: list[Cluster | None],
    after: list[Cluster | None],
) -> str:
    """Return in a sentence what a verdict did to the clusters of its two images.

    Args:
        decision: The verdict's decision.
        names: The names of the two images.
        before: The cluster of each image before the verdict; None if it was in none.
        after: The cluster of each image after the verdict; None if it is in none.
    """
    first, together, were = after[0], _are_together(after), _are_together(before)
    if decision is Decision.UNSURE:
        if together == were:
            return "The clusters stay as they are."
        # The new verdict replaced one that bound the two.
        return f"They are {'together' if together else 'no longer together'} now."
    if together is not (decision is Decision.SAME):
        how = "together" if together else "apart"
        return f"They are {how} all the same: another verdict came in between."
    if first is not None and together:
        how = "stay" if were else "are now"
        joined = "" if were else _describe_joined(before, into=first)
        return f"They {how} together in {first.name}, {first.size} printings{joined}."
    if not were:
        return "They were not together, and will not come together."
    places = [
        f"{name} is {'in ' + found.name if found else 'alone'}"
        for name, found in zip(names, after, strict=True)
    ]
    return f"They are apart now: {', '.join(places)}."


def _describe_joined(before: Sequence[Cluster | None], *, into: Cluster) -> str:
    """Return the words about the clusters that became a part of another one."""
    joined = [cluster for cluster in before if cluster and cluster.name != into.name]
    if not joined or not all(before):
        return ""
    names = " and ".join(f"the {cluster.size} of {cluster.name}" for cluster in joined)
    return f", with {names}"


def _describe_restored(restored: Sequence[Verdict]) -> list[str]:
    """Return lines about verdicts that have their effect again, because one was taken back."""
    if not restored:
        return []
    one = len(restored) == 1
    count = "An earlier verdict has its" if one else f"{len(restored)} earlier verdicts have their"
    return [f"{count} effect again:", *_list_lines(restored)]


def _list_lines(found: Sequence[Verdict]) -> list[str]:
    """Return a line for each of the first verdicts, and one if there are more."""
    shown = [f"  {each.a} and {each.b}: {output.describe_verdict(each)}" for each in found]
    if len(shown) > _MOST_LINES:
        shown[_MOST_LINES:] = ["  … `halftone verdicts` lists the others."]
    return shown


def describe_overruled(verdict: Verdict) -> list[str]:
    """Return lines about the verdicts that lost their effect by `verdict`, and what to do then."""
    lost = verdict.overruled_verdicts
    if not lost:
        return []
    one = len(lost) == 1
    count = "An earlier verdict has" if one else f"{len(lost)} earlier verdicts have"
    why = "where verdicts contradict each other, the later ones count"
    if verdict.end_time is not None:
        why = f"what {verdict.name} kept from its effect has it again, and {why}"
    lines = [
        f"{count} no effect any more: {why}.",
        *_list_lines(lost),
    ]
    if verdict.end_time is not None:
        lines.append("`halftone verdicts` lists those that hold, and which of them have no effect.")
        return lines
    were, them = ("it was", "it") if one else ("they were", "them")
    number = lost[0].id if one else "ID"
    lines.append(
        f"If {were} right, take this one back: halftone verdicts delete {verdict.id}. "
        f"If {were} wrong, take {them} back: halftone verdicts delete {number}."
    )
    return lines


def _find_cluster(client: Client, name: str) -> Cluster | None:
    try:
        return client.cluster(name)
    except errors.NotFound:
        return None


def _find_author() -> str:
    author = ClientSettings().author
    if author:
        return author
    return find_login_name()


def _phrase(decision: Decision) -> str:
    return {
        Decision.SAME: "the same picture",
        Decision.DIFFERENT: "different pictures",
        Decision.UNSURE: "possibly the same picture",
    }[decision]


def _make_progress() -> Callable[[int, int], None]:
    """Return a function that reports each tenth of the pictures."""
    told = 0

    def tell(done: int, total: int) -> None:
        nonlocal told
        tenth = 10 * done // total
        if tenth > told and total >= 10:  # noqa: PLR2004 - a handful is there at once
            told = tenth
            output.make_notes().print(f"{done:,} of {total:,} pictures")

    return tell


def _format_time(verdict: Verdict, name: str) -> str:
    moment = getattr(verdict, name)
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M")
