"""`halftone models …`: the model versions in a directory."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import rich.progress
from rich.table import Table

from halftone import archive, cli_output, errors, files, images
from halftone.registry import ModelVersion, Registry, newest_version
from halftone.settings import ClientSettings, ModelSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from halftone.vision.preprocessing import Preprocessing

BACKBONES: Final = ("resnet18", "resnet50", "resnet152")


def default_directory() -> Path:
    """`HALFTONE_MODELS_DIRECTORY`, or where `halftone up` keeps its models."""
    settings = ModelSettings()
    if "directory" in settings.model_fields_set:
        return settings.directory
    return ClientSettings().data / "models"


@click.group()
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where versions are kept. [default: HALFTONE_MODELS_DIRECTORY, or that of `halftone up`]",
)
@click.pass_context
def models(context: click.Context, directory: Path | None) -> None:
    """List, import, install and promote models.

    A running embedder loads what is published here, and follows the active version, within
    seconds.
    """
    context.obj = Registry(directory or default_directory())


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(registry: Registry, *, as_json: bool) -> None:
    """List all versions."""
    pointer = registry.pointer()
    rows = [_summary(version, active=pointer.active) for version in registry.list()]
    if as_json:
        cli_output.print_json(rows)
        return
    if not rows:
        click.echo(f"No model versions in {registry.directory}.")
        return
    table = Table(box=None, header_style="bold")
    for column in ("version", "active", "backbone", "input", "dimension", "published"):
        table.add_column(column)
    for row in rows:
        mark = "active" if row["active"] else "previous" * (row["name"] == pointer.previous)
        cells = (row["backbone"], f"{row['size']} px", row["dimension"], row["publish_time"])
        table.add_row(row["name"], mark, *map(str, cells))
    cli_output.console().print(table)


@models.command()
@click.argument("version")
@click.pass_obj
def show(registry: Registry, *, version: str) -> None:
    """Print a version's spec and metrics as JSON. VERSION is `name/version` or `name`."""
    found = registry.resolve(version)
    summary = _summary(found, active=registry.pointer().active)
    facts = {**summary, "spec": found.spec(), "metrics": found.metrics()}
    cli_output.print_json(facts)


@models.command()
@click.argument("version", required=False, default="")
@click.pass_obj
def verify(registry: Registry, *, version: str) -> None:
    """Compare the files of a version, or of all, with their hashes."""
    versions = [registry.resolve(version)] if version else registry.list()
    for each in versions:
        registry.verify(each)
        click.echo(f"{each.id} is whole.")


@models.command()
@click.argument("version")
@click.pass_obj
def promote(registry: Registry, *, version: str) -> None:
    """Make a version the active one."""
    promoted = registry.promote(version)
    click.echo(f"{promoted.id} is active; before it: {registry.pointer().previous or 'none'}.")


@models.command()
@click.pass_obj
def rollback(registry: Registry) -> None:
    """Make the previous version the active one again."""
    click.echo(f"{registry.roll_back().id} is active again.")


@models.command()
@click.argument("version")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete(registry: Registry, *, version: str, yes: bool) -> None:
    """Delete a version that is not active."""
    found = registry.resolve(version)
    if not yes:
        click.confirm(f"Delete {found.id} from {registry.directory}?", abort=True)
    registry.delete(found.id)
    click.echo(f"{found.id} is deleted.")


@models.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--promote", "promoting", is_flag=True, help="Make it the active version.")
@click.pass_obj
def install(registry: Registry, *, source: Path, promoting: bool) -> None:
    """Copy a published version, the directory `…/name/version`, from elsewhere.

    Of a directory `…/name` the newest version is copied, unless there is, or was, one of its name
    and number. Again changes nothing.
    """
    newest = newest_version(source)
    try:
        installed = registry.install(newest or source)
    except errors.AlreadyExists as error:
        if newest is None or promoting:
            raise
        click.echo(f"Nothing is installed. {error.message}", err=True)
        return
    if promoting:
        registry.promote(installed.id)
    _announce(registry, installed)


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
@click.pass_obj
def import_(
    registry: Registry,
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
        published = registry.publish(Path(staging), name=name or backbone, promote=promoting)
    _announce(registry, published)


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


def _summary(version: ModelVersion, *, active: str | None) -> dict[str, Any]:
    spec = version.spec()
    published = dt.datetime.fromtimestamp(version.published, tz=dt.UTC)
    return {
        "name": version.id,
        "active": version.id == active,
        "backbone": spec.get("network", {}).get("backbone", ""),
        "size": spec.get("preprocessing", {}).get("size", ""),
        "dimension": spec.get("dimension", ""),
        "publish_time": published.isoformat(timespec="seconds"),
    }


def _announce(registry: Registry, version: ModelVersion) -> None:
    active = registry.pointer().active
    note = "active" if active == version.id else f"not active; `promote {version.id}` makes it so"
    click.echo(f"{version.id} is published in {registry.directory} ({note}).")
