"""A baseline of the training data, for `monitor` to hold traffic against."""

import logging
from pathlib import Path

import numpy as np

from ..baseline.columns import flat
from ..baseline.files import write_baseline
from ..baseline.summary import Summary
from .channels import Source
from .samples import Samples

log = logging.getLogger("twofold.train")

_BLOCK_BYTES, _BLOCK_ROWS = 1 << 24, 1 << 14


def write_data_baseline(folder: Path, training: Source) -> None:
    """Read the samples of this host once more, field by field, and write what they are like."""
    if not isinstance(training, Samples) or training.fields.takes != "numbers":
        log.warning("no baseline is written: it is made of tables and vectors of numbers, in File or FastFile mode")
        return
    dataset, summary = training.dataset, Summary()
    step = int(min(max(_BLOCK_BYTES / max(dataset.record_bytes, 1), 1), _BLOCK_ROWS))
    told: set[str] = set()
    for first in range(0, len(dataset), step):
        columns, _ = dataset.read(np.arange(first, min(first + step, len(dataset))))
        summary.add(*flat(columns, told))
    write_baseline(summary, folder)
    here = "" if summary.rows == training.samples else f" of {training.samples}: those of this host"
    log.info("baseline of %d samples%s written to %s", summary.rows, here, folder)
