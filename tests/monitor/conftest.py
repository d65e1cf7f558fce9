"""`monitor` as a process, captured traffic, and tables of numbers."""

import json
from functools import partial

import pytest


@pytest.fixture(scope="session")
def monitor(run_command):
    """Run `monitor ...` to its end."""
    return partial(run_command, "twofold.monitor")


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
