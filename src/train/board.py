"""Events for TensorBoard, by tensorboardX: no TensorFlow and no torch.utils are needed."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

FLUSH_S = 20
"""Time between writes to disk; SageMaker uploads the folder while a job runs."""


class Board:
    """One file of events in a folder, made with the first event."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; nothing is written yet."""
        self._folder = folder
        self._writer: Any = None
        self._purge_step: int | None = None

    def start(self, step: int) -> None:
        """Go on from a step: what an earlier run wrote after it no longer counts."""
        self._purge_step = step + 1 if step else None

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Add values; `train:loss` is called `train/loss`, so that TensorBoard groups by channel."""
        if self._writer is None:
            from tensorboardX import SummaryWriter  # noqa: PLC0415 - it brings boto3, which takes long to load

            self._writer = SummaryWriter(str(self._folder), purge_step=self._purge_step, flush_secs=FLUSH_S)
        for name, value in values.items():
            tag = name.replace(":", "/") if ":" in name else f"run/{name}"
            self._writer.add_scalar(tag, value, step)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
