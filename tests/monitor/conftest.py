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
