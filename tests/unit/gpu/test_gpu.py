"""The runner behind `make gpu`: shares of time, what is killed and kept, the table and the file."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import sys
import time
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from tests.gpu import __main__ as command
from tests.gpu import packages
from tests.gpu.hardware import peak_of
from tests.gpu.report import Report, table, to_dict
from tests.gpu.runner import Outcome, Stage, run_stage, share
from tests.gpu.testing import counted
from tests.support.system import is_alive

ROOT = Path(__file__).parents[3]
HARDWARE = {"device": "NVIDIA H200", "driver": "580", "torch": "2.11.0", "date": "2026-11-23"}
# What a stage's process is replaced by: it gets --file FILE --seconds S behind its own arguments.
WRITES = (
    "import json, pathlib, sys; pathlib.Path(sys.argv[sys.argv.index('--file') + 1])"
    ".write_text(json.dumps({content})); {then}"
)


def stage(name="one", *, weight=1.0, least=0.0):
    return Stage(name=name, weight=weight, least=least)


def run(tmp_path, *, content=None, then="pass", seconds=100.0, least=0.0):
    code = WRITES.format(content=content or {}, then=then)
    return run_stage(
        stage(least=least),
        command=[sys.executable, "-c", code],
        environment=os.environ,
        folder=tmp_path,
        seconds=seconds,
    )


def gone(pid):
    """Whether a process has ended, within a few seconds."""
    for _ in range(1000):
        if not is_alive(pid):
            return True
        time.sleep(0.05)
    return False


def test_time_is_shared_by_weight_and_what_is_left_over_passes_on():
    first, second = stage("a", weight=1), stage("b", weight=3)

    assert share(first, left=[first, second], seconds=100) == 25
    assert share(second, left=[second], seconds=90) == 90
    assert share(second, left=[second], seconds=-3) == 0


def test_a_stage_that_ends_well_is_done(tmp_path):
    outcome = run(tmp_path, content={"rows": [{"what": "x", "value": 1.0}], "details": {"n": 2}})

    assert (outcome.status, outcome.reason, outcome.tail) == ("done", "", [])
    assert outcome.rows == [{"what": "x", "value": 1.0}]
    assert outcome.details == {"n": 2}


def test_a_stage_that_hangs_is_killed_and_what_it_wrote_is_kept(tmp_path):
    began = time.monotonic()

    outcome = run(
        tmp_path,
        content={"doing": "compiling", "rows": [{"what": "x", "value": 1.0}]},
        then="import time; print('working', flush=True); time.sleep(60)",
        seconds=6.0,
    )

    assert time.monotonic() - began < 50
    assert outcome.status == "timed out"
    assert outcome.reason == "killed after 6 s while compiling"
    assert len(outcome.rows) == 1
    assert outcome.tail == ["working"]


@pytest.mark.soak
@pytest.mark.parametrize("hangs", [True, False])
def test_what_a_stage_started_ends_with_it(tmp_path, hangs):
    """Also what ignores SIGTERM, and what a stage that ended by itself left behind."""
    child = (
        "import signal, time; signal.signal(15, lambda *_: None); print(1, flush=True); "
        "time.sleep(60)"
    )
    outcome = run(
        tmp_path,
        then=f"import subprocess, time; p = subprocess.Popen([sys.executable, '-c', {child!r}], "
        f"stdout=subprocess.PIPE); p.stdout.readline(); print(p.pid, flush=True); "
        f"time.sleep({60 if hangs else 0})",
        seconds=8.0 if hangs else 100.0,
    )

    assert outcome.status == ("timed out" if hangs else "done")
    assert gone(int((tmp_path / "one.log").read_text().split()[0]))


def test_a_stage_that_crashes_tells_how(tmp_path):
    outcome = run(
        tmp_path, content={"doing": "copying"}, then="import os; os.kill(os.getpid(), 11)"
    )

    assert (outcome.status, outcome.reason) == ("failed", "killed by SIGSEGV while copying")


def test_a_stage_that_fails_shows_its_last_lines(tmp_path):
    outcome = run(
        tmp_path, content={"failed": "three tests did not pass"}, then="raise OSError('x')"
    )

    assert (outcome.status, outcome.reason) == ("failed", "three tests did not pass")
    assert outcome.tail[-1] == "OSError: x"


def test_figures_of_an_earlier_run_are_not_taken_for_new_ones(tmp_path):
    run(tmp_path, content={"rows": [{"what": "x", "value": 1.0}]})
    code = [sys.executable, "-c", "raise SystemExit(3)"]
    again = run_stage(stage(), command=code, environment=os.environ, folder=tmp_path, seconds=100)

    assert (again.status, again.reason, again.rows) == ("failed", "exit code 3", [])


def test_a_stage_is_not_started_without_time(tmp_path):
    outcome = run(tmp_path, seconds=4.0, least=10.0)

    assert outcome.status == "skipped"
    assert outcome.reason == "4 s are left, and it needs 10"
    assert not list(tmp_path.iterdir())


def test_a_stage_may_say_that_it_cannot_run(tmp_path):
    outcome = run(tmp_path, content={"skipped": "VersionError: protobuf is too old"})

    assert (outcome.status, outcome.reason) == ("skipped", "VersionError: protobuf is too old")


def test_each_figure_is_on_disk_as_soon_as_it_is_known(tmp_path):
    report = Report(tmp_path / "x.json")
    report.doing("measuring")
    report.add("images", 12_345.6, unit="images/s", at_least=12_000.0)
    report.add("waiting", 0.07, at_most=0.05)
    report.detail("batch", 128)

    written = json.loads((tmp_path / "x.json").read_text())
    assert written["doing"] == "measuring"
    assert [(row["bar"], row["met"]) for row in written["rows"]] == [
        ("≥ 12,000", True),
        ("≤ 0.05", False),
    ]
    assert written["details"] == {"batch": 128}


def test_the_table_has_every_figure_and_every_reason(tmp_path):
    report = Report(tmp_path / "x.json")
    report.add("eager, batch 128", 8_123.4, unit="images/s", note="190 TFLOP/s", at_least=12_000.0)
    report.add("ratio", 0.4567)
    outcomes = [
        Outcome(name="network", status="timed out", reason="killed after 9 s", rows=report.rows),
        Outcome(name="tests", status="skipped", reason="missing: pytest"),
    ]

    text = table(outcomes, hardware=HARDWARE)

    lines = [re.split(r"\s{2,}", line) for line in text.splitlines()]
    assert lines[0] == ["NVIDIA H200, driver 580, torch 2.11.0, 2026-11-23"]
    assert lines[4] == [
        "network",
        "eager, batch 128",
        "8,123 images/s",
        "190 TFLOP/s",
        "≥ 12,000, missed",
    ]
    assert lines[5] == ["", "ratio", "0.457"]
    assert lines[6] == ["", "timed out", "killed after 9 s"]
    assert lines[7] == ["tests", "skipped", "missing: pytest"]
    assert len({line.index("8,123") for line in text.splitlines() if "8,123" in line}) == 1


def test_the_file_names_what_was_skipped(tmp_path):
    outcomes = [
        Outcome(name="tests", status="skipped", reason="missing: pytest"),
        Outcome(name="step", status="done", seconds=3.0),
    ]

    content = json.loads(json.dumps(to_dict(outcomes, hardware=HARDWARE)))

    assert content["hardware"]["device"] == "NVIDIA H200"
    assert content["skipped"] == {"tests": "missing: pytest"}
    assert content["stages"]["step"]["seconds"] == 3.0


def test_the_peak_of_a_device_is_known_by_its_name():
    assert peak_of("NVIDIA H200") == 989
    assert peak_of("NVIDIA H100 PCIe") == 756
    assert peak_of("NVIDIA H100 80GB HBM3") == 989
    assert peak_of("NVIDIA L4") == 121
    assert peak_of("NVIDIA A100-SXM4-80GB") == 312
    assert peak_of("NVIDIA A1000") is None


def test_pytests_last_line_is_counted():
    assert counted("== 2 failed, 3 passed, 16 skipped, 1 error in 2.31s ==") == {
        "failed": 2,
        "passed": 3,
        "skipped": 16,
        "errors": 1,
    }
    assert counted("no tests ran in 0.01s") == {}


def test_without_a_device_it_says_what_to_do(tmp_path, capsys):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    status = command.main(["--work", str(tmp_path), "--json", str(tmp_path / "gpu.json")])

    assert status == 2
    assert "--device cpu --tiny" in capsys.readouterr().err
    assert not (tmp_path / "gpu.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes", "0"], "positive"),
        (["--only", "nothing"], "invalid choice"),
        (["--data", "nowhere"], "no manifest.csv in nowhere"),
    ],
)
def test_wrong_options_are_explained(arguments, message, capsys):
    with pytest.raises(SystemExit):
        command.main(arguments)

    assert message in capsys.readouterr().err


def test_what_is_missing_is_named_as_pip_knows_it(monkeypatch):
    monkeypatch.setitem(
        packages.NEEDS, "step", ("json", "google.rpc", "no_such_thing", "no_such.part")
    )

    assert packages.missing(["step"]) == ["no_such.part", "no_such_thing"]
    assert packages.missing(["training", "embedder", "network"]) == []


def test_nothing_is_installed_into_the_interpreter_itself(tmp_path):
    words = packages.command(
        ["grpcio"], folder=tmp_path / "p", constraints=ROOT / "constraints.txt"
    )

    assert words[words.index("--target") + 1] == str(tmp_path / "p")
    assert "--no-deps" in words
    assert words[-1] == "grpcio"


def test_a_failed_installation_is_told_and_not_fatal(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    problem = packages.install(
        ["grpcio"], folder=tmp_path / "p", constraints=ROOT / "constraints.txt", seconds=60
    )

    assert "grpcio" in problem


def imported(module):
    """What a module of ours imports from others, also by way of ours."""
    found, waiting, seen = set(), [module], set()
    while waiting:
        name = waiting.pop()
        path = ROOT / name.replace(".", "/")
        file = next(
            (f for f in (path.with_suffix(".py"), path / "__init__.py") if f.exists()), None
        )
        if name in seen or file is None:
            continue
        seen.add(name)
        for node in outside_type_checking(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            elif node.level:
                parent = name.rpartition(".")[0] if file.name != "__init__.py" else name
                names = [f"{parent}.{node.module}"] if node.module else []
            else:
                names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
            for each in names:
                if each.partition(".")[0] in ("halftone", "services", "tests"):
                    parts = each.split(".")
                    waiting += [".".join(parts[: end + 1]) for end in range(len(parts))]
                else:
                    found.add(each)
    return found


def outside_type_checking(tree):
    """Imports that run: also those within functions, which run later."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        else:
            yield from outside_type_checking(node)


def required(distributions):
    """All that these distributions require, without extras, by name."""
    names, waiting = set(), list(distributions)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in names:
            continue
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # for another platform
            continue
        names.add(name)
        needs = [Requirement(need) for need in found.requires or []]
        # Those of extras and of other Pythons are not needed here, installed or not.
        waiting += [n.name for n in needs if n.marker is None or n.marker.evaluate({"extra": ""})]
    return names


# What runs only where it is asked for, or not in these stages.
OPTIONAL = {"mlflow", "onnx", "onnxruntime", "openvino", "nncf", "cv2", "edtf", "limits"}


@pytest.mark.parametrize("name", ["network", "embedder", "step", "training"])
def test_a_stage_needs_what_it_says_and_nothing_else(name):
    """Otherwise a machine that has just that would fail in the middle instead of at the start."""
    given = {"torch", "torchvision", "__future__"} | set(sys.stdlib_module_names)
    tops = {each.partition(".")[0] for each in packages.NEEDS[name]}
    for module in (*packages.ENTRIES[name], f"tests.gpu.{name}"):
        others = {each for each in imported(module) if each.partition(".")[0] not in given}
        unlisted = {each for each in others if each.partition(".")[0] not in tops | OPTIONAL}
        assert not unlisted, module
        # Two distributions share the name.
        assert ("google.rpc" in packages.NEEDS[name]) or not any("google.rpc" in o for o in others)


def test_what_is_installed_without_dependencies_has_them_listed():
    for name, needs in packages.NEEDS.items():
        listed = {packages.distribution(each).lower().replace("_", "-") for each in needs}
        missing = required(listed) - listed - required(["torch", "torchvision"])
        assert not missing, name
