"""Reads distributions and says what is wrong with them."""

from __future__ import annotations

import ast
import email.parser
import hashlib
import io
import os
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.metadata import Metadata
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from readme_renderer import markdown

from tools.distribution.building import SOURCE_FILES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tools.distribution.building import Distributions

# One file for each way in which files come into the wheel: a link or a pattern that leads nowhere
# is no error to setuptools.
_ESSENTIAL: Final = {
    "halftone/py.typed",
    "halftone/v1/search_pb2.pyi",
    "halftone/services/search/__main__.py",
    "halftone/services/trainer/worker/__main__.py",
    "halftone/starter/1/MANIFEST.json",
    "halftone/starter/1/model.safetensors",
    "halftone/starter/1/report/index.html",
    "halftone/matching/vocabulary.npz",
    "halftone/matching/calibration.json",
    "halftone/matching/looks/difference_map.npz",
    "halftone/matching/looks/judge.npz",
    "halftone/rendering/templates/contact-sheet.html.jinja",
    "halftone/evaluation/report/templates/page.html.jinja",
}


def find_problems(built: Distributions, *, sources: Path) -> list[str]:
    """Return a sentence about each thing that is wrong; none if people may install it.

    Args:
        built: The distributions.
        sources: The directory they were built from, without what the build left in it.
    """
    expected = _read_sources(sources)
    return [
        *(f"Neither the sources nor the wheel have {each}." for each in _ESSENTIAL - set(expected)),
        *_check_wheel(built.wheel, expected=expected),
        *_check_sdist(built.sdist, expected=expected),
        *_check_metadata(built.wheel, sources=sources),
    ]


def _check_wheel(wheel: Path, *, expected: Mapping[str, str]) -> Iterator[str]:
    name, version, _, _ = parse_wheel_filename(wheel.name)
    folder = f"{name.replace('-', '_')}-{version}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        held = {
            path: _hash(archive.read(path))
            for path in archive.namelist()
            if not path.endswith("/") and not path.startswith(f"{folder}/")
        }
    yield from _compare(held, expected, archive="wheel")


def _check_sdist(sdist: Path, *, expected: Mapping[str, str]) -> Iterator[str]:
    distribution, version = parse_sdist_filename(sdist.name)
    name = distribution.replace("-", "_")
    own = {*SOURCE_FILES, "PKG-INFO", "setup.cfg"}
    held = {}
    with tarfile.open(sdist) as archive:
        for member in archive:
            top, _, path = member.name.partition("/")
            if top != f"{name}-{version}" or member.issym() or member.islnk():
                yield f"The sdist has {member.name}, a link or outside of its folder."
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None and path not in own and not path.startswith(f"{name}.egg-info/"):
                held[path] = _hash(file.read())
    yield from _compare(held, expected, archive="sdist")


def _compare(
    held: Mapping[str, str], expected: Mapping[str, str], *, archive: str
) -> Iterator[str]:
    for path in sorted(expected.keys() - held.keys()):
        yield f"The {archive} lacks {path}."
    for path in sorted(held.keys() - expected.keys()):
        yield f"The {archive} has {path}, which is no source."
    for path in sorted(expected.keys() & held.keys()):
        if held[path] != expected[path]:
            yield f"The {archive} has another {path}."


def _check_metadata(wheel: Path, *, sources: Path) -> Iterator[str]:
    content = _read_text(wheel, "METADATA")
    try:
        metadata = Metadata.from_email(content, validate=True)
    except ExceptionGroup as errors:
        yield from (f"The metadata are wrong: {error}." for error in errors.exceptions)
        return
    project = tomllib.loads((sources / "pyproject.toml").read_text())["project"]
    if metadata.name != project["name"]:
        yield f"The distribution is called {metadata.name}."
    version = _read_version(sources / "halftone" / "__init__.py")
    if str(metadata.version) != version:
        yield f"The distribution has version {metadata.version}, the package {version}."
    extras = {canonicalize_name(extra) for extra in project["optional-dependencies"]}
    if extras != set(metadata.provides_extra or ()):
        yield "The extras are not those of pyproject.toml."
    if not metadata.license_files:
        yield "The licence is missing."
    if f"halftone = {project['scripts']['halftone']}\n" not in _read_text(
        wheel, "entry_points.txt"
    ):
        yield "The command `halftone` is missing."
    yield from _check_readme(content)


def _check_readme(content: str) -> Iterator[str]:
    message = email.parser.Parser().parsestr(content)
    warnings = io.StringIO()
    page = markdown.render(str(message.get_payload()), stream=warnings)
    if message["Description-Content-Type"] != "text/markdown":
        yield "Indexes do not know that README.md is Markdown."
    if page is None or warnings.getvalue():
        yield f"README.md cannot be rendered: {warnings.getvalue()}"
    elif "<h1" not in page or "<table" not in page:
        yield "README.md is rendered without its headings or tables."


def _read_sources(sources: Path) -> Mapping[str, str]:
    """Return the hash of each file of the package, as it is called in a wheel."""
    return {
        (Path(folder) / name).relative_to(sources).as_posix(): _hash(
            (Path(folder) / name).read_bytes()
        )
        for folder, _, names in os.walk(sources / "halftone", followlinks=True)
        for name in names
    }


def _read_version(module: Path) -> str:
    for node in ast.parse(module.read_text()).body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id="__version__")], value=ast.Constant(value=str(version))
            ):
                return version
    return ""


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_text(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (each for each in archive.namelist() if each.endswith(f".dist-info/{name}"))
        return archive.read(path).decode()
