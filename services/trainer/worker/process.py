"""Runs the training process and reads its events, its output, and its end."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from halftone.core import telemetry
from halftone.core.system import lower_process_priority
from halftone.services.trainer.jobs.job import LOG_LINES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_log = telemetry.get_logger(__name__)

_LOG_LIMIT_BYTES: Final = 16 * 1024 * 1024
_LINE_LIMIT: Final = 500
_JOIN_SECONDS: Final = 10.0


class TrainingProcess:
    """A running training loop, in a process that does not outlive this one.

    Its output goes through this process into the log, so that a full disk loses lines of the log
    instead of ending the process.

    Attributes:
        events: The events that it has sent, as dictionaries.

    Args:
        config: The file with the settings of the run.
        log: The file to which the output is appended.
        module: The module to run.
        environment: Variables to add to this process's own.
        inherited: File descriptors that the process keeps open for as long as it lives.
        nice: Its niceness towards other processes, 0 to 19.

    Raises:
        OSError: The process cannot be started.
    """

    def __init__(
        self,
        config: Path,
        *,
        log: Path,
        module: str,
        environment: Mapping[str, str],
        inherited: Sequence[int] = (),
        nice: int = 0,
    ) -> None:
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._tail: collections.deque[str] = collections.deque(maxlen=LOG_LINES)
        self._log = log
        events, writing = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own entry point
                [
                    *(sys.executable, "-m", "halftone.service.child", str(os.getpid()), module),
                    *("--config", str(config), "--events-fd", str(writing)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
                pass_fds=(writing, *inherited),
                start_new_session=True,
            )
        except BaseException:
            os.close(events)
            raise
        finally:
            os.close(writing)
        lower_process_priority(self._process.pid, nice=nice)
        self._readers = [
            threading.Thread(target=self._read_events, args=(events,), daemon=True),
            threading.Thread(target=self._read_output, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines of the output."""
        return tuple(self._tail)

    def poll(self) -> int | None:
        """Return the exit status, or minus the signal's number; None while it is running."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask the process to write a checkpoint and end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process at once, with every process that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Kill the process if it is still running, and wait for the rest of its output."""
        # Also if it has ended: processes that it started may hold its output open.
        self.kill()
        for reader in self._readers:
            reader.join(_JOIN_SECONDS)

    def say(self, line: str) -> None:
        """Add a line to the log and to `tail`."""
        self._tail.append(line[:_LINE_LIMIT])
        with contextlib.suppress(OSError):
            if self._log.exists() and self._log.stat().st_size > _LOG_LIMIT_BYTES:
                self._log.replace(self._log.with_suffix(".old.txt"))
            with self._log.open("a", encoding="utf-8") as log:
                log.write(f"{line}\n")

    def _read_output(self) -> None:
        output = self._process.stdout
        if output is None:
            return
        with output:
            for line in output:
                self.say(line.decode("utf-8", "replace").rstrip("\n"))

    def _read_events(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as pipe:
            for line in pipe:
                try:
                    event = json.loads(line)
                except ValueError:
                    # The process was killed while it wrote.
                    _log.warning("event_cut_off", line=repr(line[:100]))
                    continue
                if isinstance(event, dict):
                    self.events.put(event)
