"""An environment without a platform in it, slow tests last, and /opt/ml trees on which the verbs run for real.

browser         a headless Chromium, driven by selenium, for tests marked `browser`
make_tree       make_tree({"training": {"a.csv": "1,2\n"}}, epochs=2) -> root of a tree as the platform mounts it
start_verb      start_verb("train", tree) -> Verb, a process that runs; ended after the session if it still does
run_verb        the same, to its end
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from twofold.contract.paths import Paths

# A slow machine is no failure: `timeout` of pytest bounds each test.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# ONNX Runtime in the process of the tests; of the verbs it is their own business.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

INPUT, OUTPUT = "/opt/ml/processing/input/data", "/opt/ml/processing/output/data"
_OF_THE_PLATFORM = ("SM_", "SAGEMAKER_", "TWOFOLD_", "TRAINING_JOB_", "AWS_")
DEADLINE = 120


@pytest.fixture(scope="session", autouse=True)
def _clean_environ():
    """Take away what the machine's own shell may say to a container."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(_OF_THE_PLATFORM)]:
            patch.delenv(name)
        yield


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Run what is fast first, whatever order chance has given."""
    items.sort(key=lambda item: item.get_closest_marker("procs") is not None)


@pytest.fixture(scope="session")
def make_tree(tmp_path_factory):
    """Write a tree; contents of files are text, bytes, or rows of numbers, written as the suffix says."""

    def make(channels, *, cluster=None, config=None, **hyperparameters):
        paths = Paths(tmp_path_factory.mktemp("ml"))
        for channel, files in channels.items():
            paths.channel(channel).mkdir(parents=True)
            for name, content in files.items():
                _write(paths.channel(channel) / name, content)
        if "sagemaker_program" not in hyperparameters:
            # Seconds for each job; those that are about the program ask for it.
            hyperparameters = {"export_onnx": False} | hyperparameters
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in hyperparameters.items()}
        _write(paths.hyperparameters, json.dumps(texts))
        if cluster is not None:
            _write(paths.resource_config, json.dumps(cluster))
        if config is not None:
            _write(paths.input_data_config, json.dumps(config))
        return paths

    return make


def _write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif path.suffix == ".npy":
        np.save(path, content)
    else:
        np.savetxt(path, content, fmt="%.9g", delimiter=",")


@dataclass
class Verb:
    """A verb that runs on a tree."""

    process: subprocess.Popen
    paths: Paths
    output: Path

    @property
    def log(self):
        """All lines so far."""
        return self.output.read_text()

    @property
    def failure(self):
        """The failure file, or None."""
        return self.paths.failure.read_text() if self.paths.failure.exists() else None

    @property
    def history(self):
        """Records of `metrics.jsonl`."""
        return [json.loads(line) for line in (self.paths.output_data / "metrics.jsonl").read_text().splitlines()]

    def wait(self):
        """Exit code, once it has ended."""
        return self.process.wait(DEADLINE)

    def wait_for(self, text):
        """Wait until a text is in the log."""
        end = time.monotonic() + DEADLINE
        while True:
            ended = self.process.poll() is not None  # before the log is read, which has all of it then
            if text in self.log:
                return
            assert not ended, f"ended before it said {text!r}:\n{self.log}"
            assert time.monotonic() < end, f"did not say {text!r} within {DEADLINE} s:\n{self.log}"
            time.sleep(0.01)

    def send(self, number=signal.SIGTERM):
        self.process.send_signal(number)


@pytest.fixture(scope="session")
def start_verb(tmp_path_factory):
    """Start `python -m twofold.<verb>` as the executables on PATH do."""
    started, numbers = [], count()

    def start(module, paths, *arguments, environ=None, cwd=None):
        output = tmp_path_factory.getbasetemp() / f"output-{next(numbers)}.log"
        with output.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments],
                env={**os.environ, "SAGEMAKER_BASE_DIR": str(paths.base), **(environ or {})},
                stdout=sink,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=cwd,
            )
        started.append(process)
        return Verb(process, paths, output)

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(DEADLINE)


@pytest.fixture(scope="session")
def run_verb(start_verb):
    """Run a verb to its end; `expect` is its exit code."""

    def run(module, paths, *arguments, expect=0, **options):
        verb = start_verb(module, paths, *arguments, **options)
        assert verb.wait() == expect, verb.log
        return verb

    return run


@pytest.fixture(scope="session")
def run_block():
    """Run a shell block of the README from the root of the repository and return what it prints."""

    def run(block):
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=Path(__file__).parents[1],
            env=environ,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return run


@pytest.fixture(scope="session")
def make_job():
    """Describe a processing job below `base`, as the platform does; returns the folders of its input and its output."""

    def make(base, *, host="algo-1", hosts=("algo-1",), distribution="ShardedByS3Key", mode="File"):
        paths = Paths(base)
        paths.processing_config.mkdir(parents=True)
        local = {"LocalPath": INPUT, "S3Uri": "s3://b/in", "S3DataDistributionType": distribution, "S3InputMode": mode}
        code = {"LocalPath": "/opt/ml/processing/input/code", "S3Uri": "s3://b/code"}
        job = {
            "ProcessingInputs": [{"InputName": "input-1", "S3Input": local}, {"InputName": "code", "S3Input": code}],
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": {"LocalPath": OUTPUT}}]},
        }
        (paths.processing_config / "processingjobconfig.json").write_text(json.dumps(job))
        cluster = {"current_host": host, "hosts": list(hosts)}
        paths.processing_resource_config.write_text(json.dumps(cluster))
        for folder in (INPUT, OUTPUT):
            (base / folder.removeprefix("/opt/ml/")).mkdir(parents=True)
        return base / INPUT.removeprefix("/opt/ml/"), base / OUTPUT.removeprefix("/opt/ml/")

    return make


@dataclass
class Ended:
    """A command that has ended."""

    code: int
    log: str


@pytest.fixture(scope="session")
def run_command():
    """Run the command of a module to its end."""

    def run(module, *arguments, environ=None, expect=0):
        done = subprocess.run(
            [sys.executable, "-P", "-m", module, *map(str, arguments)],
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
        return Ended(done.returncode, log)

    return run


@dataclass
class Imported:
    """What a process has imported."""

    modules: set[str]

    @property
    def packages(self):
        return {name.partition(".")[0] for name in self.modules}


@pytest.fixture(scope="session")
def imported():
    """`imported(log)`: what Python's `-X importtime` has listed among other lines."""

    def read(log):
        lines = [line for line in log.splitlines() if line.startswith("import time:")]
        return Imported({line.rpartition("|")[2].strip() for line in lines[1:]})

    return read


@pytest.fixture
def browser(tmp_path_factory):
    """A headless Chromium with a profile of its own, driven by selenium; `.ci/browser` installs it."""
    from selenium import webdriver

    profile = tmp_path_factory.mktemp("chromium")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for word in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-background-networking"):
        options.add_argument(f"--{word}")
    for word in ("disable-sync", "no-first-run", "window-size=1100,1080", f"user-data-dir={profile}"):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()
