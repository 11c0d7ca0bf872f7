"""`halftone eval`: how well model versions find known reprints. Needs no running stack."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import halftone
from halftone.cli import output
from halftone.cli.completion import complete_files
from halftone.cli.evaluation.furniture import evaluate_furniture, refuse_mixture
from halftone.cli.evaluation.press import PAIRS, SOURCES, evaluate_press, press_options
from halftone.cli.models.context import default_directory
from halftone.cli.numbers import Whole
from halftone.cli.terminal import progress
from halftone.cli.terminal.failures import needs_extra
from halftone.core import errors, files
from halftone.imaging.orientations import orientations
from halftone.registry.starter import find_starter
from halftone.registry.versions import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.cli.evaluation.press import FurnitureOptions, PressOptions
    from halftone.evaluation.comparison import JudgedVersion
    from halftone.evaluation.labelled import EmbeddedArchive, LabelledArchive
    from halftone.evaluation.whole_search import Answers
    from halftone.imaging.orientations import Orientation
    from halftone.registry.version import ModelVersion
    from halftone.vision.descriptor_model import DescriptorModel


@click.command("eval")
@click.argument(
    "versions", metavar="VERSION…", nargs=-1, required=True, shell_complete=complete_files
)
@click.option(
    "--archive",
    "folder",
    type=click.Path(exists=True, path_type=Path),
    help="Folder with a manifest, or the manifest itself.",
)
@press_options
@click.option(
    "--groups",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Which pictures are the same: JSON as groups.json, or CSV with image_id and group.  "
    "[default: groups.json beside the manifest, or its column `group`]",
)
@click.option(
    "--threshold-from",
    metavar="NUMBER|DIR",
    help="Threshold of precision, recall and F1: a cosine, or another labelled archive to choose "
    "it on.  [default: the version's own, if it was chosen when it was trained]",
)
@click.option(
    "--search",
    "whole_search",
    is_flag=True,
    help="Judge the whole search, as a user gets it: candidates, comparison of their details, "
    "probability. Takes about half a second a picture on two cores.",
)
@click.option("--upright", is_flag=True, help="Do not turn or mirror the query as searches do.")
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write an HTML report with pictures into this folder, which must be new or empty.",
)
@click.option("--limit", type=Whole(2), help="At most so many pictures, whole groups.")
@click.option("--seed", default=0, show_default=True, help="Of the intervals.")
@click.option(
    "--models",
    "--directory",  # as in `halftone models`
    "models",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where versions are kept.  [default: HALFTONE_MODELS_DIRECTORY, or that of `halftone up`]",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Data directory of the stack whose versions are meant.  [default: HALFTONE_DATA, or "
    "./data]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@needs_extra("evaluation")
def evaluate(
    *,
    versions: tuple[str, ...],
    folder: Path | None,
    press: PressOptions | None,
    furniture: FurnitureOptions | None,
    groups: Path | None,
    threshold_from: str | None,
    whole_search: bool,
    upright: bool,
    report: Path | None,
    limit: int | None,
    seed: int,
    models: Path | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Judge model versions on pictures whose reprints are known, or that are printed anew.

    halftone eval starter/1 --archive press-archive

    halftone eval starter/1 --archive press-archive --search

    halftone eval starter/1 --press any-folder-of-pictures --report report

    halftone eval starter/1 --furniture any-folder-of-pictures --report report

    VERSION is NAME/NUMBER, NAME for its newest, or the directory of a version. Several are compared
    with the first one, on the same draws. With --archive the descriptor is judged alone, by which a
    search only takes candidates; --search judges the search as a whole.
    """
    if len(set(versions)) < len(versions):
        raise click.UsageError("Name each version once.")
    if report is not None and report.is_dir() and any(report.iterdir()):
        raise errors.InvalidArgument(f"{report} is not empty.", field="report")
    if models is not None and data is not None:
        raise click.UsageError("Give one of --models and --data.")
    directory = models if data is None else data / "models"
    refuse_mixture(
        furniture,
        others={
            "archive": folder,
            "threshold-from": threshold_from,
            "search": whole_search,
            "upright": upright,
        },
    )
    if furniture is not None:
        evaluate_furniture(
            furniture,
            versions=[_resolve(version, models=directory) for version in versions],
            load=_load,
            groups=groups,
            report=report,
            limit=limit,
            seed=seed,
            as_json=as_json,
            command=_format_command(click.get_current_context().params),
        )
    elif press is not None:
        if folder is not None or threshold_from is not None or upright or whole_search:
            raise click.UsageError(
                "--archive, --threshold-from, --upright and --search do not go with --press, which "
                "judges the whole search beside the descriptor anyway."
            )
        evaluate_press(
            press,
            versions=[_resolve(version, models=directory) for version in versions],
            load=_load,
            groups=groups,
            report=report,
            limit=limit,
            seed=seed,
            as_json=as_json,
            command=_format_command(click.get_current_context().params),
        )
    elif folder is None:
        raise click.UsageError("Give --archive, --press or --furniture.")
    elif whole_search and upright:
        raise click.UsageError("A search turns its query: leave out --upright or --search.")
    else:
        _evaluate_archive(
            folder,
            versions=[_resolve(version, models=directory) for version in versions],
            groups=groups,
            threshold_from=threshold_from,
            whole_search=whole_search,
            upright=upright,
            report=report,
            limit=limit,
            seed=seed,
            as_json=as_json,
        )


def _evaluate_archive(
    folder: Path,
    *,
    versions: Sequence[ModelVersion],
    groups: Path | None,
    threshold_from: str | None,
    whole_search: bool,
    upright: bool,
    report: Path | None,
    limit: int | None,
    seed: int,
    as_json: bool,
) -> None:
    # Imported here because it needs the trainer's packages.
    from halftone.cli.evaluation.figures import print_figures, print_left_out  # noqa: PLC0415
    from halftone.evaluation import labelled  # noqa: PLC0415
    from halftone.evaluation.comparison import JudgedVersion, differences  # noqa: PLC0415
    from halftone.matching.probability import LIKELY  # noqa: PLC0415
    from halftone.vision.descriptor_model import list_runtimes  # noqa: PLC0415

    fixed, other = _read_threshold(threshold_from)
    if whole_search and other is not None:
        raise click.UsageError("With --search, --threshold-from is a probability.")
    pictures = labelled.read_labelled(folder, groups=groups, limit=limit)
    reference = None if other is None else labelled.read_labelled(other)
    ways = orientations(mirrored=not upright, rotated=not upright)
    candidates: list[JudgedVersion] = []
    for version in versions:
        model = _load(version)
        threshold, source = fixed, "the command line"
        if reference is not None:
            ours = _embed(model, pictures=reference, ways=ways, name=version.id)
            threshold, source = labelled.threshold_on(ours), reference.name
        elif fixed is None and whole_search:
            threshold, source = LIKELY, "what searches call likely"
        elif fixed is None:
            threshold, source = _find_own_threshold(version)
        embedded = _embed(model, pictures=pictures, ways=ways, name=version.id)
        judged, draws = labelled.judge_archive(
            embedded,
            answers=_search(model, embedded, name=version.id) if whole_search else None,
            threshold=threshold,
            threshold_from=source,
            seed=seed,
        )
        candidates.append(JudgedVersion(version=version.id, judged=judged, draws=draws))
    settings = {
        "command": _format_command(click.get_current_context().params),
        "weights (sha-256)": {
            version.id: files.sha256(version.directory / "model.safetensors")
            for version in versions
        },
        "measured": candidates[0].judged.measured,
        "archive": f"{pictures.name}, {len(embedded.archive.ids):,} pictures",
        "archive (sha-256)": embedded.digest,
        "orientations of a query": len(ways),
        "seed": seed,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "halftone": halftone.__version__,
        **list_runtimes(),
    }
    changes = {one.version: differences(candidates[0], one) for one in candidates[1:]}
    left_out = embedded.archive.left_out
    if report is not None:
        output.make_folder(report)
        _write_report(report, candidates=candidates, left_out=left_out, settings=settings)
    _track(candidates, settings=settings, report=report)
    if as_json:
        output.print_json(
            {
                **settings,
                "left_out": [list(entry) for entry in left_out],
                "versions": {
                    one.version: {**one.judged.metrics, "variants": one.judged.variants}
                    for one in candidates
                },
                "differences": changes,
            }
        )
    else:
        print_figures(candidates, changes=changes)
        print_left_out(left_out)
    if report is not None:
        output.make_notes().print(f"Wrote {report / 'index.html'}.")


def _resolve(text: str, *, models: Path | None) -> ModelVersion:
    """Return a published version by its name or its directory, with its files verified.

    Raises:
        errors.NotFound: There is no such version.
        errors.DataLoss: A file does not match its hash.
    """
    path = Path(text)
    if (path / "spec.json").is_file():
        whole = path.resolve()
        registry = Registry(whole.parent.parent)
        version = registry.resolve(f"{whole.parent.name}/{whole.name}")
    else:
        registry = Registry(models or default_directory())
        # Before anything is published, a name may be that of the version in the package.
        starter = None if models or registry.list() else find_starter()
        if starter is not None and text in {starter.name, starter.id}:
            registry.verify(starter)
            return starter
        try:
            version = registry.resolve(text)
        except errors.NotFound as error:
            raise errors.NotFound(
                f"{error.message} It was looked for in {registry.directory}; name another "
                "directory with --models or --data, or give the directory of the version itself.",
                resource_type="model version",
                resource_name=text,
            ) from error
    registry.verify(version)
    return version


def _load(version: ModelVersion) -> DescriptorModel:
    from halftone.vision.descriptor_model import open_model  # noqa: PLC0415

    return open_model(version.directory)


def _read_threshold(text: str | None) -> tuple[float | None, Path | None]:
    """Read a threshold: a cosine, or the folder of an archive on which to choose it.

    Return both, where at least one is None.
    """
    if text is None:
        return None, None
    try:
        value = float(text)
    except ValueError:
        path = Path(text)
        if not path.exists():
            raise click.BadParameter(
                f"{text!r} is neither a cosine nor an archive.", param_hint="--threshold-from"
            ) from None
        return None, path
    if not -1 <= value <= 1:
        raise click.BadParameter("A cosine lies between -1 and 1.", param_hint="--threshold-from")
    return value, None


def _find_own_threshold(version: ModelVersion) -> tuple[float | None, str]:
    """Return the threshold that was chosen when the version was trained, and where; may be None."""
    test = version.metrics().get("test")
    value = test.get("threshold") if isinstance(test, dict) else None
    if not isinstance(value, int | float):
        return None, ""
    return float(value), "the validation split of its training, with upright pictures"


def _embed(
    model: DescriptorModel, *, pictures: LabelledArchive, ways: Sequence[Orientation], name: str
) -> EmbeddedArchive:
    from halftone.evaluation import labelled  # noqa: PLC0415

    with progress.Counter() as counter:
        return labelled.embed(
            model,
            pictures=pictures,
            orientations=ways,
            progress=counter.add(f"{name} embeds {pictures.name}", total=len(pictures.ids)),
        )


def _search(model: DescriptorModel, embedded: EmbeddedArchive, *, name: str) -> Answers:
    from halftone.evaluation.whole_search import search_archive  # noqa: PLC0415
    from halftone.matching.probability import Calibration  # noqa: PLC0415

    archive, own = embedded.archive, model.spec.calibration
    calibration = None if own is None else Calibration.from_dict(dict(own))
    with progress.Counter() as bar:
        advance = bar.add(f"{name} searches {archive.name}", total=2 * len(archive.ids))
        return search_archive(embedded, calibration=calibration, progress=advance)


def _write_report(
    folder: Path,
    *,
    candidates: Sequence[JudgedVersion],
    left_out: Sequence[tuple[str, str]],
    settings: dict[str, Any],
) -> None:
    from halftone.evaluation.comparison import folder_of, write_comparison  # noqa: PLC0415
    from halftone.evaluation.report.model_report import write_evaluation  # noqa: PLC0415

    several = len(candidates) > 1
    for one in candidates:
        write_evaluation(
            folder / folder_of(one.version) if several else folder,
            version=one.version,
            judged=one.judged,
            left_out=left_out,
            settings=settings,
        )
    if several:
        write_comparison(folder, candidates=candidates, left_out=left_out, settings=settings)


def _track(
    candidates: Sequence[JudgedVersion], *, settings: dict[str, Any], report: Path | None
) -> None:
    """Send the figures to MLflow, if a server is set: a run for each version."""
    from halftone.evaluation import tracking  # noqa: PLC0415
    from halftone.evaluation.comparison import folder_of  # noqa: PLC0415

    several = len(candidates) > 1
    for one in candidates:
        tracker = tracking.start(
            name=f"eval {one.version} on {one.judged.name}",
            params=settings,
            warn=output.make_notes().print,
        )
        tracker.finish(
            {one.judged.name: one.judged.metrics},
            report=report / folder_of(one.version) if report and several else report,
            tags={"model_version": one.version},
        )


def _format_command(params: dict[str, Any]) -> str:
    """Return the command line that gives these parameters."""
    words = ["halftone", "eval", *params["versions"]]
    if params["folder"] is not None:
        words += ["--archive", str(params["folder"])]
    if params["folder_"] is not None:
        words += ["--press", str(params["folder_"])]
        words += ["--sources", str(params["sources"] or SOURCES)]
        for other in params["distractors"]:
            words += ["--distractors", str(other)]
    if params["furnished_"] is not None:
        words += ["--furniture", str(params["furnished_"])]
        words += ["--sources", str(params["sources"] or PAIRS)]
    if params["folder_"] is not None or params["furnished_"] is not None:
        for name in ("only", "strengths"):
            if params[name]:
                words += [f"--{name}", ",".join(str(part) for part in params[name])]
    for name in ("groups", "threshold_from", "limit", "models", "data"):
        if params[name] is not None:
            words += [f"--{name.replace('_', '-')}", str(params[name])]
    words += ["--search"] * params["whole_search"]
    words += ["--upright"] * params["upright"]
    words += ["--seed", str(params["seed"])] * bool(params["seed"])
    return shlex.join(words)
