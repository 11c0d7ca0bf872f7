"""Shows how far a long task is: a bar on a terminal, elsewhere a line every ten seconds."""

from __future__ import annotations

import collections
import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
)
from rich.text import Text

from halftone.cli import output

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self


_LINE_SECONDS: Final = 10.0
_BURST_SECONDS: Final = 0.5
_WINDOW_SECONDS: Final = 60.0
_FEWEST_BURSTS: Final = 4


class Pace:
    """Measures how fast something goes that is done in batches.

    Records are acknowledged in batches, so the latest moment says little: right after a batch
    everything seems fast, right before one it seems to stand still. The rate is therefore measured
    from the end of one batch to the end of another, over the last minute or four batches.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # The time and the count at the end of each burst, the oldest first.
        self._ends: collections.deque[tuple[float, int]] = collections.deque([(clock(), 0)])
        self._burst_start: float | None = None
        self.count = 0

    def advance(self, count: int) -> None:
        """Count what was done since the last call."""
        if not count:
            return
        now = self._clock()
        self.count += count
        if self._burst_start is not None and now - self._burst_start < _BURST_SECONDS:
            self._ends[-1] = (now, self.count)
        else:
            self._burst_start = now
            self._ends.append((now, self.count))
        while len(self._ends) > _FEWEST_BURSTS + 1 and self._ends[1][0] < now - _WINDOW_SECONDS:
            self._ends.popleft()

    def measure_rate(self) -> float:
        """Return how many are done in a second; 0 if none was done yet."""
        (begin, before), (end, after) = self._ends[0], self._ends[-1]
        if after == before:
            return 0.0
        # What takes longer than bursts have taken so far has become slower.
        usual = (end - begin) / (len(self._ends) - 1)
        return (after - before) / max(end - begin, self._clock() - usual - begin, 1e-3)

    def estimate_seconds_left(self, total: int) -> float | None:
        """Return the seconds until `total` are done, or None if that is not known yet."""
        rate = self.measure_rate()
        if not rate:
            return None
        since = self._clock() - self._ends[-1][0]
        return max(0.0, (total - self.count) / rate - since)


class _Counted:
    """One thing that is counted: its description, its pace and what is said beside it."""

    def __init__(self, description: str, *, total: int) -> None:
        self.description = description
        self.total = total
        self.remark = ""
        self.pace = Pace()

    def describe_pace(self) -> str:
        rate = self.pace.measure_rate()
        return f"{rate:.1f}/s" if rate else ""

    def describe_rest(self) -> str:
        seconds = self.pace.estimate_seconds_left(self.total)
        return "" if seconds is None else f"{format_duration(seconds)} left"

    def describe(self) -> str:
        parts = [self.describe_pace(), self.describe_rest(), self.remark]
        words = ", ".join(["", *filter(None, parts)])
        return f"{self.description}: {self.pace.count:,} of {self.total:,}{words}"


class _PaceColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        counted: _Counted = task.fields["counted"]
        parts = [counted.describe_pace(), counted.describe_rest(), counted.remark]
        return Text("  ".join(filter(None, parts)))


class Counter:
    """Shows on standard error how far things are, while its context is entered.

    Args:
        line_seconds: The seconds between two lines where standard error is no terminal.
    """

    def __init__(self, *, line_seconds: float = _LINE_SECONDS) -> None:
        self._line_seconds = line_seconds
        self._notes = output.make_notes()
        self._bar: Progress | None = None
        if sys.stderr.isatty() and self._notes.is_interactive:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                _PaceColumn(),
                console=self._notes,
                transient=True,
            )
        self._counted: list[_Counted] = []
        self._ended = threading.Event()
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._resources.enter_context(self._bar)
        else:
            lines = threading.Thread(target=self._print_lines, name="progress", daemon=True)
            lines.start()
            self._resources.callback(lines.join)
            self._resources.callback(self._ended.set)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._resources.close()

    def add(self, description: str, *, total: int) -> Callable[..., None]:
        """Count another thing.

        Args:
            description: What is done, for example `Importing`.
            total: How often the returned function will be called with 1.

        Returns:
            A function that is called with how many were done, and with `remark`, a text to show
            beside the count; None leaves the text as it is.
        """
        counted = _Counted(description, total=total)
        self._counted.append(counted)
        task = None
        if self._bar is not None:
            task = self._bar.add_task(description, total=total, counted=counted)

        def advance(count: int = 1, *, remark: str | None = None) -> None:
            counted.pace.advance(count)
            if remark is not None:
                counted.remark = remark
            if self._bar is not None and task is not None:
                self._bar.update(task, advance=count)

        return advance

    def say(self, sentence: str) -> None:
        """Print a sentence on a line of its own, above the bar."""
        self._notes.print(sentence)

    def _print_lines(self) -> None:
        while not self._ended.wait(self._line_seconds):
            # The others are done, or stand still until this one is.
            if self._counted and self._counted[-1].pace.count < self._counted[-1].total:
                self.say(self._counted[-1].describe())


def format_duration(seconds: float) -> str:
    """Return a duration, for example `0:07`, `12:30` or `2:05:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
