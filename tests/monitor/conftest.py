"""`monitor` as a process, captured traffic, and tables of numbers."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

COMMAND = [sys.executable, "-P", "-m", "twofold.monitor"]
DEADLINE = 120


@dataclass
class Run:
    """A run that has ended."""

    code: int
    log: str


@pytest.fixture(scope="session")
def monitor():
    """Run `monitor ...` to its end."""

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
def read_json():
    """A file as JSON."""

    def read(path):
        return json.loads(path.read_text())

    return read


class Traffic:
    """Writes captured traffic as the platform lays it out."""

    def __init__(self, folder):
        self.folder = folder

    def write(self, hour, lines, name="a.jsonl"):
        """Write lines of an hour such as `2026-11-25T13`."""
        folder = self.folder / "endpoint" / "AllTraffic" / hour[:10].replace("-", "/") / hour[11:13]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
        return self.folder

    @staticmethod
    def line(data, answer=None, *, time="2026-11-25T13:10:00Z", kind="text/csv", encoding="CSV", truth=None):
        """One request, its answer and what was true."""
        event = {
            "captureData": {"endpointInput": side(data, kind, encoding, "INPUT")},
            "eventMetadata": {"eventId": "aaaa", "inferenceTime": time},
            "eventVersion": "0",
        }
        if answer is not None:
            event["captureData"]["endpointOutput"] = side(answer, kind, encoding, "OUTPUT")
        if truth is not None:
            event["groundTruthData"] = {"data": truth, "encoding": "CSV"}
        return json.dumps(event)


def side(data, kind, encoding, mode):
    return {"observedContentType": kind, "mode": mode, "data": data, "encoding": encoding}


@pytest.fixture
def traffic(tmp_path):
    """A folder of captured traffic."""
    return Traffic(tmp_path / "captured")
