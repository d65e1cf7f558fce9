"""Which checkpoint to go on from: the newest one that the hosts together have whole.

The platform restores one prefix of S3 on every host, so each has everything; but not if a host's last upload did not
come through, nor where folders are of a host alone. So hosts say what they have, and lend files to those that miss any.
"""

import contextlib
import json
import logging
from pathlib import Path

import torch

from .checkpoint_manifest import MANIFEST, Manifest, folder_of, is_whole, parse_manifest, read_manifest, steps_in
from .ranks import Ranks

log = logging.getLogger(__name__)

_CHUNK_BYTES = 64 << 20


def choose(folder: Path, ranks: Ranks) -> Manifest | None:
    """Return the manifest of the newest whole checkpoint, all of whose files every host has then.

    Call it on every rank.
    """
    own = [step for step in steps_in(folder) if read_manifest(folder / folder_of(step) / MANIFEST)]
    everyones = [json.loads(_tell(json.dumps(own).encode(), host, ranks)) for host in range(ranks.hosts)]
    for step in sorted({step for steps in everyones for step in steps}, reverse=True):
        place = folder / folder_of(step)
        host = next(number for number, steps in enumerate(everyones) if step in steps)
        content = _tell(read_manifest(place / MANIFEST) if step in own else None, host, ranks)
        # A host can lose its file between two looks at it; then all others know by the same empty answer.
        if not content:
            continue
        manifest = parse_manifest(content)
        held = _held(place, manifest, ranks)
        names = sorted(manifest.files)
        missing = [name for name, hosts in zip(names, held.T, strict=True) if not hosts.any()]
        if missing:
            if ranks.is_first:
                log.warning("passing over the broken checkpoint %s: without a whole %s", place, ", ".join(missing))
            continue
        for name, hosts in zip(names, held.T, strict=True):
            if not hosts.all():
                place.mkdir(parents=True, exist_ok=True)
                _lend(place / name, hosts.tolist(), ranks)
        return manifest
    return None


def _tell(content: bytes | None, host: int, ranks: Ranks) -> bytes:
    """Hand what the first rank of a host has to every rank."""
    leader = host * ranks.local_world
    return ranks.broadcast(content if ranks.rank == leader else None, leader) or b""


def _held(place: Path, manifest: Manifest, ranks: Ranks) -> torch.Tensor:
    """Say which files each host has whole `[hosts, files]`; the ranks of a host look at some each."""
    held = torch.zeros((ranks.hosts, len(manifest.files)), dtype=torch.int64, device=ranks.device)
    for number, name in enumerate(sorted(manifest.files)):
        if number % ranks.local_world == ranks.local_rank:
            held[ranks.host, number] = int(is_whole(place / name, manifest.files[name]))
    return ranks.sum(held).bool().cpu()


def _lend(path: Path, hosts: list[bool], ranks: Ranks) -> None:
    """Copy a file from the first host that has it to those that have not."""
    lender = hosts.index(True) * ranks.local_world
    takes = ranks.local_rank == 0 and not hosts[ranks.host]
    partial = path.with_name(f".{path.name}.partial")
    with contextlib.ExitStack() as files:
        source = files.enter_context(path.open("rb")) if ranks.rank == lender else None
        target = files.enter_context(partial.open("wb")) if takes else None
        while chunk := ranks.broadcast((source.read(_CHUNK_BYTES) or None) if source else None, lender):
            if target:
                target.write(chunk)
    if takes:
        partial.replace(path)
    ranks.barrier()
