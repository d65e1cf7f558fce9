"""The same samples in the same order: processes killed in mid-epoch and resumed on other numbers of ranks."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest

pytestmark = [pytest.mark.procs, pytest.mark.slow]

BATCH, EPOCHS, SHARDS = 48, 2, ((0, 400), (400, 401), (401, 700), (700, 1000))
STEPS = -(-1000 // BATCH)

RANK = """
import json, os, signal, sys
from pathlib import Path
from twofold.stream.catalog import Host, open_dataset
from twofold.stream.loader import StreamingLoader

folder, scratch, ledger, state, rank, world, limit = sys.argv[1:]
dataset = open_dataset(Path(folder), channel="train", host=Host(Path(scratch)))
loader = StreamingLoader(dataset, BATCH, seed=11, rank=int(rank), world=int(world))
if os.path.exists(state):
    loader.load_state_dict(json.loads(Path(state).read_text()))
steps = 0
out = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
while loader.epoch < EPOCHS:
    epoch = loader.epoch
    for batch in loader:
        step = [epoch, loader.step - 1, batch["label"].long().tolist(), loader.state_dict()]
        os.write(out, json.dumps(step).encode() + b"\\n")
        os.fsync(out)
        steps += 1
        if steps == int(limit):
            signal.pause()
""".replace("BATCH", str(BATCH)).replace("EPOCHS", str(EPOCHS))


def ledger_of(path):
    """Whole lines: a line that was being written when its process was killed does not count."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


class Run:
    """Ranks as processes, from a common state."""

    def __init__(self, folder, tmp_path, number, world, state, limit=0):
        """A rank that has done `limit` steps waits to be killed, however late that happens."""
        self.paths = [tmp_path / f"ledger-{number}-{rank}" for rank in range(world)]
        arguments = [str(folder), str(tmp_path / "scratch")]
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-c", RANK, *arguments, str(path), str(state), str(rank), str(world), str(limit)]
            )
            for rank, path in enumerate(self.paths)
        ]

    def steps(self):
        """Steps that each rank has written."""
        return [len(ledger_of(path)) for path in self.paths]

    def wait_for(self, steps):
        """Wait until the slowest rank has come so far."""
        end = time.monotonic() + 240
        while min(self.steps()) < steps:
            assert time.monotonic() < end, f"{self.steps()} steps, waited for {steps}"
            assert all(process.poll() in {None, 0} for process in self.processes)
            time.sleep(0.002)

    def kill(self):
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
        for process in self.processes:
            process.wait(30)

    def wait(self):
        assert [process.wait(240) for process in self.processes] == [0] * len(self.processes)

    def ledger(self):
        """(epoch, step) -> sample ids over all ranks, of the steps that all ranks have; and the state after them."""
        ranks = [ledger_of(path) for path in self.paths]
        common = min(map(len, ranks))
        found = {}
        for entries in zip(*(entries[:common] for entries in ranks), strict=True):
            assert len({(epoch, step) for epoch, step, *_ in entries}) == 1
            found[tuple(entries[0][:2])] = [sample for _, _, samples, _ in entries for sample in samples]
        return found, ranks[0][common - 1][3] if common else None


@pytest.fixture
def folder(tmp_path, write_recordio):
    for number, (first, last) in enumerate(SHARDS):
        write_recordio(tmp_path / "data" / f"part-{number}.rec", first, last)
    return tmp_path / "data"


def test_killed_and_resumed_on_1_2_8_and_3_ranks_it_is_the_unbroken_run(folder, tmp_path):
    unbroken = Run(folder, tmp_path, "unbroken", 1, tmp_path / "none")
    state, found, chance = tmp_path / "state", {}, random.Random(5)
    for number, world in enumerate((1, 2, 8)):
        steps = chance.randrange(3, STEPS // 2)
        run = Run(folder, tmp_path, number, world, state, limit=steps + 3)
        try:
            run.wait_for(steps)
        finally:
            run.kill()
        done, last = run.ledger()
        found.update(done)
        assert len(found) < EPOCHS * STEPS, "it was to be killed in the middle"
        state.write_text(json.dumps(last))
    rest = Run(folder, tmp_path, "rest", 3, state)
    rest.wait()
    unbroken.wait()
    found.update(rest.ledger()[0])
    expected, _ = unbroken.ledger()
    assert found == expected
    assert list(found) == [(epoch, step) for epoch in range(EPOCHS) for step in range(STEPS)]
    for epoch in range(EPOCHS):
        assert sorted(sample for step in range(STEPS) for sample in found[epoch, step]) == list(range(1000))
