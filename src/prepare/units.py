"""The input cut into units, one of them a shard: the cut depends on the input and the arguments, never on the workers.

So units can be made in any order, by any number of processes and hosts, and made again after a crash.
"""

import itertools
import tempfile
from dataclasses import dataclass

from ..contract.paths import scratch
from . import shaping
from .options import Options
from .source import Source
from .writers import open_writer

_PROBES = 4


@dataclass(frozen=True, slots=True)
class Unit:
    """A range of the input that becomes one shard (one for training and one for validation)."""

    number: int
    start: int
    """First unit of measure of the source."""
    stop: int


def cut(options: Options, source: Source) -> list[Unit]:
    """Cut the whole input evenly, so that shards have about the size asked for; then take this host's share."""
    if not source.size:
        return []
    total = source.size * _growth(options, source)
    count = min(max(round(total / options.shard_bytes), 1), source.size)
    edges = [source.size * number // count for number in range(count + 1)]
    units = [Unit(number, *edge) for number, edge in enumerate(itertools.pairwise(edges))]
    if options.sharded or options.hosts == 1:
        return units
    mine = (len(units) * options.host // options.hosts, len(units) * (options.host + 1) // options.hosts)
    return units[slice(*mine)]


def _growth(options: Options, source: Source) -> float:
    """Bytes written for one unit of measure read, by a few blocks from all over the input."""
    read = written = 0
    for number in range(_PROBES):
        start = source.size * number // _PROBES
        for stop, columns in source.blocks(start, source.size * (number + 1) // _PROBES):
            with tempfile.TemporaryFile(dir=scratch()) as out:
                writer = open_writer(options.format, out)
                labelled = shaping.labelled(columns, options.label, options.format)
                writer.write(shaping.fitted(labelled, options.format, 0, 0))
                writer.close()
                written += out.seek(0, 2)
            read += stop - start
            break
    return written / read if read else 1.0
