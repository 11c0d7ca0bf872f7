"""Reads an archive whose reprints are known, embeds it with a model, and judges the model.

`halftone eval` and the end of a training run both judge archives here, so they give the same
figures. Needs torch only through the model that it is given.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from halftone.archive.sources import open_source
from halftone.archive.tables import describe_row, open_table
from halftone.core import errors
from halftone.core.spelling import compose, compose_all
from halftone.evaluation.judged import (
    ARCHIVE_RULES,
    DESCRIPTOR,
    GROUP_RULES,
    WHOLE_SEARCH,
    JudgedImages,
)
from halftone.evaluation.metrics import Cosines, figures, judge, threshold_of
from halftone.evaluation.resampling import Draws, intervals, resample
from halftone.evaluation.truth import Truth, truth_of
from halftone.imaging.orientations import UPRIGHT
from halftone.vision.preprocessing import prepare_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from halftone.evaluation.whole_search import Answers
    from halftone.imaging.orientations import Orientation
    from halftone.vision.descriptor_model import DescriptorModel

GROUPS: Final = "groups.json"
_GROUP_COLUMNS: Final = ("image_id", "group")
_BATCH: Final = 64
_THREADS: Final = 4


@dataclass(frozen=True, kw_only=True)
class LabelledPicture:
    """One picture of a labelled archive, as its manifest lists it.

    Attributes:
        image_id: The image id.
        path: The file.
        journal: The publication.
        date: The date, as the manifest has it.
        group: The manifest's column `group`; empty if the picture is in no group.
    """

    image_id: str
    path: Path
    journal: str
    date: str
    group: str


@dataclass(frozen=True, kw_only=True)
class LabelledArchive:
    """Pictures of an archive, and which of them are the same.

    Attributes:
        name: The archive's name for people.
        ids: Image ids, [N].
        paths: Files of the images, [N].
        journals: Publications of the images, [N].
        names: Names of the images for people, [N].
        groups: The groups of a `groups.json`, or the group of each image, [N].
        left_out: Image ids or lines that are not among the N, and why.
    """

    name: str
    ids: tuple[str, ...]
    paths: tuple[Path, ...]
    journals: tuple[str, ...]
    names: tuple[str, ...]
    groups: Sequence[Mapping[str, Any]] | Sequence[str]
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def by_publication(self) -> bool:
        """Return whether the groups come from a `groups.json`.

        Copies in one journal do not count then.
        """
        return bool(self.groups) and not isinstance(self.groups[0], str)

    @property
    def rules(self) -> str:
        """Return a sentence on what counts as a match."""
        return ARCHIVE_RULES if self.by_publication else GROUP_RULES

    def truth(self) -> Truth:
        """Return which pairs of the N pictures match."""
        if not self.by_publication:
            return Truth.of_groups([str(group) for group in self.groups])
        journals = dict(zip(self.ids, self.journals, strict=True))
        groups = [group for group in self.groups if not isinstance(group, str)]
        return truth_of(groups, image_ids=self.ids, journals=journals)

    def select(self, rows: Sequence[int]) -> LabelledArchive:
        """Return an archive of the pictures at `rows`, in that order."""
        by_image = () if self.by_publication else self.groups
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            paths=tuple(self.paths[row] for row in rows),
            journals=tuple(self.journals[row] for row in rows),
            names=tuple(self.names[row] for row in rows),
            groups=tuple(str(by_image[row]) for row in rows) if by_image else self.groups,
        )


@dataclass(frozen=True, kw_only=True)
class EmbeddedArchive:
    """A labelled archive and the descriptors that a model gives its pictures.

    Attributes:
        archive: The archive. Pictures that cannot be decoded are in its `left_out`.
        descriptors: float32 [N, D], of the pictures as they are.
        views: float32 [O, N, D], of the pictures in each orientation that was asked for; None if
            it is only one.
        digest: SHA-256 of the ids, the files' hashes and the groups.
        others: Further descriptors of the pictures as they are, float32 [N, *] each, by name.
    """

    archive: LabelledArchive
    descriptors: NDArray[np.float32]
    views: NDArray[np.float32] | None
    digest: str
    others: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def scorer(self) -> Cosines:
        """Return the scores of all pairs, as a search computes them by turning the query."""
        return Cosines(self.descriptors, views=self.views)


def read_labelled(
    folder: Path, *, groups: Path | None = None, limit: int | None = None
) -> LabelledArchive:
    """Read an archive's manifest and its truth.

    Args:
        folder: The folder with a manifest, or the manifest itself.
        groups: A JSON file in the form of `groups.json`, or a CSV file with the columns image_id
            and group. None stands for the folder's `groups.json`, otherwise for the manifest's
            column `group`.
        limit: The most pictures: evenly spaced groups, which stay whole, and pictures outside
            groups.

    Raises:
        errors.InvalidArgument: There is no manifest, there are no groups, or a file of groups
            cannot be used.
    """
    pictures, left_out = _read_pictures(folder)
    result = label_pictures(pictures, folder=folder, groups=groups, left_out=left_out)
    size = len(result.ids)
    return result if limit is None or limit >= size else result.select(_choose(result, limit))


def read_different(folder: Path) -> LabelledArchive:
    """Read the manifest of an archive of which no two pictures are the same.

    Raises:
        errors.InvalidArgument: There is no manifest, or it has no usable pictures.
    """
    pictures, left_out = _read_pictures(folder)
    return LabelledArchive(
        name=folder.resolve().name if folder.is_dir() else folder.stem,
        ids=tuple(picture.image_id for picture in pictures),
        paths=tuple(picture.path for picture in pictures),
        journals=tuple(picture.journal for picture in pictures),
        names=tuple(_name(picture) for picture in pictures),
        groups=("",) * len(pictures),
        left_out=tuple(left_out),
    )


def _read_pictures(folder: Path) -> tuple[list[LabelledPicture], list[tuple[str, str]]]:
    """Return the usable pictures of a manifest, and what is left out and why."""
    pictures: list[LabelledPicture] = []
    left_out: list[tuple[str, str]] = []
    source = open_source(folder, archive="evaluation")
    for row in source.rows:
        if row.image is None or row.path is None:
            where = row.image_id or source.describe_row(row.number)
            left_out.append((where, str(row.error)))
        else:
            labels = row.image.labels
            group = labels["group"].values[:1] if "group" in labels else ()
            pictures.append(
                LabelledPicture(
                    image_id=row.image_id,
                    path=row.path,
                    journal=row.image.journal,
                    date=row.image.date,
                    group="".join(group),
                )
            )
    if not pictures:
        first = f": {left_out[0][0]}, {left_out[0][1]}" if left_out else "."
        raise errors.InvalidArgument(f"{folder} has no usable pictures{first}", field="archive")
    return pictures, left_out


def label_pictures(
    pictures: Sequence[LabelledPicture],
    *,
    folder: Path,
    groups: Path | None = None,
    left_out: Sequence[tuple[str, str]] = (),
) -> LabelledArchive:
    """Return an archive of `pictures`, with the truth that `read_labelled` describes.

    Args:
        pictures: The pictures of the archive's manifest.
        folder: The folder with a manifest, or the manifest itself.
        groups: See `read_labelled`.
        left_out: Image ids or lines of the manifest that are not among the pictures, and why.

    Raises:
        errors.InvalidArgument: There are no groups, or a file of groups cannot be used.
    """
    ids = tuple(picture.image_id for picture in pictures)
    column = [picture.group for picture in pictures]
    found = _read_groups(folder, given=groups, ids=ids, column=column)
    known = set(ids)
    unknown: list[tuple[str, str]] = []
    if found and not isinstance(found[0], str):
        unknown = [
            (member, f"named by group {group['group']}, but not usable")
            for group in found
            if not isinstance(group, str)
            for member in group["members"]
            if member not in known
        ]
    return LabelledArchive(
        name=folder.resolve().name if folder.is_dir() else folder.stem,
        ids=ids,
        paths=tuple(picture.path for picture in pictures),
        journals=tuple(picture.journal for picture in pictures),
        names=tuple(_name(picture) for picture in pictures),
        groups=found,
        left_out=(*left_out, *unknown),
    )


def embed(
    model: DescriptorModel,
    *,
    pictures: LabelledArchive,
    orientations: Sequence[Orientation] = (UPRIGHT,),
    others: Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.float32]]] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> EmbeddedArchive:
    """Decode and embed an archive's pictures in the same way as the embedder.

    Args:
        model: The loaded model.
        pictures: The archive to embed.
        orientations: The orientations in which each picture is embedded, first the picture as it
            is.
        others: Function that computes further descriptors of uint8 [B, S, S], by name.
        progress: Called after each batch with its number of pictures.

    Raises:
        errors.InvalidArgument: No picture can be decoded.
    """
    preprocessing, size = model.spec.preprocessing, len(orientations)
    kept, hashes, failed, parts = [], [], [], []
    further: dict[str, list[NDArray[np.float32]]] = {}

    def read(row: int) -> tuple[str, NDArray[np.uint8] | str]:
        return prepare_file(pictures.paths[row], preprocessing=preprocessing)

    starts = range(0, len(pictures.ids), _BATCH)
    with ThreadPoolExecutor(_THREADS) as pool:
        # The next batch is decoded while the network computes this one.
        ahead = [pool.submit(read, row) for row in range(min(_BATCH, len(pictures.ids)))]
        for start in starts:
            results = [future.result() for future in ahead]
            following = range(start + _BATCH, min(start + 2 * _BATCH, len(pictures.ids)))
            ahead = [pool.submit(read, row) for row in following]
            batch = []
            for row, (digest, result) in enumerate(results, start=start):
                if isinstance(result, str):
                    failed.append((pictures.ids[row], result))
                else:
                    kept.append(row)
                    hashes.append(f"{pictures.ids[row]} {digest}")
                    batch.append(result)
            if batch:
                turned = [[way.apply(picture) for picture in batch] for way in orientations]
                parts.append(np.stack([model.embed(np.stack(view)) for view in turned]))
                for name, rows in others(np.stack(batch)).items() if others else ():
                    further.setdefault(name, []).append(rows)
            progress(len(results))
    if not parts:
        raise errors.InvalidArgument(
            f"No picture of {pictures.name} can be decoded: {failed[0][1]}", field="archive"
        )
    views = np.concatenate(parts, axis=1)
    archive = pictures.select(kept)
    archive = replace(archive, left_out=(*pictures.left_out, *failed))
    content = "\n".join([*hashes, json.dumps(list(archive.groups), sort_keys=True)])
    return EmbeddedArchive(
        archive=archive,
        descriptors=views[0],
        views=views if size > 1 else None,
        digest=hashlib.sha256(content.encode()).hexdigest(),
        others={name: np.concatenate(rows) for name, rows in further.items()},
    )


def judge_archive(
    embedded: EmbeddedArchive,
    *,
    answers: Answers | None = None,
    threshold: float | None = None,
    threshold_from: str = "",
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[JudgedImages, dict[str, Draws]]:
    """Judge an embedded archive; return what a report shows, and the draws of its intervals.

    Args:
        embedded: The archive and its descriptors.
        answers: What the whole search found; None judges the descriptor alone.
        threshold: The threshold for precision, recall and f1; None leaves them out.
        threshold_from: The name of the images on which `threshold` was chosen.
        resamples: The number of bootstrap draws.
        seed: Seed of the bootstrap.

    Raises:
        errors.InvalidArgument: No picture has a match.
    """
    truth = embedded.archive.truth()
    if not len(truth.queries):
        raise errors.InvalidArgument(
            f"No picture of {embedded.archive.name} has a match, so there is nothing to judge.",
            field="groups",
        )
    judgement = judge(answers or embedded.scorer, truth=truth)
    draws = resample(judgement, threshold=threshold, resamples=resamples, seed=seed)
    variants = {}
    if answers is not None:
        variants["the descriptor alone"] = figures(judge(embedded.scorer, truth=truth))
    elif embedded.views is not None:
        upright = judge(Cosines(embedded.descriptors), truth=truth)
        variants["the query as it is, not turned"] = figures(upright, threshold=threshold)
    judged = JudgedImages(
        name=embedded.archive.name,
        judgement=judgement,
        metrics={**figures(judgement, threshold=threshold), "intervals": intervals(draws)},
        names=embedded.archive.names,
        paths=embedded.archive.paths,
        rules=embedded.archive.rules,
        threshold_from=threshold_from,
        variants=variants,
        measured=DESCRIPTOR if answers is None else WHOLE_SEARCH,
    )
    return judged, draws


def threshold_on(embedded: EmbeddedArchive) -> float:
    """Return the score from which two pictures count as the same, chosen on this archive.

    Raises:
        errors.InvalidArgument: No picture has a match.
    """
    truth = embedded.archive.truth()
    if not len(truth.matches):
        raise errors.InvalidArgument(
            f"No picture of {embedded.archive.name} has a match to choose a threshold by.",
            field="threshold_from",
        )
    return threshold_of(judge(embedded.scorer, truth=truth))


def _read_groups(
    folder: Path, *, given: Path | None, ids: Sequence[str], column: Sequence[str]
) -> Sequence[Mapping[str, Any]] | Sequence[str]:
    beside = (folder if folder.is_dir() else folder.parent) / GROUPS
    path = given or (beside if beside.is_file() else None)
    if path is None:
        if not any(column):
            raise errors.InvalidArgument(
                f"{folder} has neither {GROUPS} nor a column `group`; name a file with --groups.",
                field="groups",
            )
        return tuple(column)
    try:
        if path.suffix == ".json":
            found: list[Mapping[str, Any]] = compose_all(json.loads(path.read_bytes()))
            for group in found:
                group["group"], group["members"], group["links"], group["composite"]
            return found
        named = _read_group_table(path)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        errors.InvalidArgument,
    ) as error:
        raise errors.InvalidArgument(
            f"{path} is neither groups as {GROUPS} holds them (group, members, links, composite) "
            f"nor a CSV file with the columns image_id and group: {error!r}.",
            field="groups",
        ) from error
    return tuple(named.get(image_id, "") for image_id in ids)


def _read_group_table(path: Path) -> dict[str, str]:
    """Read a table with the columns `image_id` and `group`: the group of each image."""
    table = open_table(path, known=_GROUP_COLUMNS)
    table.check_columns(*_GROUP_COLUMNS)
    named = {}
    for number, row in table.rows(required=_GROUP_COLUMNS, ragged=True):
        if isinstance(row, str):
            raise errors.InvalidArgument(f"{describe_row(path, number)}: {row}")
        named[compose(str(row["image_id"]).strip())] = compose(str(row["group"]).strip())
    return named


def _choose(pictures: LabelledArchive, limit: int) -> list[int]:
    """Return the rows of evenly spaced groups and single pictures, at most `limit`."""
    labels = pictures.truth().groups
    clusters: dict[int, list[int]] = {}
    for row, label in enumerate(labels):
        clusters.setdefault(int(label) if label >= 0 else -1 - row, []).append(row)
    ordered = list(clusters.values())
    # The choice is spread over the archive: a step of the golden ratio visits everything once,
    # evenly.
    order = np.argsort(np.arange(len(ordered)) * 0.618033988749895 % 1.0)
    rows: list[int] = []
    for place in order:
        if len(rows) + len(ordered[place]) <= limit:
            rows += ordered[place]
    return sorted(rows)


def _name(picture: LabelledPicture) -> str:
    journal = picture.journal
    short = journal if len(journal) <= 40 else f"{journal[:39]}…"  # noqa: PLR2004 - a caption's line
    where = ", ".join(part for part in (short, picture.date) if part)
    return f"{picture.image_id} ({where})" if where else picture.image_id
