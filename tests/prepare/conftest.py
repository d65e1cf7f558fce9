"""Inputs of every kind, the command as a process, and what it wrote read back as training reads it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from twofold.formats import parquet
from twofold.stream.catalog import Host, open_dataset

COMMAND = [sys.executable, "-P", "-m", "twofold.prepare"]
DEADLINE = 120


@dataclass
class Run:
    """A run that has ended."""

    code: int
    log: str


@pytest.fixture(scope="session")
def prepare():
    """Run `prepare IN OUT ...` to its end."""

    def run(*arguments, environ=None, expect=0):
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DEADLINE,
            check=False,
        )
        log = done.stdout.decode()
        assert done.returncode == expect, log
        assert "Traceback" not in log
        return Run(done.returncode, log)

    return run


@pytest.fixture(scope="session")
def read_back(tmp_path_factory):
    """Read all records of a prepared folder, of one host or several: columns by name, in the order of the shards."""

    def read(folder):
        parts = []
        for path in sorted(folder.glob("index*.json")):
            content = json.loads(path.read_text())
            if not content["shards"]:
                continue
            if content["format"] == "parquet":
                opened = [parquet.open_file((folder / shard["name"]).read_bytes()) for shard in content["shards"]]
                parts += [shard.group(number) for shard in opened for number in range(len(shard.group_rows))]
                continue
            view = tmp_path_factory.mktemp("host")
            (view / "index.json").write_bytes(path.read_bytes())
            for shard in content["shards"]:
                for found in (folder / shard["name"], folder / f".{shard['name']}.index.npy"):
                    if found.exists():
                        (view / found.name).symlink_to(found)
            dataset = open_dataset(view, channel="prepared", host=Host(view / ".scratch"))
            parts.append(dataset.read(np.arange(len(dataset)))[0])
        return {name: [value for part in parts for value in part[name]] for name in parts[0]} if parts else {}

    return read


@pytest.fixture(scope="session")
def index_of():
    """The index of a folder as JSON."""

    def read(folder, name="index.json"):
        return json.loads((folder / name).read_text())

    return read


@pytest.fixture(scope="session")
def content_of():
    """Every file below a folder with its bytes."""

    def read(folder: Path):
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return read


@pytest.fixture(scope="session")
def rows():
    """Rows of numbers, the label in front, as SageMaker's CSV has them."""
    rng = np.random.default_rng(3)
    table = rng.standard_normal((3000, 9)).astype(np.float32)
    table[:, 0] = rng.integers(0, 5, len(table))
    return table


@pytest.fixture(scope="session")
def write_csv():
    """Write rows to CSV files below a folder."""
    from twofold.formats import csv

    def write(folder, table, files=2):
        folder.mkdir(parents=True)
        for number, part in enumerate(np.array_split(table, files)):
            (folder / f"{number}.csv").write_bytes(csv.encode(part))
        return folder

    return write
