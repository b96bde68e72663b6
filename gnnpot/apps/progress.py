"""A progress bar in a terminal, plain lines elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from gnnpot.report.terminal import say

REDRAW_SECONDS = 0.1


class StepProgress:
    """Shows how much of how much is done, the time left, the rate and a line of figures.

    In a terminal it is a bar; in a file or a pipe a line at each tenth.
    """

    def __init__(self, title: str, n_steps: int, console: Console | None = None, noun: str = "steps") -> None:
        self.noun = noun
        self.console = console or Console()
        self.n_steps = n_steps
        self.title = title
        self._started = time.perf_counter()
        self._drawn = 0.0
        self._tenth = 0
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> "StepProgress":
        if self.console.is_terminal:
            columns = ("[progress.description]{task.description}", BarColumn(), "{task.completed}/{task.total}")
            rest = (TextColumn("[dim]ETA"), TimeRemainingColumn(), TextColumn("{task.fields[figures]}"))
            self._bar = Progress(*columns, *rest, console=self.console)
            self._task = self._bar.add_task(self.title, total=self.n_steps, figures="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._started

    def wants_figures(self, step: int) -> bool:
        """Whether the next `update` will be seen: the figures need not be made for the others."""
        if self._bar is not None:
            return self.seconds - self._drawn > REDRAW_SECONDS or step == self.n_steps
        return step * 10 // max(self.n_steps, 1) > self._tenth

    def update(self, step: int, figures: str) -> None:
        """Show that ``step`` of them are done."""
        rate = step / max(self.seconds, 1e-9)
        if self._bar is not None:
            self._drawn = self.seconds
            self._bar.update(self._task, completed=step, figures=f"{rate:.1f} {self.noun}/s  {figures}", refresh=True)
            return
        self._tenth = step * 10 // max(self.n_steps, 1)
        left = (self.n_steps - step) / max(rate, 1e-9)
        text = f"{self.title} {step}/{self.n_steps}  {figures}  {rate:.1f} {self.noun}/s  ETA {left:.0f} s"
        say(self.console, text)
