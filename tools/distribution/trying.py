"""Installs a wheel into an environment of its own, outside of the checkout, and uses it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from tools.distribution.building import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PICTURES: Final = 6
_START_SECONDS: Final = 300.0
_COMMAND_SECONDS: Final = 900.0


class Environment:
    """A virtual environment with Halftone in it.

    Args:
        directory: Where it lies; created by the functions below.
        home: A directory outside of the checkout, in which its programs run.
    """

    def __init__(self, directory: Path, *, home: Path) -> None:
        self.directory = directory
        self.home = home

    @property
    def python(self) -> Path:
        """Return its interpreter."""
        return self.directory / "bin" / "python"

    def start(self, words: Sequence[str], *, log: Path) -> subprocess.Popen[str]:
        """Start `halftone` with these words."""
        with log.open("w") as file:
            return subprocess.Popen(  # noqa: S603 - ours
                [self.directory / "bin" / "halftone", *words],
                cwd=self.home,
                env=self._make_environment(),
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def run(self, *words: str) -> str:
        """Run `halftone` with these words and return what it prints.

        Raises:
            SystemExit: It fails.
        """
        return self.run_program([self.directory / "bin" / "halftone", *words])

    def run_python(self, code: str) -> str:
        """Run Python code and return what it prints.

        Raises:
            SystemExit: It fails.
        """
        return self.run_program([self.python, "-c", code])

    def run_program(self, command: Sequence[Path | str]) -> str:
        """Run a program outside of the checkout and return what it prints.

        Raises:
            SystemExit: It fails.
        """
        done = subprocess.run(  # noqa: S603 - ours
            command,
            cwd=self.home,
            env=self._make_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=_COMMAND_SECONDS,
        )
        if done.returncode:
            raise SystemExit(f"{done.stdout}{done.stderr}\n{' '.join(map(str, command))} failed.")
        return done.stdout

    def _make_environment(self) -> dict[str, str]:
        """Return the environment without what leads back to the checkout or to another stack."""
        return {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("HALFTONE_") and name not in {"PYTHONPATH", "VIRTUAL_ENV"}
        }


def install(wheel: Path, *, extras: str, home: Path) -> Environment:
    """Install a wheel from a package index, with the pinned versions.

    Args:
        wheel: The wheel.
        extras: Its extras, with commas between them; may be empty.
        home: A directory outside of the checkout.
    """
    home.mkdir(parents=True, exist_ok=True)
    directory = home / "environment"
    venv.create(directory, with_pip=True)
    environment = Environment(directory, home=home)
    command: list[Path | str] = [environment.python, "-m", "pip", "install", "--quiet"]
    command += ["--disable-pip-version-check", "-c", ROOT / "constraints.txt"]
    command += [f"{wheel.absolute()}[{extras}]" if extras else wheel.absolute()]
    subprocess.run(command, cwd=home, check=True)  # noqa: S603 - ours
    return environment


def install_beside(wheel: Path, *, home: Path) -> Environment:
    """Install a wheel alone; what it needs are the packages of this interpreter."""
    directory = home / "environment"
    venv.create(directory, with_pip=False)
    environment = Environment(directory, home=home)
    command: list[Path | str] = [sys.executable, "-m", "pip", "--python", environment.python]
    command += [
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-index",
        "--no-deps",
        wheel,
    ]
    environment.run_program(command)
    # Afterwards: pip would find this project installed there already.
    packages = Path(
        environment.run_python("import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    )
    # A path in a .pth file is only searched: links to the checkout that lie there are not followed.
    here = dict.fromkeys(path for path in sys.path if path.endswith("-packages"))
    (packages / "beside.pth").write_text("".join(f"{path}\n" for path in here))
    return environment


def use(environment: Environment, *, client: Environment | None = None) -> None:
    """Start the stack, import pictures, search by one and stop.

    Args:
        environment: Where the stack runs.
        client: Where the other commands run; None: there as well.

    Raises:
        SystemExit: Something of that does not work.
    """
    client = client or environment
    for each in (environment, client):
        place = each.run_python("import halftone; print(halftone.__file__)").strip()
        if not Path(place).is_relative_to(each.directory):
            raise SystemExit(f"{place} is imported instead of what was installed.")
    archive, data = environment.home / "archive", environment.home / "data"
    query = _draw_archive(archive)
    with _run_stack(environment, data=data):
        client.run("import", str(archive), "--data", str(data))
        found = json.loads(client.run("search", str(query), "--json", "--data", str(data)))
        best = found["hits"][0]
        if not best["image"]["name"].endswith("/images/3") or best["probability"] < 0.9:  # noqa: PLR2004
            raise SystemExit(f"The search found something else: {json.dumps(best, indent=2)}")
        listed = json.loads(client.run("models", "list", "--json", "--data", str(data)))
        if [row["name"] for row in listed if row["active"]] != [found["model_version"]]:
            raise SystemExit(f"Another version answers: {listed}")


def show_demo(environment: Environment) -> None:
    """Run `halftone demo`, whose sample archive is printed from scikit-image's photographs.

    Raises:
        SystemExit: It fails, or does not find the first picture.
    """
    shown = environment.run("demo", "--directory", str(environment.home / "demo"))
    if "same picture" not in shown:
        raise SystemExit(f"{shown}\nThe demonstration found nothing.")


def _draw_archive(folder: Path) -> Path:
    """Draw pictures with a manifest, and return a reprint of picture 3 that is not among them."""
    folder.mkdir()
    rows = ["image_id,file,journal,date"]
    for number in range(_PICTURES):
        random = np.random.default_rng(number)
        coarse, fine = (
            Image.fromarray(random.integers(0, 255, cells, dtype=np.uint8)).resize(
                (480, 360), Image.Resampling.BICUBIC
            )
            for cells in ((9, 12), (36, 48))
        )
        picture = Image.blend(coarse, fine, 0.5)
        picture.save(folder / f"{number}.png")
        rows.append(f"{number},{number}.png,Die Woche,{1905 + number}")
        if number == 3:  # noqa: PLR2004 - any but the first
            reprinted = picture.resize((400, 300)).point([40 + level // 2 for level in range(256)])
            reprinted.save(folder.parent / "query.jpg")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder.parent / "query.jpg"


@contextlib.contextmanager
def _run_stack(environment: Environment, *, data: Path) -> Iterator[None]:
    log = environment.home / "up.log"
    words = ["up", "--no-trainer", "--port", "0", "--data", str(data)]
    process = environment.start(words, log=log)
    try:
        end = time.monotonic() + _START_SECONDS
        # The stack announces itself once it is ready.
        while not (data / "stack.json").exists():
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{log.read_text()}\n`halftone up` did not start.")
            time.sleep(0.1)
        yield
        process.send_signal(signal.SIGINT)
        if process.wait(_START_SECONDS) != 0:
            raise SystemExit(f"{log.read_text()}\n`halftone up` did not stop well.")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(_START_SECONDS)
