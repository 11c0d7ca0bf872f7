"""Refuses jobs whose tables show that training would fail. Opens no picture.

Without this, a data set of one group is accepted, waits on the queue, and fails minutes later in a
worker. What only the pictures tell, such as copies of one file, the training process still finds.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from halftone.archive import data_sets
from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from halftone.archive.data_sets import Listing
    from halftone.core.training import TrainingSpec
    from halftone.core.training_options import LoopOptions

# Looking at so much takes about a second, in the thread of the call. Larger sets have enough in
# them, or wait for the worker.
_MOST_BYTES: Final = 2 * 2**20
_MOST_NAMES: Final = 5000
_FEWEST_GROUPS: Final = 2
_LARGEST_HELD_OUT: Final = 5  # one picture in so many, without labels
_NAMED: Final = 3


def check_data_sets(
    spec: TrainingSpec, *, paths: Sequence[Path], roots: Sequence[Path] = ()
) -> None:
    """Check that the data sets of a job name enough pictures, in enough groups.

    Args:
        spec: The specification of the job.
        paths: Where its data sets lie, in the order of `spec.datasets`.
        roots: Directories that the pictures must lie in.

    Raises:
        errors.InvalidArgument: A data set has no manifest, none of its pictures is there, or there
            are too few pictures or groups. The error says what is needed.
    """
    if sum(map(data_sets.measure_tables, paths)) > _MOST_BYTES:
        return
    options = spec.loop_options
    listing = data_sets.Listing()
    left = _MOST_NAMES
    for number, (name, path) in enumerate(zip(spec.datasets, paths, strict=True)):
        try:
            left -= data_sets.count_names(path, most=left)
            if left < 0:
                return
            data_sets.add_data_set(
                path, group_column=options.group_column, roots=roots, listing=listing
            )
        except errors.InvalidArgument as error:
            raise _rename(error, path=path, name=name, field=f"spec.datasets[{number}]") from error
    if options.labelled:
        _check_groups(spec, listing=listing, options=options)
    _check_pictures(spec, listing=listing, options=options)


def check_archive(name: str, *, path: Path, roots: Sequence[Path] = ()) -> None:
    """Check that an archive can be evaluated on: it takes a manifest, all pictures, and groups.

    Args:
        name: The archive, as the job names it.
        path: Where it lies.
        roots: Directories that the pictures must lie in.

    Raises:
        errors.InvalidArgument: Something is missing. The error says what.
    """
    if data_sets.measure_tables(path) > _MOST_BYTES:
        return
    field = "spec.evaluation_archive"
    try:
        if data_sets.count_names(path, most=_MOST_NAMES) > _MOST_NAMES:
            return
        listing = data_sets.read_listing([path], roots=roots)
    except errors.InvalidArgument as error:
        raise _rename(error, path=path, name=name, field=field) from error
    lost = [each for each in listing.findings if each.kind in {"missing file", "unreadable row"}]
    if lost:
        message = lost[0].message.replace(str(path), name)
        raise errors.InvalidArgument(
            f"{name} cannot be evaluated on, which takes all of its pictures: {message}.",
            field=field,
        )
    if not listing.list_families():
        raise errors.InvalidArgument(
            f"{name} cannot be evaluated on, because nothing says which of its pictures are the "
            f"same: it takes a {data_sets.GROUPS} beside the manifest, or a column `group` with at "
            "least two pictures of one group.",
            field=field,
        )


def check_room(directory: Path, *, least: int) -> None:
    """Check that the disk of a directory has room for a job.

    Args:
        directory: The directory of jobs' checkpoints and logs. If it is not there, for example
            because only the workers have that disk, nothing is checked.
        least: The bytes that a job needs.

    Raises:
        errors.StorageFull: There is less room.
    """
    if not directory.is_dir():
        return
    free = shutil.disk_usage(directory).free
    if free < least:
        raise errors.StorageFull(
            f"The trainer's disk has {free // 2**20:,} MiB left; a job needs {least // 2**20:,}."
        )


def _check_groups(spec: TrainingSpec, *, listing: Listing, options: LoopOptions) -> None:
    """Refuse labelled training on too few groups."""
    families = listing.list_families()
    held_out = options.validation_share > 0 and spec.options.splits is None
    needed = _FEWEST_GROUPS + held_out
    if len(families) >= needed:
        return
    names = ", ".join(family[0] for family in families[:_NAMED])
    found = f"{len(families)} ({names})" if families else "none"
    for_validation = ", one of them for validation" if held_out else ""
    raise errors.InvalidArgument(
        f"The objective {spec.objective} learns to tell groups of pictures apart: it takes at "
        f"least {needed} groups of two pictures{for_validation}, and the data sets have {found}. "
        f"Name the group of each picture in the column {options.group_column!r} of the manifest "
        f"or in a {data_sets.GROUPS} beside it, or train self_supervised, which takes no groups.",
        field="spec.datasets",
        reason="TOO_FEW_GROUPS",
    )


def _check_pictures(spec: TrainingSpec, *, listing: Listing, options: LoopOptions) -> None:
    """Refuse training on too few pictures, if that is certain before they are read."""
    count = len({entry.path for entry in listing.entries})
    held_out = 0
    if not options.labelled and spec.options.splits is None:
        held_out = min(options.validation, count // _LARGEST_HELD_OUT)
    fewest = 1 if options.draws_groups else options.batch
    why = f"a batch of {options.batch}"
    if not spec.parent and options.dimension >= fewest:
        fewest = options.dimension + 1
        why = f"a first projection to {options.dimension} dimensions"
    if count - held_out >= fewest:
        return
    be = "is" if held_out == 1 else "are"
    left = f", of which {held_out} {be} held out for validation" if held_out else ""
    raise errors.InvalidArgument(
        f"There are {count} pictures{left}; {why} takes at least {fewest}. Give more pictures, "
        "name a parent version, or lower the options batch and dimension.",
        field="spec.datasets",
        reason="TOO_FEW_PICTURES",
    )


def _rename(
    error: errors.InvalidArgument, *, path: Path, name: str, field: str
) -> errors.InvalidArgument:
    """Return an error that says the caller's name of a data set and not the machine's path."""
    message = error.message.replace(str(path), name)
    return errors.InvalidArgument(message, field=field, reason=error.reason)
