"""Entry point of `prepare`: read the command line, or the processing job, and make shards."""

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..contract import logs, machine, outcome
from ..contract.paths import Paths
from ..contract.processing import ProcessingJob, read_processing_job
from ..errors import ConfigError, TwofoldError
from .options import Options, parse_size
from .pool import Stopped
from .run import prepare

log = logging.getLogger("twofold.prepare")


def run(environ: Mapping[str, str], given: Mapping[str, Any]) -> int:
    """Run with the arguments of the command line and return the exit code."""
    paths = Paths.from_environ(environ)
    in_job = paths.processing_config.is_dir()
    try:
        logs.configure(logs.DEFAULT_LEVEL, stream=None if in_job else sys.stderr)
        options = _options(read_processing_job(paths), given)
        workers = given["workers"] or machine.cpus()
        summary = prepare(options, workers=workers, resume=given["resume"], environ=environ)
    except Stopped as error:
        text, code = f"stopped: {error}. What is whole is kept: run again to go on.", error.exit_code
        log.warning("%s", text)
    except TwofoldError as error:
        text, code = outcome.failure_text(error), outcome.exit_code(error)
        log.error("%s", text)
    else:
        text, code = f"Completed: {summary}", 0
        (log.warning if summary.skipped else log.info)("%s in %s", summary, options.output)
    if in_job:
        outcome.write_message(paths, text)
    return code


def _options(job: ProcessingJob | None, given: Mapping[str, Any]) -> Options:
    source = given["source"] or (job.input if job else None)
    target = given["target"] or (job.output if job else None)
    if source is None or target is None:
        several = "the job has several; name one" if job else "both are needed outside a processing job"
        raise ConfigError(f"{'IN' if source is None else 'OUT'} is missing: {several}. Give IN and OUT.")
    if given["format"] is None:
        raise ConfigError("--format (PREPARE_FORMAT) is missing. Expected recordio, tfrecord, tar, parquet or npy.")
    source = Path(source)
    return Options(
        input=source,
        output=Path(target),
        format=given["format"],
        shard_bytes=parse_size(given["shard_size"]),
        validation=given["validation"],
        label=given["label"],
        content_type=given["content_type"],
        on_bad_record=given["on_bad_record"],
        classes=tuple(name.strip() for name in (given["classes"] or "").split(",") if name.strip()),
        host=job.cluster.rank if job else 0,
        hosts=job.cluster.size if job else 1,
        sharded=bool(job and job.is_sharded(source)),
    )


@click.command(
    name="prepare", context_settings={"auto_envvar_prefix": "PREPARE", "show_default": True, "max_content_width": 120}
)
@click.argument("source", metavar="[IN]", required=False, envvar="PREPARE_IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="[OUT]", required=False, envvar="PREPARE_OUT", type=click.Path(path_type=Path))
@click.option(
    "--format", type=click.Choice(["recordio", "tfrecord", "tar", "parquet", "npy"]), help="Format of the shards."
)
@click.option("--shard-size", default="128MB", metavar="SIZE", help="About how large a shard is: 128MB, 64MiB, 1GB.")
@click.option(
    "--validation",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    metavar="SHARE",
    help="Share of the records that goes to OUT/validation, the rest to OUT/train; a record's hash decides, so it "
    "stays on its side however the data is cut.",
)
@click.option(
    "--label",
    metavar="COLUMN",
    help="Column that becomes 'label'; for recordio and npy all others of numbers become one vector, 'features'.",
)
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes; by default one a core granted.")
@click.option(
    "--resume/--no-resume",
    default=True,
    help="Go on with a run that was stopped, or remove what an earlier run left in OUT and begin anew.",
)
@click.option(
    "--on-bad-record",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    help="Stop at a record that cannot be read, or leave it out and count.",
)
@click.option(
    "--content-type",
    metavar="TYPE",
    help="What IN holds, e.g. 'text/csv; label_size=0'; by default the content decides.",
)
@click.option(
    "--classes",
    metavar="NAMES",
    help="Names of all classes of a folder of images, cat,dog,...; needed only where each of several hosts has a part.",
)
def main(**given: Any) -> None:  # noqa: ANN401 - click gives what the options above say
    """Turn the table, the folder of images or the dataset IN into even shards in OUT.

    IN holds CSV (with or without a header), JSON Lines, LibSVM, Parquet, images in folders named after their class, or
    any format that training reads. OUT gets part-00000.rec and so on, and index.json: where the records lie, types,
    statistics of each column, and checksums.

    In a processing job of SageMaker IN and OUT are the job's input and output, every option can be given as a variable
    of the environment (PREPARE_FORMAT=recordio, PREPARE_SHARD_SIZE=128MB, ...), and several hosts share the work.
    """
    sys.exit(run(os.environ, given))


if __name__ == "__main__":
    main()
