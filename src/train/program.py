"""One rank of a training job, from configuration to artifact. Started by `starter` on every process of every host."""

import contextlib
import logging
import os
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import torch

from ..contract import logs, outcome
from ..contract.artifact import Architecture
from ..contract.causes import DEVICE_MEMORY, cause_of
from ..contract.job import TrainingJob, read_training_job
from ..contract.paths import Paths
from ..errors import TwofoldError
from . import reports, stacks
from .architecture import draw, find_code, fit_normalization
from .channels import Source, evaluation_batch, open_training, open_validation
from .checkpoint import Checkpoints
from .config import MODELS, TrainingConfig, read_config
from .export import write_artifact
from .heartbeat import Heartbeat
from .initial import start_from
from .interrupt import Interrupt, listening
from .ledger import Ledger
from .loop import Trainer
from .memory import BeginAgain
from .onnx_export import add_program, real_rows
from .parallel import Replica
from .ranks import Ranks, join
from .recorder import Recorder
from .restart import MOST_LOST_S, Restart
from .survey import survey
from .tasks import check_validation, choose_task

log = logging.getLogger("twofold.train")

_ECHO = "network: another rank or host ended first, look there for the cause"


def run(job: TrainingJob, ranks: Ranks, scratch: Path, restart: Restart | None = None) -> None:
    """Train the model of a job, as one rank of many.

    Args:
        job: what is asked.
        ranks: this one among all.
        scratch: a folder for as long as the run lasts.
        restart: with what to begin again; None in the first start of the ranks.

    Raises:
        BeginAgain: memory of a device has run out where nothing could be made up for.
    """
    config = read_config(job.hyperparameters.user)
    if restart:
        config = config.model_copy(update={"micro_batch_size": restart.micro_batch_size})
    torch.manual_seed(config.seed)
    heartbeat = Heartbeat(scratch, ranks.rank)
    training = open_training(job, config, ranks, scratch)
    validation = open_validation(job, config, ranks, training, scratch)
    facts = survey(training, ranks)
    task = choose_task(config, facts, training.names)
    if validation:
        check_validation(validation, task)
    code = None if config.model in MODELS else find_code(job, ranks, scratch)
    blueprint = draw(config, task, training, job, code)
    log.info("%d samples of %s: %s with %s", training.samples, training.fields.summary, task.name, config.model)
    module = blueprint.build()
    if config.normalize:
        fit_normalization(module, facts)
    if config.init_from:
        own = scratch / f"rank-{ranks.rank}"
        start_from(config.init_from, module, blueprint.architecture, job, own, new_head=config.init_head == "new")
    replica = Replica(module, config, ranks)
    tensor = replica.mesh.degrees.tensor
    measured = evaluation_batch(config, ranks)
    recorder = open_recorder(job, ranks)
    checkpoints = open_checkpoints(job, config, blueprint.architecture, training, ranks)
    kept = job.paths.checkpoints if checkpoints else job.paths.output_data
    trainer = Trainer(
        replica,
        task,
        config,
        ranks,
        training=training.loader(config.batch_size, config.seed, shuffle=True, tensor=tensor),
        validation=validation.loader(measured, 0, shuffle=False, tensor=tensor) if validation else None,
        recorder=recorder,
        ledger=Ledger(kept, training, ranks) if config.ledger else None,
        heartbeat=heartbeat,
        shortage=restart.shortage if restart else "",
    )
    # Until here SIGTERM ends the process at once, since there is nothing to save.
    with contextlib.closing(recorder), listening() as interrupt:
        metrics = fit(trainer, checkpoints, interrupt, job)
        whole = replica.whole(blueprint)
        if ranks.is_first:
            write_artifact(job.paths.model, whole, blueprint, task, metrics)
            log.info("model written to %s after %d steps", job.paths.model, trainer.progress.step)
            _describe(job, trainer, training, metrics, size=sum(weight.numel() for weight in whole.parameters()))
            if config.export_onnx:
                add_program(job.paths.model, real_rows(training), interrupt)


def _describe(job: TrainingJob, trainer: Trainer, training: Source, metrics: dict[str, float], *, size: int) -> None:
    """Write what people and `monitor` read of a run whose model has so many weights."""
    # Not at the top: one rank of many draws, and the library takes a while to load.
    from .report import Facts, write_report  # noqa: PLC0415

    config, task, step = trainer.config, trainer.task.name, trainer.progress.step
    data = f"{training.samples} samples of {training.fields.summary}"
    write_report(job.paths.output_data, Facts(job, config, trainer.ranks, task, data, metrics, step, size))
    if config.baseline:
        # Not at the top: few jobs ask for it, and it needs Arrow.
        from .baseline import write_data_baseline  # noqa: PLC0415

        write_data_baseline(job.paths.output_data / "baseline", training)


def fit(trainer: Trainer, checkpoints: Checkpoints | None, interrupt: Interrupt, job: TrainingJob) -> dict[str, float]:
    """Train to the end and return the metrics.

    Raises:
        BeginAgain: memory of the device has run out; with fewer samples a forward pass all ranks can begin again, and
            lose little.
    """
    began = time.monotonic()
    try:
        return trainer.fit(checkpoints, interrupt)
    except Exception as error:
        tried = trainer.replica.tried
        if cause_of(error) is not DEVICE_MEMORY or tried <= 1:
            raise
        if any(channel.mode == "Pipe" for channel in job.channels.values()):
            error.add_note("A channel in Pipe mode cannot be read again from its beginning: the job ends.")
            raise
        if checkpoints is None and time.monotonic() > began + MOST_LOST_S:
            error.add_note(
                f"The job keeps no checkpoints and would lose more than {MOST_LOST_S / 60:.0f} minutes: it ends. With "
                f"a CheckpointConfig it would go on by itself."
            )
            raise
        raise BeginAgain(tried, trainer.progress.step + 1) from error


def open_recorder(job: TrainingJob, ranks: Ranks) -> Recorder:
    """Return what records the run; TensorBoard's events go where the platform collects them, if it does."""
    paths = job.paths
    board = paths.tensorboard if paths.tensorboard.is_dir() else paths.output_data / paths.tensorboard.name
    # Where hosts are described nobody watches, even if there is a terminal, as in the SDK's local mode.
    return Recorder(ranks, paths.output_data, board, with_bar=not job.resource_config)


def open_checkpoints(
    job: TrainingJob, config: TrainingConfig, architecture: Architecture, training: Source, ranks: Ranks
) -> Checkpoints | None:
    """Return the checkpoint folder where the platform has mounted one or the job asks for it."""
    if not (config.checkpoint_every or ranks.any(job.paths.checkpoints.is_dir())):
        return None
    identity = {
        "model": architecture.name,
        "arguments": architecture.arguments,
        "batch_size": config.batch_size,
        "seed": config.seed,
        "samples": training.samples,
    }
    return Checkpoints(job.paths.checkpoints, identity, ranks)


def main(environ: Mapping[str, str]) -> int:
    """Run one rank; whatever ends it early leaves a report for the parent."""
    scratch = Path(environ[reports.SCRATCH_VARIABLE])
    rank = int(environ.get("RANK", "0"))
    with contextlib.ExitStack() as group:
        try:
            job = read_training_job(Paths.from_environ(environ), environ)
            level = job.log_level if rank == 0 else max(job.log_level, logging.WARNING)
            several = environ.get("WORLD_SIZE", "1") != "1"
            logs.configure(level, host=job.cluster.speaker, rank=rank if several else None)
            run(job, group.enter_context(join(environ)), scratch, Restart.of(environ))
        except Exception as error:  # noqa: BLE001 - it is logged and reported there
            return _fail(error, scratch, rank, alone=environ.get("WORLD_SIZE", "1") == "1")
    return 0


def _fail(error: Exception, scratch: Path, rank: int, *, alone: bool) -> int:
    """Say why this rank ends, in the log and to the parent, and return its exit code.

    Only then is the process group left and do peers fail: the earliest report is the cause.
    """
    again = error if isinstance(error, BeginAgain) else None
    if again and isinstance(again.__cause__, Exception):
        error = again.__cause__
    peer = _from_peer(error)
    who = "" if alone else f"rank {rank}"
    text = outcome.failure_text(error, who=who, cause=_ECHO if peer else None)
    # What all ranks begin again after, and what another rank has caused, may be no error of the job.
    level = logging.WARNING if again or peer else logging.ERROR
    said = isinstance(error, TwofoldError) or again or peer
    log.log(level, "%s", text, exc_info=None if said else error)
    report = reports.Report(
        source=f"rank {rank}",
        message=text,
        exit_code=outcome.exit_code(error),
        peer=peer,
        traceback="".join(traceback.format_exception(error)),
        smaller=again.smaller if again else 0,
        shortage=f"rank {rank} ran out of device memory {again}" if again else "",
    )
    reports.write(scratch, report)
    return report.exit_code


def _from_peer(error: Exception) -> bool:
    """Whether another rank's end is the likely reason.

    NCCL and the store raise a DistError when a connection breaks, gloo a bare RuntimeError that names its source file.
    """
    return isinstance(error, torch.distributed.DistError) or (isinstance(error, RuntimeError) and "gloo/" in str(error))


def leave(code: int) -> NoReturn:
    """End this process at once, with everything that was logged written out.

    While the interpreter is taken down, a native thread of torch or Arrow that comes back to it is unwound through C++
    and aborts the process (`terminate called without an active exception`), after all work was done and saved.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    stacks.listen(Path(os.environ[reports.SCRATCH_VARIABLE]), int(os.environ.get("RANK", "0")))
    # ONNX Runtime, which verifies the artifact's program, would tell its makers.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    leave(main(os.environ))
