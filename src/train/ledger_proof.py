"""`twofold ledger`: no sample was lost or repeated, says one; two runs saw the same samples, say two."""

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from ..errors import DataError
from .ledger_file import Entry, Head, entry_after, hash_all, read_ledger


def faults(head: Head, entries: Sequence[Entry]) -> Iterator[str]:
    """Say what is wrong: steps that lack or come twice, and whole epochs that are not all samples once."""
    chain, step = "", 0
    for entry in entries:
        # A run without its earlier lines, as when its folder was not kept, still has the chain over them.
        if entry.step != step + 1 and step:
            yield f"step {entry.step} comes after step {step}"
        elif (step or entry.step == 1) and entry != _again(entry, chain):
            yield f"step {entry.step} does not continue the chain of the step before"
        chain, step = entry.chain, entry.step
    expected, samples = hash_all(head.sizes), sum(head.sizes)
    for epoch, steps in _whole_epochs(entries, samples).items():
        seen, total = sum(entry.samples for entry in steps), sum(int(entry.hash, 16) for entry in steps) % 2**64
        if (seen, total) != (samples, expected):
            yield f"epoch {epoch + 1} has seen {seen} samples, and not each of {samples} once"


def difference(entries: Sequence[Entry], others: Sequence[Entry]) -> str | None:
    """Say where two ledgers differ first, or that they share no step; None if they agree on all that they share."""
    other = {entry.step: entry for entry in others}
    shared = [entry for entry in entries if entry.step in other]
    if not shared:
        return "they share no step"
    for entry in shared:
        twin = other[entry.step]
        if (entry.epoch, entry.samples, entry.hash) != (twin.epoch, twin.samples, twin.hash):
            return f"step {entry.step} has seen other samples: {entry.samples} and {twin.samples} of them"
        if entry.chain != twin.chain:
            return f"steps before step {entry.step} have seen other samples"
    return None


def _again(entry: Entry, chain: str) -> Entry:
    return entry_after(chain, step=entry.step, epoch=entry.epoch, samples=entry.samples, total=int(entry.hash, 16))


def _whole_epochs(entries: Sequence[Entry], samples: int) -> dict[int, list[Entry]]:
    """Steps by epoch, of those whose first step is there and that are over: all seen, or another epoch has begun."""
    epochs: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        epochs[entry.epoch].append(entry)
    last = max(epochs, default=0)
    begun = {epoch for epoch, steps in epochs.items() if steps[0].step == 1 or epoch - 1 in epochs}
    over = {epoch for epoch, steps in epochs.items() if epoch < last or sum(each.samples for each in steps) >= samples}
    return {epoch: epochs[epoch] for epoch in sorted(begun & over)}


@click.command(name="ledger")
@click.argument("ledger", type=click.Path(path_type=Path))
@click.argument("other", type=click.Path(path_type=Path), required=False)
def main(ledger: Path, other: Path | None) -> None:
    """Check a ledger that `train` wrote with ledger=true: every epoch has seen every sample once.

    With OTHER, the ledger of another run of the same job: both have seen the same samples in the same steps, whatever
    stopped them and however many ranks they had.
    """
    try:
        head, entries = read_ledger(ledger)
        found = [f"{ledger}: {fault}" for fault in faults(head, entries)]
        if other:
            other_head, others = read_ledger(other)
            found += [f"{other}: {fault}" for fault in faults(other_head, others)]
            differs = "they are of other data" if head != other_head else difference(entries, others)
            found += [f"{ledger} and {other}: {differs}"] if differs else []
    except DataError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    for fault in found:
        click.echo(fault, err=True)
    if found:
        sys.exit(1)
    samples = sum(head.sizes)
    whole = len(_whole_epochs(entries, samples))
    click.echo(f"{ledger}: {len(entries)} steps, each of {samples} samples once in each of {whole} whole epochs")
    if other:
        last = min(entries[-1].step, others[-1].step)
        click.echo(f"{other}: the same samples in every step up to step {last}")


if __name__ == "__main__":
    main(prog_name="twofold ledger")
