"""Entry point of `monitor`: read the command line, or the environment of a monitoring job, and watch a model."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import click

from ..baseline.files import CONSTRAINTS, STATISTICS, write_baseline
from ..contract import logs, outcome
from ..contract.paths import Paths
from ..errors import TwofoldError
from .align import Alignment
from .capture import Window, read_captured, read_time
from .drift import METHODS, Method
from .hosts import share
from .job import Job, read_job
from .publish import Origin, message, write_metrics
from .quality import PROBLEMS, Problem, propose
from .run import Monitor, Options, Result
from .tables import read_blocks
from .traffic import Traffic, read_table, read_traffic

log = logging.getLogger("twofold.monitor")

_FOLDER = click.Path(path_type=Path)


class Stopped(TwofoldError):
    """The platform asked to stop."""

    exit_code = 128 + signal.SIGTERM
    cause = "stopped"


def perform(action: Callable[[Paths], str]) -> int:
    """Do something and return the exit code; what comes of it, if anything, is the exit message of a job."""
    paths = Paths.from_environ(os.environ)
    in_job = paths.processing_config.is_dir()
    # A process that is PID 1 hears no signal that it has no handler for.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        logs.configure(logs.DEFAULT_LEVEL, stream=None if in_job else sys.stderr)
        text, code = action(paths), 0
        log.info("%s", text or "Sent this host's part to the first host, which has the results")
    except TwofoldError as error:
        text, code = outcome.failure_text(error), outcome.exit_code(error)
        log.error("%s", text)
    if in_job and text:
        outcome.write_message(paths, text)
    return code


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(f"{signal.Signals(number).name} came before the end. Expected time to finish: run again.")


def _read(source: Path, part: int, parts: int, *, captured: bool, window: Window, content_type: str | None) -> Traffic:
    """Sum up what a baseline is made of, or a part of so many of it."""
    if captured:
        return read_traffic(read_captured(source, window, part=part, parts=parts), Alignment())
    # Tables are not cut: where all hosts have all files, the first one reads them.
    return Traffic() if part else read_table(read_blocks(source, content_type), Alignment(), "all")


def _write_baseline(traffic: Traffic, target: Path) -> str:
    _report_malformed(traffic)
    summary = traffic.whole()
    metrics = traffic.whole_quality().metrics()
    write_baseline(summary, target, metrics, propose(metrics))
    return f"Completed: baseline of {summary.rows} rows and {len(summary.features)} features in {target}"


def _judged(monitor: Monitor, traffic: Traffic) -> Result | None:
    _report_malformed(traffic)
    return monitor.judge(traffic) if traffic.hours else None


def _told(options: Options, traffic: Traffic, result: Result | None) -> str:
    if result is None:
        window = f"{options.window.start or 'the beginning'} to {options.window.end or 'the end'}"
        return f"Completed: No data in {options.source} from {window}: nothing was checked."
    for part in result.violations:
        log.warning("%s: %s: %s", part.feature_name or part.metric_name, part.constraint_check_type, part.description)
    return message(result.violations, traffic.malformed)


def _report_malformed(traffic: Traffic) -> None:
    if traffic.malformed:
        log.warning("%d lines or bodies could not be read, the first: %s", traffic.malformed, traffic.first_malformed)


def _job(paths: Paths, job: Job) -> str:
    if job.statistics is None or job.constraints is None:
        whole = share(
            job,
            lambda part, parts: _read(
                job.source, part, parts, captured=job.captured, window=job.window, content_type=None
            ),
        )
        return "" if whole is None else _write_baseline(whole, job.output)
    options = Options(
        source=job.source,
        output=job.output,
        statistics=job.statistics,
        constraints=job.constraints,
        captured=job.captured,
        window=job.window,
        problem=job.problem,
    )
    monitor = Monitor(options)
    traffic = share(job, monitor.read)
    if traffic is None:
        return ""
    result = _judged(monitor, traffic)
    if result is not None and job.publish_metrics:
        origin = Origin(job.window.end or max(traffic.hours) + ":00:00", job.endpoint, job.schedule)
        write_metrics(
            paths.cloudwatch_metrics,
            origin,
            summary=result.summary,
            findings=result.findings,
            quality=result.quality,
            violations=result.violations,
        )
    return _told(options, traffic, result)


@click.group(invoke_without_command=True, context_settings={"show_default": True, "max_content_width": 120})
@click.pass_context
def main(context: click.Context) -> None:
    """Watch a model: what it was trained on against what it is asked.

    In a monitoring job of SageMaker no command is needed: the job's environment says everything, and a job without a
    baseline makes one.
    """
    if context.invoked_subcommand is None:
        sys.exit(perform(lambda paths: _job(paths, read_job(paths, os.environ))))


@main.command()
@click.argument("source", metavar="IN", type=_FOLDER)
@click.argument("target", metavar="OUT", type=_FOLDER)
@click.option("--content-type", metavar="TYPE", help="What IN holds; by default the content decides.")
@click.option("--captured", is_flag=True, help="IN is captured traffic of a good time rather than training data.")
def baseline(source: Path, target: Path, content_type: str | None, *, captured: bool) -> None:
    """Write statistics.json and constraints.json of the training data IN to the folder OUT.

    IN is a file or a folder in any format that training reads.
    """

    def action(_paths: Paths) -> str:
        traffic = _read(source, 0, 1, captured=captured, window=Window(), content_type=content_type)
        return _write_baseline(traffic, target)

    sys.exit(perform(action))


@main.command()
@click.argument("source", metavar="IN", type=_FOLDER)
@click.argument("target", metavar="OUT", type=_FOLDER)
@click.option("--baseline", "folder", type=_FOLDER, required=True, help="Folder that `monitor baseline` wrote.")
@click.option("--start", metavar="TIME", help="Leave out what came before, e.g. 2026-09-01T15:00:00Z.")
@click.option("--end", metavar="TIME", help="Leave out what came at this time and after.")
@click.option("--label", metavar="NAME", help="Feature of the baseline that requests do not hold; by default 'label'.")
@click.option("--problem", type=click.Choice(PROBLEMS), help="What the model is asked for; by default answers tell.")
@click.option("--method", type=click.Choice(METHODS), default="distance", help="What decides that a feature drifted.")
@click.option("--png", is_flag=True, help="Write report.png, too; needs matplotlib.")
def run(
    source: Path,
    target: Path,
    *,
    folder: Path,
    start: str | None,
    end: str | None,
    label: str | None,
    problem: Problem | None,
    method: Method,
    png: bool,
) -> None:
    """Hold the captured traffic IN against a baseline and write what breaks it to the folder OUT."""

    def action(_paths: Paths) -> str:
        options = Options(
            source=source,
            output=target,
            statistics=folder / STATISTICS,
            constraints=folder / CONSTRAINTS,
            window=Window(read_time("--start", start), read_time("--end", end)),
            label=label,
            problem=problem,
            method=method,
            picture=png,
        )
        monitor = Monitor(options)
        traffic = monitor.read()
        return _told(options, traffic, _judged(monitor, traffic))

    sys.exit(perform(action))


if __name__ == "__main__":
    main()
