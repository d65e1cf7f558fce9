"""Events for TensorBoard, by tensorboardX: no TensorFlow and no torch.utils are needed.

Its `SummaryWriter` puts events into a queue of multiprocessing, whose semaphores lie in /dev/shm and fail where that is
full or as good as missing: a few numbers now and then are written without one.
"""

import contextlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

FLUSH_S = 20
"""Time between writes to disk; SageMaker uploads the folder while a job runs."""


class Board:
    """One file of events in a folder, made with the first event; a full disk costs events, not the job."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; nothing is written yet."""
        self._folder = folder
        self._writer: Any = None
        self._purge_step: int | None = None
        self._flushed = time.monotonic()
        self._broken = False

    def start(self, step: int) -> None:
        """Go on from a step: what an earlier run, or an earlier start of this one, wrote after it no longer counts."""
        self._purge_step = step + 1 if step or next(self._folder.glob("events*"), None) else None

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Add values; `train:loss` is called `train/loss`, so that TensorBoard groups by channel."""
        if not self._broken:
            try:
                self._add(values, step)
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            try:
                self._writer.close()
            except OSError as error:
                self._give_up(error)
            self._writer = None

    def _add(self, values: Mapping[str, float], step: int) -> None:
        # Not at the top: it brings boto3, which takes long to load.
        from tensorboardX.proto.event_pb2 import Event  # noqa: PLC0415
        from tensorboardX.summary import scalar  # noqa: PLC0415

        if self._writer is None:
            self._writer = self._open()
        for name, value in values.items():
            tag = name.replace(":", "/") if ":" in name else f"run/{name}"
            self._writer.write_event(Event(wall_time=time.time(), step=step, summary=scalar(tag, value)))
        if time.monotonic() > self._flushed + FLUSH_S:
            self._writer.flush()
            self._flushed = time.monotonic()

    def _give_up(self, error: OSError) -> None:
        self._broken = True
        if self._writer is not None:
            # The writer flushes before it closes its file, which fails again and would leave the file open.
            with contextlib.suppress(OSError):
                self._writer._py_recordio_writer.close()  # noqa: SLF001
            self._writer = None
        log.error("no more events for TensorBoard in %s: %s", self._folder, error)

    def _open(self) -> Any:  # noqa: ANN401 - tensorboardX has no types
        from tensorboardX.event_file_writer import EventsWriter  # noqa: PLC0415
        from tensorboardX.proto.event_pb2 import Event, SessionLog  # noqa: PLC0415

        self._folder.mkdir(parents=True, exist_ok=True)
        writer = EventsWriter(str(self._folder / "events"))
        if self._purge_step is not None:
            begun = SessionLog(status=SessionLog.START)
            writer.write_event(Event(wall_time=time.time(), step=self._purge_step, session_log=begun))
        return writer
