"""Write what each image has to install, one requirement a line, from pyproject.toml.

In the images dependencies are a layer of their own, which stays as it is when only sources change:

    python requirements.py PYPROJECT DIRECTORY search=search trainer=trainer,mlflow

writes `DIRECTORY/search.txt` and `DIRECTORY/trainer.txt`, each with the dependencies of the package
and of the named extras.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any


def list_requirements(project: dict[str, Any], *, extras: list[str]) -> list[str]:
    """Return the requirements of a project with these extras, without the project itself.

    Args:
        project: The table `project` of pyproject.toml.
        extras: Names of its optional dependencies; those may name further ones, as `name[extra]`.

    Raises:
        KeyError: There is no such extra.
    """
    itself = re.compile(rf"{re.escape(project['name'])}\[([^]]+)\]")
    requirements = set(project["dependencies"])
    waiting, done = list(extras), set[str]()
    while waiting:
        extra = waiting.pop()
        if extra in done:
            continue
        done.add(extra)
        for requirement in project["optional-dependencies"][extra]:
            if reference := itself.fullmatch(requirement):
                waiting += [name.strip() for name in reference[1].split(",")]
            else:
                requirements.add(requirement)
    return sorted(requirements)


def main(pyproject: str, directory: str, *images: str) -> None:
    """Write the files."""
    project = tomllib.loads(Path(pyproject).read_text(encoding="utf-8"))["project"]
    Path(directory).mkdir(parents=True, exist_ok=True)
    for image in images:
        name, _, extras = image.partition("=")
        lines = list_requirements(project, extras=extras.split(","))
        Path(directory, f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
