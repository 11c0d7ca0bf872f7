"""The generator of the blocking client."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "tools" / "unasync.py"


@pytest.fixture(scope="module")
def unasync():
    spec = importlib.util.spec_from_file_location("unasync", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_client_is_up_to_date():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_a_module_becomes_blocking(unasync):
    source = """from halftone.client import tasks
from halftone.client.asynchronous.x import AsyncClient

async def f(items: AsyncIterator[int]) -> None:
    async with AsyncClient() as a, contextlib.aclosing(b):
        async for item in items:
            await tasks.sleep(item)  # an awaited asynchronous word

    async def __aenter__(self): ...
"""
    assert unasync.translate(source, name="x.py").splitlines()[1:] == [
        "from halftone.client import threads",
        "from halftone.client.blocking.x import Client",
        "",
        "def f(items: Iterator[int]) -> None:",
        "    with Client() as a, contextlib.closing(b):",
        "        for item in items:",
        "            threads.sleep(item)  # an awaited asynchronous word",
        "",
        "    def __enter__(self): ...",
    ]


def test_a_stale_or_superfluous_module_is_told(unasync, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(unasync, "_TARGET", tmp_path / "blocking")
    monkeypatch.setattr(sys, "argv", ["unasync.py"])
    assert unasync.main() == 0
    (tmp_path / "blocking" / "client.py").write_text("pass\n")
    (tmp_path / "blocking" / "old.py").write_text("pass\n")
    monkeypatch.setattr(sys, "argv", ["unasync.py", "--check"])
    assert unasync.main() == 1
    printed = capsys.readouterr().out
    assert "client.py is not up to date" in printed
    assert "old.py is not up to date" in printed
    monkeypatch.setattr(sys, "argv", ["unasync.py"])
    assert unasync.main() == 0
    assert not (tmp_path / "blocking" / "old.py").exists()


def test_a_sentence_that_is_gone_is_an_error(unasync, monkeypatch):
    monkeypatch.setattr(unasync, "_SENTENCES", (("No module says this.", ""),))
    with pytest.raises(ValueError, match="No module says this"):
        unasync.generate()
