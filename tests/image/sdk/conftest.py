"""AWS's own SDKs and command line, each in an environment of its own, because their pins conflict with ours.

    .cache/sdk/<name>-<hash>    an environment made from docker/locks/<name>.txt, kept until the lock changes
    <tmp_path>/home             what a user of local mode has in `~/.sagemaker`
    <tmp_path>/work             what the SDK writes and mounts: configuration, model, artifacts

The SDKs run with dummy credentials and a proxy that refuses: whatever is not on this machine cannot be reached.
"""

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
NOBODY = "http://127.0.0.1:9"
COLOUR = re.compile(r"\x1b\[[0-9;]*m|\r")


def docker(*arguments: str) -> list[str]:
    done = subprocess.run(["docker", *arguments], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def environment(name: str) -> Path:
    lock = ROOT / "docker" / "locks" / f"{name}.txt"
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = ROOT / ".cache" / "sdk" / f"{name}-{digest}"
    python, finished = folder / "bin" / "python", folder / "finished"
    if not finished.exists():
        for old in folder.parent.glob(f"{name}-*"):
            shutil.rmtree(old)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--require-hashes", "--requirement", lock], check=True, timeout=900)
        finished.touch()
    return python


@dataclass(frozen=True, slots=True)
class SDK:
    """One version of the SDK in local mode, and the containers it starts."""

    python: Path
    home: Path
    work: Path

    def run(self, script: str, *arguments: object, seconds: int = 300) -> str:
        """Run one of the flows beside this file; its output, with that of the containers, without colours."""
        log = self.home / "output.txt"
        command = [self.python, HERE / script, *map(str, arguments)]
        # Into a file: a pipe would be held open by docker compose if the flow had to be killed.
        with log.open("wb") as output:
            flow = subprocess.run(
                command,
                check=False,
                cwd=self.home,
                env=self.environ(),
                stdout=output,
                stderr=output,
                timeout=seconds,
            )
        text = COLOUR.sub("", log.read_text(encoding="utf-8", errors="replace"))
        # Last what the containers said last: the SDK's own traceback says nothing of them.
        said = [line for line in text.splitlines() if " | " in line or "algo-" in line]
        assert flow.returncode == 0, "\n".join([text, "", *said[-40:]])
        return text

    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name.startswith("DOCKER_")}
        return {
            "DOCKER_CONFIG": str(Path.home() / ".docker"),
            **kept,
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "AWS_ACCESS_KEY_ID": "dummy",
            "AWS_SECRET_ACCESS_KEY": "dummy",
            "AWS_DEFAULT_REGION": "us-west-2",
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAGEMAKER_USER_CONFIG_OVERRIDE": str(self.home / "defaults.yaml"),
            "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(self.home / "defaults.yaml"),
            "HTTP_PROXY": NOBODY,
            "HTTPS_PROXY": NOBODY,
            "NO_PROXY": "localhost,127.0.0.1",
        }

    def containers(self, *, running: bool = False) -> list[str]:
        """Ids of the containers that came from compose files in the work folder."""
        label = "com.docker.compose.project.working_dir"
        ids = docker("ps", *(["--quiet"] if running else ["--quiet", "--all"]), "--filter", f"label={label}")
        folders = docker("inspect", "--format", f'{{{{index .Config.Labels "{label}"}}}}', *ids) if ids else []
        return [id_ for id_, folder in zip(ids, folders, strict=True) if Path(folder).is_relative_to(self.work)]

    def sweep(self) -> None:
        """Remove what the SDK itself leaves behind on any machine: its stopped containers and its network."""
        if leftovers := self.containers():
            docker("rm", "--force", "--volumes", *leftovers)
        if docker("network", "ls", "--quiet", "--filter", "name=^sagemaker-local$"):
            docker("network", "rm", "sagemaker-local")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def make_sdk(tmp_path: Path) -> Iterator[Callable[[str], SDK]]:
    """Make the SDK of a lock ready to run; whatever it started is gone afterwards."""
    home, work = tmp_path / "home", tmp_path / "work"
    made: list[SDK] = []

    def make(name: str) -> SDK:
        sdk = SDK(environment(name), home, work)
        work.mkdir()
        (home / ".sagemaker").mkdir(parents=True)
        # local_code: artifacts stay on this machine. The port is the SDK's own setting too; its default is 8080.
        (home / ".sagemaker" / "config.yaml").write_text(
            f"local:\n  local_code: true\n  container_root: {work}\n  serving_port: {free_port()}\n"
        )
        (home / "defaults.yaml").write_text(
            "SchemaVersion: '1.0'\nSageMaker:\n  PythonSDK:\n    Modules:\n      TelemetryOptOut: true\n"
        )
        made.append(sdk)
        return sdk

    yield make
    for sdk in made:
        sdk.sweep()
