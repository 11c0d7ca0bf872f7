"""`halftone models …`: model versions, in a directory and in the service that uses them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import rich.progress
from rich.table import Table

from halftone import archive, cli_output, errors, files, images
from halftone.cli_options import json_option, server_options
from halftone.cli_promotions import find_service, read_groups, report, run
from halftone.registry import ModelVersion, Registry, newest_version
from halftone.settings import ClientSettings, ModelSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from halftone.client import Client, Promotion
    from halftone.client import ModelVersion as PublishedVersion
    from halftone.registry import Pointer
    from halftone.vision.preprocessing import Preprocessing

BACKBONES: Final = ("resnet18", "resnet50", "resnet152")
_MARKS: Final = ("active", "previous", "damaged")


def default_directory() -> Path:
    """`HALFTONE_MODELS_DIRECTORY`, or where `halftone up` keeps its models."""
    settings = ModelSettings()
    if "directory" in settings.model_fields_set:
        return settings.directory
    return ClientSettings().data / "models"


@dataclass(frozen=True, kw_only=True)
class _Context:
    """What the commands act on: a directory, and the service that answers for it, if one runs."""

    registry: Registry
    service: Client | None


@dataclass(frozen=True, kw_only=True)
class _Where:
    """The options that say what to act on."""

    directory: Path | None
    server: str | None
    data: Path | None

    def open(self, context: click.Context) -> _Context:
        """Connects, until the end of the command.

        Raises:
            errors.FailedPrecondition: A data directory was named from which no stack runs.
        """
        directory, server, data = self.directory, self.server, self.data
        if directory is not None and (server is not None or data is not None):
            raise click.UsageError(
                "--directory acts without a service: leave out --server and --data."
            )
        service = None if directory is not None else find_service(server=server, data=data)
        if service is not None:
            context.call_on_close(service.close)
        if directory is None:
            directory = default_directory() if data is None else data / "models"
        return _Context(registry=Registry(directory), service=service)


@click.group()
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Act on this directory of versions alone, without a search service.  [default: "
    "HALFTONE_MODELS_DIRECTORY, or that of `halftone up`]",
)
@server_options
@click.pass_context
def models(
    context: click.Context, directory: Path | None, server: str | None, data: Path | None
) -> None:
    """List, import, install, promote and delete model versions.

    Promoting embeds the archive anew, so where a search service runs it is asked to do it: the one
    named with --server or HALFTONE_SEARCH, or that of the stack that runs from the data directory.
    Without one, or with --directory, only files are changed.
    """
    context.obj = _Where(directory=directory, server=server, data=data)


def _acting(command: Callable[..., None]) -> Callable[..., None]:
    """Hands a command what it acts on. It takes the group's options as well, after its name."""

    @server_options
    @functools.wraps(command)
    def acting(*, server: str | None, data: Path | None, **options: Any) -> None:
        context = click.get_current_context()
        named: _Where = context.obj
        where = dataclasses.replace(named, server=server or named.server, data=data or named.data)
        command(where.open(context), **options)

    return acting


@models.command("list")
@json_option
@_acting
def list_(context: _Context, *, as_json: bool) -> None:
    """List all versions."""
    registry, service = context.registry, context.service
    rows = _rows(registry) if service is None else [_row(each) for each in service.model_versions()]
    if as_json:
        cli_output.print_json(rows)
        return
    if not rows:
        click.echo(f"No model versions in {registry.directory}.")
        return
    table = Table(box=None, header_style="bold")
    columns = [key for key in rows[0] if key not in _MARKS]
    for column in columns:
        table.add_column(column.replace("_", " "))
        if column == "name":
            table.add_column("active")
    for row in rows:
        mark = ", ".join(key for key in _MARKS if row[key])
        first, *others = (str(row[column]) for column in columns)
        table.add_row(first, mark, *others)
    cli_output.console().print(table)


@models.command()
@click.argument("version")
@_acting
def show(context: _Context, *, version: str) -> None:
    """Print a version's spec and metrics as JSON. VERSION is `name/version` or `name`."""
    if context.service is not None:
        got = context.service.model_version(version)
        facts = {**_row(got), "spec": dict(got.spec), "metrics": dict(got.metrics)}
    else:
        found = context.registry.resolve(version)
        summary = _summary(found, pointer=context.registry.pointer())
        facts = {**summary, "spec": found.spec(), "metrics": found.metrics()}
    cli_output.print_json(facts)


@models.command()
@click.argument("version", required=False, default="")
@_acting
def verify(context: _Context, *, version: str) -> None:
    """Compare the files of a version, or of all, with their hashes."""
    registry = context.registry
    if version:
        found = registry.resolve(version)
        registry.verify(found)
        click.echo(f"{found.id} is whole.")
        return
    damaged = False
    for each in registry.list():
        try:
            registry.verify(each)
        except errors.DataLoss as error:
            # The others are told of all the same: there may be more to repair.
            click.echo(error.message)
            damaged = True
        else:
            click.echo(f"{each.id} is whole.")
    if damaged:
        raise click.exceptions.Exit(1)


@models.command()
@click.argument("version")
@click.option("--force", is_flag=True, help="Switch even if the version is worse.")
@click.option(
    "--groups",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file of groups of images that show the same picture, to compare the versions on.  "
    "[default: the images with the label `group`]",
)
@click.option("--archive", default="", help="Of the image ids in the groups.")
@json_option
@_acting
def promote(
    context: _Context,
    *,
    version: str,
    force: bool,
    groups: Path | None,
    archive: str,
    as_json: bool,
) -> None:
    """Make a version the one that answers.

    A search service embeds its archive anew meanwhile, compares the two versions, and refuses one
    that is worse. Without a service only the pointer in the directory is moved.
    """
    if context.service is None:
        if force or groups:
            raise click.UsageError(
                "--force and --groups are for a search service, and none runs here."
            )
        _promote_offline(context.registry, version, as_json=as_json)
        return
    known = read_groups(groups, archive=archive) if groups else ()
    _promote(context.service, version, force=force, groups=known, as_json=as_json)


@models.command()
@json_option
@_acting
def rollback(context: _Context, *, as_json: bool) -> None:
    """Make the version that answered before the active one again.

    What was imported since is embedded for it first. Without a service only the pointer in the
    directory is moved.
    """
    if context.service is None:
        version = context.registry.roll_back()
        _tell_offline(context.registry, as_json=as_json, text=f"{version.id} is active again.")
    elif not run(context.service, context.service.roll_back, as_json=as_json):
        raise click.exceptions.Exit(1)


@models.command()
@json_option
@_acting
def promotion(context: _Context, *, as_json: bool) -> None:
    """Show the promotion that runs, or the last one."""
    report(_service(context).promotion(), as_json=as_json)


@models.command()
@json_option
@_acting
def cancel(context: _Context, *, as_json: bool) -> None:
    """Stop the promotion that runs."""
    report(_service(context).cancel_promotion(), as_json=as_json)


@models.command()
@click.argument("version")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_acting
def delete(context: _Context, *, version: str, yes: bool) -> None:
    """Delete a version that is not active, and its collection."""
    service, registry = context.service, context.registry
    if service is not None:
        name = service.model_version(version).name
        if not yes:
            click.confirm(f"Delete {name} and the images' vectors of it?", abort=True)
        service.delete_model_version(name)
    else:
        name = registry.resolve(version).id
        if not yes:
            click.confirm(f"Delete {name} from {registry.directory}?", abort=True)
        registry.delete(name)
    click.echo(f"{name} is deleted.")


@models.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--promote", "promoting", is_flag=True, help="Make it the active version.")
@_acting
def install(context: _Context, *, source: Path, promoting: bool) -> None:
    """Copy a published version, the directory `…/name/version`, from elsewhere.

    Of a directory `…/name` the newest version is copied, unless there is, or was, one of its name
    and number. Again changes nothing, but repairs a copy that was damaged.
    """
    registry = context.registry

    def tell(damage: errors.DataLoss) -> None:
        click.echo(f"{damage.message} It was replaced: the version is repaired.")

    newest = newest_version(source)
    try:
        installed = registry.install(newest or source, repaired=tell)
    except errors.AlreadyExists as error:
        if newest is None or promoting:
            raise
        click.echo(f"Nothing is installed. {error.message}", err=True)
        return
    _announce(context, installed, promoting=promoting)


@models.command("import")
@click.argument("backbone", type=click.Choice(BACKBONES))
@click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A .pth or .safetensors file in torchvision's layout or ours; without it, torchvision's "
    "ImageNet weights are downloaded and their hash is checked.",
)
@click.option(
    "--whiten-on",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="An archive (a folder with a manifest) or a folder of pictures; the more and the more "
    "varied, the better.",
)
@click.option("--name", help="Of the model. [default: the backbone]")
@click.option("--limit", default=5000, show_default=True, help="Pictures to fit the whitening on.")
@click.option("--dimension", default=512, show_default=True, help="Of the descriptors.")
@click.option("--promote", "promoting", is_flag=True, help="Make it the active version.")
@_acting
def import_(
    context: _Context,
    *,
    backbone: str,
    weights: Path | None,
    whiten_on: Path,
    name: str | None,
    limit: int,
    dimension: int,
    promoting: bool,
) -> None:
    """Make a version of ImageNet weights, with a whitening fitted on your pictures."""
    # Imported by need: only this command needs torch.
    from halftone.vision.model import import_torchvision_resnet  # noqa: PLC0415
    from halftone.vision.preprocessing import Preprocessing  # noqa: PLC0415

    preprocessing = Preprocessing(size=224)
    pictures = prepare_pictures(whiten_on, preprocessing=preprocessing, limit=limit)
    if len(pictures) <= dimension:
        raise errors.InvalidArgument(
            f"{whiten_on} has {len(pictures)} usable pictures; fitting {dimension} dimensions "
            "needs more than that. Give more pictures or a lower --dimension.",
            field="whiten_on",
        )
    click.echo(f"Fitting the whitening on {len(pictures)} pictures …", err=True)
    model = import_torchvision_resnet(
        weights,
        whitening_images=pictures,
        backbone=backbone,
        preprocessing=preprocessing,
        dimension=dimension,
        data=whiten_on.name,
    )
    with tempfile.TemporaryDirectory(prefix="halftone-import-") as staging:
        model.save(Path(staging))
        files.replace_file(Path(staging) / "metrics.json", files.to_json({}))
        published = context.registry.publish(Path(staging), name=name or backbone)
    _announce(context, published, promoting=promoting)


@models.command()
@click.argument("version")
@click.option(
    "--pictures",
    "source",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="An archive (a folder with a manifest) or a folder of pictures like those to be searched.",
)
@click.option("--limit", default=400, show_default=True, help="Pictures to take.")
@_acting
def quantize(context: _Context, *, version: str, source: Path, limit: int) -> None:
    """Make the int8 form of VERSION, which runs several times as fast on CPUs.

    Four in five pictures set the scales, the others tell how near its descriptors are to the
    version's own; when they are too far nothing is kept. Embedders take it when they load the
    version, so restart those that have it loaded.
    """
    # Imported by need: only this command needs torch and OpenVINO.
    from halftone.vision import quantizing  # noqa: PLC0415
    from halftone.vision.preprocessing import Preprocessing  # noqa: PLC0415

    found = context.registry.resolve(version)
    context.registry.verify(found)
    preprocessing = Preprocessing.from_dict(found.spec()["preprocessing"])
    pictures = prepare_pictures(source, preprocessing=preprocessing, limit=limit)
    click.echo(f"Quantizing {found.id} on {len(pictures)} pictures …", err=True)
    agreement = quantizing.quantize(found, pictures=pictures, data=source.name)
    click.echo(
        f"{found.id} has an int8 form. Cosine to its own descriptors: mean {agreement.mean:.4f}, "
        f"lowest {agreement.lowest:.4f}."
    )


@models.command()
@click.argument("version")
@click.option(
    "--archive",
    "archives",
    multiple=True,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="A labelled archive: a folder with a manifest and groups.json, or a column `group`. Can "
    "be given several times.",
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
@click.option("--seed", default=0, show_default=True, help="Of the folds and the printings.")
@_acting
def calibrate(
    context: _Context,
    *,
    version: str,
    archives: tuple[Path, ...],
    groups: Path | None,
    pictures: Path | None,
    queries: int,
    seed: int,
) -> None:
    """Fit the probabilities of VERSION's hits on archives whose reprints are known.

    They become a new version with the same weights and a page in its report that shows how far the
    probabilities hold on groups that were left out.
    """
    from halftone import cli_calibrate  # noqa: PLC0415 - the trainer's packages

    if groups is not None and len(archives) > 1:
        raise click.UsageError("--groups goes with a single --archive.")
    found = context.registry.resolve(version)
    context.registry.verify(found)
    published, figures = cli_calibrate.calibrate(
        context.registry,
        found,
        archives=archives,
        groups=groups,
        pictures=pictures,
        queries=queries,
        seed=seed,
    )
    click.echo(
        f"{published.id} has the weights of {found.id} and probabilities fitted on "
        f"{figures['matches']:,} true of {figures['pairs']:,} candidates. On groups left out: "
        f"calibration error {figures['ece']:.4f}, {figures['ece_likely']:.4f} of the "
        f"{figures['likely']:,} of 0.01 and more; at 0.9 precision "
        f"{figures['precision_at_90']:.3f}, recall {figures['recall_at_90']:.3f}."
    )


def prepare_pictures(
    source: Path, *, preprocessing: Preprocessing, limit: int
) -> NDArray[np.uint8]:
    """Decodes and preprocesses the pictures of an archive or a folder: uint8 [N, S, S].

    Pictures that cannot be used are left out. Of more than `limit`, evenly spaced ones are taken.
    """
    import numpy as np  # noqa: PLC0415  # the other commands start without it

    paths = list(_paths(source))
    if len(paths) > limit:
        paths = [paths[int(index)] for index in np.linspace(0, len(paths) - 1, limit)]
    prepared = []
    for path in rich.progress.track(
        paths, description="Reading pictures", console=cli_output.notes(), transient=True
    ):
        try:
            image = images.decode(
                path.read_bytes(),
                max_pixels=100_000_000,
                target=2 * preprocessing.size,
                luminance=True,
            )
        except errors.ImageRejected:
            continue
        prepared.append(preprocessing(image))
    if not prepared:
        raise errors.InvalidArgument(f"{source} has no usable pictures.", field="whiten_on")
    return np.stack(prepared)


def _paths(source: Path) -> Iterator[Path]:
    if source.is_file() or any((source / name).is_file() for name in archive.NAMES):
        rows = archive.read_manifest(source, archive="whitening")
        yield from (row.path for row in rows if row.path is not None)
    else:
        yield from files.files_below(source)


def _rows(registry: Registry) -> list[dict[str, Any]]:
    pointer = registry.pointer()
    return [_summary(version, pointer=pointer) for version in registry.list()]


def _summary(version: ModelVersion, *, pointer: Pointer) -> dict[str, Any]:
    summary = version.summary()
    published = dt.datetime.fromtimestamp(version.published, tz=dt.UTC)
    return {
        "name": version.id,
        "active": version.id == pointer.active,
        "previous": version.id == pointer.previous,
        "damaged": bool(summary.damage),
        "backbone": summary.backbone,
        "size": summary.size or "",
        "dimension": summary.dimension or "",
        "publish_time": published.isoformat(timespec="seconds"),
    }


def _row(version: PublishedVersion) -> dict[str, Any]:
    published = version.publish_time
    return {
        "name": version.name,
        "active": version.active,
        "previous": version.previous,
        # The service lists what is known of a version, and of a whole one the dimension is.
        "damaged": not version.dimension,
        "backbone": version.backbone,
        "dimension": version.dimension,
        "images": version.image_count,
        "publish_time": published.isoformat(timespec="seconds") if published else "",
    }


def _service(context: _Context) -> Client:
    if context.service is None:
        raise errors.FailedPrecondition(
            "Promotions are run by a search service, and none runs here. Start one with `halftone "
            "up`, or name another with --server HOST:PORT.",
            subject="search",
        )
    return context.service


def _promote(
    service: Client,
    version: str,
    *,
    force: bool = False,
    groups: Sequence[Sequence[str]] = (),
    as_json: bool = False,
) -> None:
    def start() -> Promotion:
        return service.promote(version, force=force, groups=groups)

    if not run(service, start, as_json=as_json):
        raise click.exceptions.Exit(1)


def _promote_offline(registry: Registry, version: str, *, as_json: bool = False) -> None:
    promoted = registry.promote(version)
    before = registry.pointer().previous or "none"
    text = f"{promoted.id} is active; before it: {before}."
    _tell_offline(registry, as_json=as_json, text=text)


def _tell_offline(registry: Registry, *, as_json: bool, text: str) -> None:
    if as_json:
        cli_output.print_json(registry.pointer()._asdict())
    else:
        click.echo(text)
    cli_output.notes().print(
        f"Only the pointer in {registry.directory} was moved. An archive that was embedded by "
        "another version goes on being answered by that one until this one is promoted while its "
        "search service runs."
    )


def _announce(context: _Context, version: ModelVersion, *, promoting: bool) -> None:
    registry, service = context.registry, context.service
    published = f"{version.id} is published in {registry.directory}"
    if promoting and service is not None:
        click.echo(f"{published}.")
        if not service.model_version(version.id).active:
            _promote(service, version.id)
        return
    if promoting:
        registry.promote(version.id)
    active = registry.pointer().active == version.id
    note = "active" if active else f"not active; `promote {version.id}` makes it so"
    click.echo(f"{published} ({note}).")
