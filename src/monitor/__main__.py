"""Entry point of `monitor`: read the command line, or the processing job, and watch a model."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from ..contract import logs, outcome
from ..contract.paths import Paths
from ..errors import TwofoldError
from .baseline import summarise, write_baseline
from .tables import read_blocks

log = logging.getLogger("twofold.monitor")


def perform(action: Callable[[Paths], str]) -> int:
    """Do something and return the exit code; what came of it is logged, and is the exit message of a job."""
    paths = Paths.from_environ(os.environ)
    in_job = paths.processing_config.is_dir()
    try:
        logs.configure(logs.DEFAULT_LEVEL, stream=None if in_job else sys.stderr)
        text, code = action(paths), 0
        log.info("%s", text)
    except TwofoldError as error:
        text, code = outcome.failure_text(error), outcome.exit_code(error)
        log.error("%s", text)
    if in_job:
        outcome.write_message(paths, text)
    return code


@click.group(context_settings={"show_default": True, "max_content_width": 120})
def main() -> None:
    """Watch a model: what it was trained on against what it is asked."""


@main.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--content-type", metavar="TYPE", help="What IN holds; by default the content decides.")
def baseline(source: Path, target: Path, content_type: str | None) -> None:
    """Write statistics.json and constraints.json of the training data IN to the folder OUT.

    IN is a file or a folder in any format that training reads.
    """

    def action(_paths: Paths) -> str:
        summary = summarise(read_blocks(source, content_type))
        write_baseline(summary, target)
        return f"Completed: baseline of {summary.rows} rows and {len(summary.features)} features in {target}"

    sys.exit(perform(action))


if __name__ == "__main__":
    main()
