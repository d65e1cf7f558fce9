"""The training loop: steps, evaluations, checkpoints, and the reasons to end."""

import logging
import math
import time

import torch

from ..errors import UserError
from .checkpoint import Checkpoints, Progress, seed_step
from .checkpoint_state import State
from .config import MODELS, TrainingConfig
from .heartbeat import Heartbeat
from .interrupt import Interrupt
from .ledger import Ledger
from .metrics import Meter
from .optim import build_optimizer, learning_rate, set_learning_rate
from .parallel import Replica, Sums
from .piped import PipedSamples
from .ranks import Ranks
from .recorder import Recorder
from .samples import Batch, Loader
from .tasks import Task, named

log = logging.getLogger(__name__)


class Trainer:
    """One run on one rank."""

    def __init__(
        self,
        replica: Replica,
        task: Task,
        config: TrainingConfig,
        ranks: Ranks,
        *,
        training: Loader | PipedSamples,
        validation: Loader | PipedSamples | None,
        recorder: Recorder,
        heartbeat: Heartbeat,
        ledger: Ledger | None = None,
        shortage: str = "",
    ) -> None:
        """Take everything that a run is made of; nothing is read or written before `fit`.

        `shortage` says why the ranks of this job have begun again; empty for their first start.
        """
        self.replica, self.task, self.config, self.ranks = replica, task, config, ranks
        self.training, self.validation = training, validation
        self.state = State(replica.module, build_optimizer(replica.module, config), best={})
        self.progress = Progress()
        self._recorder = recorder
        self._ledger = ledger
        self._shortage = shortage
        self._heartbeat = heartbeat
        self._checkpoints: Checkpoints | None = None
        self._scaler = torch.amp.GradScaler(ranks.device.type, enabled=config.precision == "fp16")
        epoch_steps = training.steps()
        self._total_steps = min(epoch_steps * config.epochs, config.max_steps or math.inf)

    def fit(self, checkpoints: Checkpoints | None, interrupt: Interrupt) -> dict[str, float]:
        """Train to the end or to the interrupt and return the metrics of the weights that are best.

        Raises:
            UserError: the loss is no longer a finite number.
        """
        self._checkpoints = checkpoints
        if checkpoints:
            self.progress = checkpoints.resume(self.state)
        if self.progress.scaler:
            self._scaler.load_state_dict(self.progress.scaler)
        if self._shortage and self.ranks.is_first:
            size = self.config.micro_batch_size
            log.warning("%s: going on after step %d with %d at once", self._shortage, self.progress.step, size)
        self._recorder.start(self.progress.step, int(self._total_steps))
        if self._ledger:
            self._ledger.go_on(self.progress.step)
        metrics: dict[str, float] = {}
        while not self._finished():
            started = time.monotonic()
            meter, interrupted = self._train_epoch(interrupt)
            if interrupted:
                log.warning("told to stop: leaving after step %d", self.progress.step)
                metrics = named("train", meter.total(self.task))
                break
            metrics = self._close_epoch(meter, started)
            # The epoch's own checkpoint, unless one was asked for every so many steps.
            if not self.config.checkpoint_every:
                self._save(meter)
        self._heartbeat.enter("end")
        if checkpoints:
            checkpoints.wait()
        return self._settle(metrics)

    def _finished(self) -> bool:
        patience = self.config.patience
        if patience and self.progress.worse >= patience:
            log.info("no better validation loss in %d evaluations: stopping early", patience)
            return True
        # A run that was stopped at its last step has trained enough, but has not closed its epoch yet.
        return self.progress.step >= self._total_steps and self.progress.closed == self.progress.step

    def _train_epoch(self, interrupt: Interrupt) -> tuple[Meter, bool]:
        """Train to the end of the epoch; tell whether an interrupt came first."""
        progress, meter = self.progress, Meter(self.ranks, self.progress.epoch_sums)
        self.replica.module.train()
        self._heartbeat.enter("start")
        for batch in self._recorder.epoch(self.training.epoch(progress.epoch, progress.epoch_step)):
            if progress.step >= self._total_steps:
                break
            self._heartbeat.ready()
            sums = self._step(batch, interrupt)
            meter.add(sums)
            progress.step += 1
            progress.epoch_step += 1
            self._heartbeat.beat(progress.step)
            self._recorder.step(progress.step, progress.epoch + 1, sums)
            if self._ledger and batch.sample_ids is not None:
                # Ranks that share layers see the same samples: one of them counts.
                ids = batch.sample_ids if self.replica.mesh.counts else batch.sample_ids[:0]
                progress.ledger = self._ledger.add(progress.ledger, step=progress.step, epoch=progress.epoch, ids=ids)
            if self.replica.interrupted:
                self._save(meter, interrupt)
                return meter, True
            if self.config.checkpoint_every and progress.step % self.config.checkpoint_every == 0:
                self._save(meter)
        return meter, False

    def _save(self, meter: Meter, interrupt: Interrupt | None = None) -> None:
        """Save where checkpoints are kept; on an interrupt the last one, which is waited for."""
        if not self._checkpoints:
            return
        self._heartbeat.enter("save")
        if self.progress.epoch_step:
            self.progress.epoch_sums = meter.all_ranks()
        self.progress.scaler = self._scaler.state_dict()
        if interrupt:
            self._checkpoints.save_last(self.progress, self.state, interrupt.raised_at)
        else:
            self._checkpoints.save(self.progress, self.state)
        self._heartbeat.enter("step")

    def _step(self, batch: Batch, interrupt: Interrupt) -> Sums:
        config, optimizer = self.config, self.state.optimizer
        seed_step(config.seed, self.progress.step, self.replica.mesh.data_rank, everywhere=config.model not in MODELS)
        set_learning_rate(optimizer, learning_rate(self.progress.step, config, int(self._total_steps)))
        optimizer.zero_grad()
        sums = self.replica.accumulate(batch, self.task, self._scaler, lambda: interrupt.raised)
        if config.grad_clip:
            self._scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(self.replica.module.parameters(), config.grad_clip)
        if self._checkpoints:
            self._checkpoints.staged()
        self._scaler.step(optimizer)
        self._scaler.update()
        return sums

    def _close_epoch(self, meter: Meter, started: float) -> dict[str, float]:
        """Evaluate, publish, and move on to the next epoch, unless `max_steps` ended this one early."""
        progress, number = self.progress, self.progress.epoch + 1
        metrics = named("train", meter.total(self.task))
        seconds = time.monotonic() - started
        samples = meter.seen()
        last = number >= self.config.epochs or progress.step >= self._total_steps
        if self.validation and (number % self.config.eval_every == 0 or last):
            metrics |= self._evaluate(self.validation)
        self._check_finite(metrics)
        progress.closed = progress.step
        if progress.epoch_step >= self.training.steps():
            progress.epoch, progress.epoch_step, progress.epoch_sums = number, 0, [0.0, 0.0, 0.0]
        self._recorder.close_epoch(metrics, epoch=number, step=progress.step, seconds=seconds, samples=samples)
        return metrics

    def _evaluate(self, loader: Loader | PipedSamples) -> dict[str, float]:
        """Measure on the validation channel and remember the weights if they are the best so far."""
        self.replica.module.eval()
        self._heartbeat.enter("evaluate")
        meter = Meter(self.ranks)
        for batch in loader.epoch(0):
            meter.add(self.replica.evaluate(batch, self.task))
            self._heartbeat.beat(self.progress.step, "evaluate")
        metrics = meter.total(self.task)
        if metrics["loss"] < self.progress.best.get("loss", math.inf):
            self.progress.best, self.progress.worse = metrics, 0
            self.state.best.update({name: tensor.clone() for name, tensor in self.replica.module.state_dict().items()})
        else:
            self.progress.worse += 1
        return named("validation", metrics)

    def _check_finite(self, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise UserError(
                    f"{name} is {value} after step {self.progress.step}. Expected a finite number: lower "
                    f"'learning_rate' (now {self.config.learning_rate:g}), set 'grad_clip', or use "
                    f"precision 'fp32' (now {self.config.precision!r})."
                )

    def _settle(self, metrics: dict[str, float]) -> dict[str, float]:
        """Go back to the best weights; those that were never measured on a validation channel stay."""
        if not self.state.best:
            return metrics
        self.replica.module.load_state_dict(self.state.best)
        return named("validation", self.progress.best)
