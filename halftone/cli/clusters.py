"""`halftone clusters …` and `halftone cluster`: the printings of each picture."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import itertools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from halftone.cli import cluster_tables, output
from halftone.cli.connecting import DefaultGroup, search_target, server_options
from halftone.cli.numbers import Whole
from halftone.cli.options import (
    NOTHING_IMPORTED,
    check_filter,
    combine,
    complete_name,
    filter_options,
    json_option,
    limit_option,
    read_filter,
)
from halftone.client import ClusterJobState, ClusterOrder
from halftone.core import errors, files
from halftone.rendering import cluster_export, cluster_page, json_forms, wording

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from halftone.cli.connecting import Connect
    from halftone.client import Client, Cluster, ClusterJob

BUILD_HINT: Final = "The archive has not been grouped yet: `halftone clusters build` does it."
_EXPORT_PAGE: Final = 200
# The number of jobs among which one that succeeded is looked for.
_JOBS: Final = 50
# The share of a job that has looked up all images, but has not grouped them yet.
_ALL_BUT_GROUPED: Final = 0.99


cluster_options = combine(
    click.option(
        "--sort",
        type=click.Choice([order.value for order in ClusterOrder]),
        default=ClusterOrder.SIZE.value,
        show_default=True,
        help="The largest first: printings, years between the first and the last, or journals.",
    ),
    click.option("--min-size", type=Whole(1), help="At least so many printings."),
    click.option("--min-journals", type=Whole(1), help="In at least so many journals."),
    click.option(
        "--min-span",
        type=Whole(0),
        help="At least so many years between the first printing and the last, whose dates must not "
        "overlap.",
    ),
)
"""Options for the choice and the order of clusters; `_read_options` reads them."""


@click.group(cls=DefaultGroup)
@search_target
def clusters(**_target: Any) -> None:  # its commands read it
    """List the archive's pictures by their printings; build, watch and export these groups.

    Without a command, `list`: halftone clusters --sort span --min-journals 3
    """


@clusters.command("list", short_help="List pictures that were printed more than once.")
@filter_options
@cluster_options
@limit_option("clusters", default=50)
@json_option
@server_options
def list_(
    *,
    limit: int,
    as_json: bool,
    connect: Connect,
    **options: Any,  # the filter's and the clusters' options
) -> None:
    """List pictures that were printed more than once, the most printed first.

    A cluster is listed when at least one of its printings matches the filter.
    """
    wanted = _read_options(options)
    with connect() as client:
        page = client.cluster_page(**wanted, page_size=min(limit, 1000))
        rest = (
            client.clusters(**wanted, page_size=1000, page_token=page.next_page_token)
            if page.next_page_token
            else ()
        )
        shown = list(itertools.islice(itertools.chain(page, rest), limit))
        remarks = _make_remarks(client, wanted=wanted, nothing=not shown)
    if as_json:
        rows = [cluster_export.cluster_to_json(cluster) for cluster in shown]
        output.print_json({"total": page.total, "clusters": rows})
    else:
        cluster_tables.print_clusters(shown, total=page.total)
    output.remark(*remarks)


@clusters.command()
@click.option("--watch", is_flag=True, help="Show how it goes until the end.")
@click.option(
    "--from-scratch",
    is_flag=True,
    help="Compare every pair again, and forget those that are no candidates any more.",
)
@json_option
@server_options
def build(*, watch: bool, from_scratch: bool, as_json: bool, connect: Connect) -> None:
    """Group the whole archive. Images that are imported later join without it."""
    with connect() as client:
        job = client.build_clusters(from_scratch=from_scratch)
        if watch:
            output.make_notes().print(f"{job.name}  (halftone clusters cancel stops it)")
            job = _show_progress(client, job)
    _print_job(job, as_json=as_json)
    if watch and job.state is not ClusterJobState.SUCCEEDED:
        raise click.exceptions.Exit(1)


@clusters.command()
@click.option("--watch", is_flag=True, help="Show how it goes until the end.")
@json_option
@server_options
def status(*, watch: bool, as_json: bool, connect: Connect) -> None:
    """Say how the grouping stands, or how the last one ended."""
    with connect() as client:
        job = _find_newest_job(client)
        if watch and not job.state.is_over:
            job = _show_progress(client, job)
    _print_job(job, as_json=as_json)


@clusters.command()
@json_option
@server_options
def cancel(*, as_json: bool, connect: Connect) -> None:
    """Stop the grouping; the groups stay as they were."""
    with connect() as client:
        job = client.cancel_cluster_job(_find_newest_job(client).name)
    _print_job(job, as_json=as_json)


@clusters.command()
@filter_options
@cluster_options
@click.option(
    "--format",
    "written_as",
    type=click.Choice(["csv", "jsonl", "annotations"]),
    required=True,
    help="A row for each printing; a JSON object for each cluster; W3C Web Annotations (JSON-LD).",
)
@click.option(
    "-o",
    "--output",
    "path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="File to write; - is standard output.",
)
@server_options
def export(
    *,
    written_as: str,
    path: Path,
    connect: Connect,
    **options: Any,  # the filter's and the clusters' options
) -> None:
    """Write clusters with their printings for other programs."""
    wanted = _read_options(options)
    with connect() as client:
        listed = client.clusters(**wanted, page_size=_EXPORT_PAGE)
        first = list(itertools.islice(listed, 1))
        if not first:
            # This raises if nothing was grouped yet: an empty file would mean that nothing was
            # found.
            _find_newest_job(client)
        complete = cluster_export.fetch_members(client, itertools.chain(first, listed))
        with _open(path, for_spreadsheets=written_as == "csv") as file:
            if written_as == "csv":
                count = cluster_export.write_csv(complete, file=file)
            elif written_as == "jsonl":
                count = cluster_export.write_jsonl(complete, file=file)
            else:
                verdicts = {frozenset((each.a, each.b)): each for each in client.verdicts()}
                now = dt.datetime.now(dt.UTC)
                count = cluster_export.write_annotations(
                    complete, file=file, verdicts=verdicts, now=now
                )
        remarks = _make_remarks(client, wanted=wanted, nothing=not count)
    where = "" if str(path) == "-" else f" to {path}"
    output.remark(f"Wrote {wording.format_count(count, 'cluster')}{where}.", *remarks)


@click.command()
@click.argument("name", metavar="ID|IMAGE")
@click.option("--archive", multiple=True, metavar="NAME", help="IMAGE is an id in this archive.")
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    help="Write a page as well: FILE.html with all pictures in it, or a directory.",
)
@json_option
@server_options
def cluster(
    *,
    name: str,
    archive: tuple[str, ...],
    html: Path | None,
    as_json: bool,
    connect: Connect,
) -> None:
    """Show the life of a picture: its printings in the order of time.

    ID is a cluster's, as `halftone clusters` lists it; IMAGE is a printing,
    archives/ARCHIVE/images/ID, or its id with --archive.
    """
    with connect() as client:
        whole_cluster = find_cluster(client, read_cluster_name(name, archives=archive))
        unfinished = _describe_unfinished(client)
        if as_json:
            output.print_json(cluster_export.cluster_to_json(whole_cluster))
        else:
            cluster_tables.print_cluster(whole_cluster)
        output.remark(*unfinished)
        if html is not None:
            pictures = cluster_page.fetch_thumbnails(client, whole_cluster)
            now = dt.datetime.now(dt.UTC)
            output.make_folder(cluster_page.place_page(html))
            page = cluster_page.write_page(whole_cluster, pictures=pictures, path=html, now=now)
            output.remark(f"Wrote {page}.")


def read_cluster_name(text: str, *, archives: tuple[str, ...] = ()) -> str:
    """Return the name of a cluster or of an image from a command's argument."""
    if text.startswith("clusters/"):
        return text
    if text.startswith("archives/") or archives or os.path.isfile(text):  # noqa: PTH113 - raises for no text
        # The called function also tells people what to do with a file.
        return complete_name(text, archives=archives)
    return f"clusters/{text}"


def find_cluster(client: Client, name: str) -> Cluster:
    """Return a cluster by its name or by the name of an image.

    Raises:
        errors.NotFound: There is none; the message says what to do if nothing was grouped yet.
    """
    try:
        return client.cluster(name)
    except errors.NotFound as error:
        if name.startswith("archives/"):
            client.get(name)
        if next(client.cluster_jobs(page_size=1), None) is None:
            raise errors.NotFound(BUILD_HINT, resource_name=name) from error
        unfinished = _describe_unfinished(client)
        if name.startswith("archives/") and unfinished:
            raise errors.NotFound(
                f"{name} is in no cluster yet. {unfinished[0]}", resource_name=name
            ) from error
        if name.startswith("archives/"):
            raise errors.NotFound(
                f"{name} is in no cluster: no other printing of it by itself is known. "
                f"`halftone search {name}` finds plates and pages that show it among others, too.",
                resource_name=name,
            ) from error
        raise errors.NotFound(
            f"There is no cluster {name.removeprefix('clusters/')!r}; `halftone clusters` lists "
            "them. An image's id alone needs --archive.",
            resource_name=name,
        ) from error


def _read_options(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "order": ClusterOrder(options.pop("sort")),
        "min_size": options.pop("min_size"),
        "min_journals": options.pop("min_journals"),
        "min_span_years": options.pop("min_span"),
        "filter": read_filter(options),
    }


def _make_remarks(client: Client, *, wanted: dict[str, Any], nothing: bool) -> list[str]:
    remarks = check_filter(client, where=wanted["filter"], nothing=nothing)
    if NOTHING_IMPORTED in remarks:
        return remarks
    if nothing and next(client.cluster_jobs(page_size=1), None) is None:
        return [BUILD_HINT]
    return [*remarks, *_describe_unfinished(client)]


def _describe_unfinished(client: Client) -> list[str]:
    """Return a sentence if printings may be missing, because no grouping has come to its end."""
    jobs = list(itertools.islice(client.cluster_jobs(page_size=_JOBS), _JOBS))
    if not jobs:
        return []
    newest = jobs[0]
    if not newest.state.is_over:
        sentence = (
            f"The archive is being grouped ({describe_progress(newest)}), so printings may be "
            "missing until then: `halftone clusters status --watch` shows when it ends."
        )
        return [sentence]
    if any(job.state is ClusterJobState.SUCCEEDED for job in jobs):
        return []
    how = "was stopped" if newest.state is ClusterJobState.CANCELLED else "failed"
    sentence = (
        f"The grouping {how} before its end, so printings may be missing: `halftone clusters "
        "build` begins another, which compares no pair twice."
    )
    return [sentence]


@contextlib.contextmanager
def _open(path: Path, *, for_spreadsheets: bool = False) -> Iterator[TextIO]:
    """Open a file that appears whole or not at all, or standard output for `-`."""
    if str(path) == "-":
        # The bytes are those of a file, whatever the encoding of the terminal.
        encoding = "utf-8-sig" if for_spreadsheets else "utf-8"
        text = io.TextIOWrapper(sys.stdout.buffer, encoding=encoding, newline="")
        yield text
        # Flushed here, because a reader that has gone is no fault.
        text.flush()
        text.detach()
        return
    with files.writing(output.make_folder(path), for_spreadsheets=for_spreadsheets) as file:
        yield file


def _find_newest_job(client: Client) -> ClusterJob:
    job = next(client.cluster_jobs(page_size=1), None)
    if job is None:
        raise errors.NotFound(BUILD_HINT, resource_name="clusterJobs")
    return job


def _show_progress(client: Client, job: ClusterJob) -> ClusterJob:
    """Show a job until its end and return it."""
    share = 0.0

    def grow(job: ClusterJob) -> float:
        nonlocal share
        share = max(share, estimate_share(job))
        return share

    return output.watch(
        lambda: client.watch_cluster_job(job.name),
        share=grow,
        describe=describe_progress,
        describe_line=lambda job: f"{share:4.0%}  {describe_progress(job)}",
        service="search",
        interrupted="The grouping goes on: `halftone clusters status` tells how it stands, "
        "`halftone clusters cancel` stops it.",
    )


def estimate_share(job: ClusterJob) -> float:
    """Return the share of a job that is done, 0 to 1, measured in images.

    The number of pairs to compare is known only after they were compared.
    """
    if job.state is ClusterJobState.SUCCEEDED:
        return 1.0
    return min(job.searched_count / max(job.image_count, 1), _ALL_BUT_GROUPED)


def describe_progress(job: ClusterJob) -> str:
    """Return a line about how far a job is."""
    if job.state is not ClusterJobState.RUNNING:
        return job.state.value
    if not job.image_count:
        return "counting the images"
    parts = [
        f"{job.searched_count:,} of {job.image_count:,} images looked up",
        f"{job.compared_count:,} pairs compared" if job.compared_count else "",
        "grouping" if job.searched_count >= job.image_count else "",
    ]
    return ", ".join(filter(None, parts))


def _print_job(job: ClusterJob, *, as_json: bool) -> None:
    if as_json:
        found = json_forms.job_to_json(job)
        output.print_json({key: value for key, value in found.items() if value not in (None, "")})
        return
    out = output.make_console()
    match job.state:
        case ClusterJobState.SUCCEEDED if not job.image_count:
            out.print(NOTHING_IMPORTED, soft_wrap=True)
        case ClusterJobState.SUCCEEDED if not job.cluster_count:
            images = output.count_images(job.image_count)
            out.print(f"No picture was found twice among {images}.")
        case ClusterJobState.SUCCEEDED:
            out.print(
                f"{wording.format_count(job.clustered_image_count, 'printing')} of "
                f"{wording.format_count(job.cluster_count, 'picture')} among "
                f"{output.count_images(job.image_count)}; the most printed has "
                f"{job.largest_cluster_size}. `halftone clusters` lists them.",
                soft_wrap=True,
            )
        case ClusterJobState.FAILED:
            out.print(f"The grouping failed: {job.error}", soft_wrap=True)
        case ClusterJobState.CANCELLED:
            out.print("The grouping was stopped; the groups are as they were.")
        case _:
            out.print(f"{job.name} is running: {describe_progress(job)}", soft_wrap=True)
