"""Fits a version's probabilities anew: `halftone models calibrate`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich.progress

from halftone.cli import output
from halftone.core import files
from halftone.core.files import files_below

if TYPE_CHECKING:
    from halftone.evaluation.calibration import CalibrationSample
    from halftone.registry.version import ModelVersion
    from halftone.registry.versions import Registry


def calibrate(
    registry: Registry,
    version: ModelVersion,
    *,
    archives: tuple[Path, ...],
    groups: Path | None,
    pictures: Path | None,
    queries: int,
    seed: int,
) -> tuple[ModelVersion, dict[str, Any]]:
    """Publish a version with the same weights, and probabilities fitted on labelled archives.

    Args:
        registry: The directory of both versions.
        version: The version with the weights; its hashes were verified.
        archives: Folders with a manifest and groups.
        groups: The groups of a single archive, if they lie elsewhere.
        pictures: A folder or archive whose pictures are printed anew as further queries.
        queries: The number of those printings.
        seed: The seed of the folds and the printings.

    Raises:
        errors.InvalidArgument: The searches bring up too few true pairs.
    """
    # Imported here because it needs the trainer's packages.
    from halftone.evaluation import calibration as fitting  # noqa: PLC0415
    from halftone.evaluation import labelled  # noqa: PLC0415
    from halftone.imaging.orientations import orientations  # noqa: PLC0415
    from halftone.vision.model import Model  # noqa: PLC0415

    model = Model.load(version.directory)
    samples: list[CalibrationSample] = []
    names = []
    with rich.progress.Progress(console=output.make_notes(), transient=True) as bar:
        for folder in archives:
            archive = labelled.read_labelled(folder, groups=groups)
            task = bar.add_task(archive.name, total=3 * len(archive.ids))

            def step(count: int, task: rich.progress.TaskID = task) -> None:
                bar.advance(task, count)

            found = labelled.embed(
                model,
                pictures=archive,
                orientations=orientations(mirrored=True, rotated=True),
                progress=step,
            )
            assert found.views is not None  # noqa: S101 - several orientations were asked for
            samples.append(
                fitting.sample_archive(
                    descriptors=found.descriptors,
                    views=found.views,
                    paths=found.archive.paths,
                    truth=found.archive.truth(),
                    progress=step,
                )
            )
            names.append(f"{archive.name} ({len(found.archive.ids):,} pictures)")
        if pictures is not None:
            paths = _paths(pictures, limit=3 * queries, seed=seed)
            task = bar.add_task(pictures.name, total=len(paths) + queries)
            samples.append(
                fitting.sample_simulated(
                    model,
                    paths=paths,
                    queries=queries,
                    seed=seed,
                    progress=lambda count: bar.advance(task, count),
                )
            )
            names.append(
                f"{queries:,} simulated printings of pictures of {pictures.resolve().name}"
            )
    sample = samples[0]
    for other in samples[1:]:
        sample += other
    calibration, figures = fitting.fit(sample, seed=seed)
    figures["on"] = " and ".join(names)
    return _publish(registry, version, calibration=calibration.to_dict(), figures=figures), figures


def _publish(
    registry: Registry,
    version: ModelVersion,
    *,
    calibration: dict[str, Any],
    figures: dict[str, Any],
) -> ModelVersion:
    from halftone.evaluation.report.calibration import calibration_section  # noqa: PLC0415
    from halftone.evaluation.report.page import write_page  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="halftone-calibrate-") as folder:
        staging = Path(folder) / "version"
        shutil.copytree(version.directory, staging)
        spec = {**version.spec(), "calibration": calibration, "parents": [version.id]}
        files.replace_file(staging / "spec.json", files.to_json(spec))
        metrics = {**version.metrics(), "calibration": figures}
        files.replace_file(staging / "metrics.json", files.to_json(metrics))
        report = staging / "report"
        # The report of the training stays; what is new has a page of its own beside it.
        page = report / "calibration"
        shutil.rmtree(page, ignore_errors=True)
        page.mkdir(parents=True)
        write_page(
            page,
            title=f"{version.name}: probabilities",
            subtitle=f"weights of {version.id}",
            sections=[calibration_section(page, found=figures)],
        )
        return registry.publish(staging, name=version.name)


def _paths(source: Path, *, limit: int, seed: int) -> list[Path]:
    import numpy as np  # noqa: PLC0415

    from halftone.archive import manifests  # noqa: PLC0415

    if source.is_file() or any((source / name).is_file() for name in manifests.NAMES):
        rows = manifests.read_manifest(source, archive="calibration")
        found = [row.path for row in rows if row.path is not None]
    else:
        found = files_below(source)
    order = np.random.default_rng(seed).permutation(len(found))[:limit]
    return [found[int(at)] for at in order]
