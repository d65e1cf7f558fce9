"""A progress bar on a terminal; log lines go above it."""

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..contract import logs


class Bar:
    """Steps done of all steps."""

    def __init__(self, console: Console | None = None) -> None:
        """Draw on a console; None is stdout."""
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console or Console(),
            transient=True,
        )
        self._task = self._progress.add_task("train", total=None, epoch=1)
        self._shown = False

    def show(self, step: int, total: int, epoch: int) -> None:
        """Show how far the run is."""
        if not self._shown:
            self._shown = True
            self._progress.start()
            # rich has put itself in the place of stdout; what logs wrote past it would break the bar.
            logs.redirect(sys.stdout)
        self._progress.update(self._task, completed=step, total=total, epoch=epoch)

    def close(self) -> None:
        """Take the bar away."""
        if self._shown:
            self._progress.stop()
            logs.redirect(sys.stdout)
            self._shown = False
