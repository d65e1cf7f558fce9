from pathlib import Path

import numpy as np
import pytest
from twofold.formats import aialgs
from twofold.stream.catalog import Host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(scratch=tmp_path / "scratch")


@pytest.fixture
def rows():
    """Label and features of 1,000 samples; the label is the sample's number."""
    rng = np.random.default_rng(0)
    return np.arange(1000, dtype=np.float32), rng.standard_normal((1000, 5)).astype(np.float32)


@pytest.fixture
def write_recordio(rows):
    """Write samples first to last - 1 as a shard."""
    labels, features = rows

    def write(path: Path, first: int, last: int) -> bytes:
        data = b"".join(aialgs.encode({"label": labels[i], "features": features[i]}) for i in range(first, last))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return data

    return write
