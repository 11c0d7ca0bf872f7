"""The GPU tests, by pytest, with a configuration that asks for no plugin."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.gpu.report import Report
    from tests.gpu.stages import Settings

HERE: Final = Path(__file__).parent
# As in __main__.py: an interpreter may have a package `tests` of its own.
_START: Final = """
import sys, types
sys.modules["tests"] = types.ModuleType("tests")
sys.modules["tests"].__path__ = [sys.argv.pop(1)]
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""
_COUNT: Final = re.compile(r"(\d+) (passed|failed|error|errors|skipped|xfailed)\b")


def run(report: Report, *, settings: Settings) -> int:
    """Run them; the exit code is pytest's."""
    report.doing("testing")
    command = [
        *(sys.executable, "-c", _START, str(HERE.parent)),
        *("-c", str(HERE / "pytest.ini"), str(HERE)),
        *("--rootdir", str(HERE.parents[1]), "--device", settings.device),
        *("--basetemp", str(settings.work / "tests")),
    ]
    if settings.tiny:
        command += ["-m", "not slow"]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    summary = lines[-1] if lines else ""
    counts = counted(summary)
    report.detail("counts", counts)
    wrong = counts.get("failed", 0) + counts.get("errors", 0)
    others = ", ".join(f"{number} {what}" for what, number in counts.items() if what != "passed")
    report.add("passed", float(counts.get("passed", 0)), unit="tests", note=others)
    report.detail("not passed", [line for line in lines if line.startswith(("FAILED", "ERROR"))])
    if process.returncode:
        report.fail(f"{wrong} tests did not pass" if wrong else f"pytest: {summary}")
    return process.returncode


def counted(summary: str) -> dict[str, int]:
    """How many of each outcome, from pytest's last line."""
    found: dict[str, int] = {}
    for number, what in _COUNT.findall(summary):
        name = "errors" if what == "error" else what
        found[name] = found.get(name, 0) + int(number)
    return found
