"""Inputs of every kind, the command as a process, and what it wrote read back as training reads it."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from twofold.stream.catalog import Host, open_dataset


@pytest.fixture(scope="session")
def prepare(run_command):
    """Run `prepare IN OUT ...` to its end."""
    return partial(run_command, "twofold.prepare")


@pytest.fixture(scope="session")
def read_back(tmp_path_factory):
    """Read all records of a prepared folder, of one host or several: columns by name, in the order of the shards."""

    def read(folder):
        dataset = open_dataset(
            folder, channel="prepared", host=Host(tmp_path_factory.mktemp("host")), may_be_empty=True
        )
        return (
            {name: list(column) for name, column in dataset.read(np.arange(len(dataset)))[0].items()}
            if len(dataset)
            else {}
        )

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
