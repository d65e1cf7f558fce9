"""Real containers of the image: named, watched and removed, so that nothing is left behind whatever happens.

Everything here fails, and never skips, without an engine (`.ci/engine`) or without the image (`make image`).

    docker          docker("image", "inspect", name) -> CompletedProcess; an exit code of not 0 fails the test
    run             run("train", opt_ml=tree) -> CompletedProcess of a container that has ended, any exit code
    start           start("serve", opt_ml=tree) -> Container that runs on
    digits          the example data: the channels `training` and `validation`, and the held-out digits as rows
    opt_ml          opt_ml(epochs=2) -> a host's tree with both channels
    cluster         cluster(epochs=2) -> Cluster: two hosts have trained, with a tree each
    rehearsal       a rehearsal on this engine, one a file; afterwards its containers and networks are gone
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from ..rehearse.conftest import Rehearsal

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, so that no file can forget to."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.image)


def command(*arguments: object, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run `docker ARGUMENTS`; with `check`, an exit code other than 0 fails the test with what docker said."""
    argv = ["docker", *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode:
        pytest.fail(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}", pytrace=False)
    return done


def wait_until(condition: Callable[[], object], what: str, *, seconds: float) -> None:
    """Poll a condition until it holds; past the deadline the test fails."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Container:
    """A container that was started and may still run."""

    name: str

    def inspect(self, template: str) -> str:
        """One value of `docker inspect`, by a Go template."""
        return command("inspect", "--format", template, self.name).stdout.strip()

    @property
    def running(self) -> bool:
        return self.inspect("{{.State.Running}}") == "true"

    @property
    def url(self) -> str:
        """Base address of the published port 8080, on the loopback."""
        return "http://" + command("port", self.name, "8080/tcp").stdout.splitlines()[0]

    def logs(self) -> str:
        """Everything it has printed so far, both streams."""
        done = command("logs", self.name)
        return done.stdout + done.stderr

    def execute(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program inside; the only way in when it has no network."""
        return command("exec", self.name, *argv, check=check)

    def ping(self) -> int:
        """Status of `/ping`, asked from inside; 0 while nothing listens."""
        ask = (
            "import http.client\nc = http.client.HTTPConnection('127.0.0.1', 8080, timeout=2)\n"
            "try:\n    c.request('GET', '/ping')\n    print(c.getresponse().status)\nexcept OSError:\n    print(0)"
        )
        # Unchecked: the container may end between any two questions, and then its log is what tells why.
        done = self.execute("python3", "-c", ask, check=False)
        return 0 if done.returncode else int(done.stdout)

    def wait_for_ping(self, *, seconds: float = 60) -> None:
        """Wait until `/ping` is 200; ends at once, with the log, when the container has died."""

        def answered() -> bool:
            if not self.running:
                pytest.fail(f"{self.name} ended before /ping was 200:\n{self.logs()}", pytrace=False)
            return self.ping() == 200

        wait_until(answered, f"/ping of {self.name} is 200", seconds=seconds)

    def wait_for_log(self, text: str, *, seconds: float = 60) -> None:
        """Wait until a text is in the log."""
        wait_until(lambda: text in self.logs(), f"{text!r} in the log of {self.name}", seconds=seconds)

    def post(self, path: str, body: bytes, **headers: str) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request to the published port; header names are written with underscores. Errors are answers too."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, data=body, headers=named, method="POST")
        opener = urllib.request.OpenerDirector()
        opener.add_handler(urllib.request.HTTPHandler())
        with opener.open(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()

    def stop(self, *, seconds: int = 30) -> float:
        """SIGTERM, then SIGKILL after so many seconds; how long it took in seconds."""
        started = time.monotonic()
        command("stop", "--time", seconds, self.name, timeout=seconds + 30)
        return time.monotonic() - started

    def wait(self, *, seconds: float = 120) -> int:
        """Exit code, once it has ended."""
        return int(command("wait", self.name, timeout=seconds).stdout)


@pytest.fixture(scope="session")
def docker() -> Run:
    """The docker command, once an engine answers."""
    try:
        answer = command("info", "--format", "{{.ServerVersion}}", check=False, timeout=30)
    except FileNotFoundError:
        pytest.fail("no docker command is on PATH: run .ci/engine, or install Docker", pytrace=False)
    if answer.returncode:
        pytest.fail(f"no Docker engine answers: run .ci/engine, or start Docker\n{answer.stderr}", pytrace=False)
    return command


@pytest.fixture(scope="session")
def image(docker: Run) -> str:
    """Name of the image under test: `twofold:cpu`, or what IMAGE says."""
    name = os.environ.get("IMAGE", "twofold:cpu")
    if docker("image", "inspect", name, check=False).returncode:
        pytest.fail(f"the image {name} is not there: run `make image`", pytrace=False)
    return name


@pytest.fixture(scope="session")
def studio(docker: Run) -> str:
    """Name of the image for Studio, built on the layers of the one that is tested."""
    name = "twofold:studio"
    build = subprocess.run(
        [ROOT / "docker" / "build", "cpu", "--target", "studio"],
        env={**os.environ, "IMAGE": name}, capture_output=True, text=True, timeout=560, check=False,
    )  # fmt: skip
    assert build.returncode == 0, build.stderr[-2000:]
    return name


@pytest.fixture(scope="session")
def names() -> Callable[[], str]:
    """Names of containers that nobody else on this machine has."""
    numbers = count(1)
    return lambda: f"twofold-test-{os.getpid()}-{next(numbers)}"


def options(name: str, opt_ml: Path | None, environ: Mapping[str, str]) -> list[str]:
    """Options that every container of a test starts with."""
    found = ["--name", name]
    if opt_ml is not None:
        found += ["--volume", f"{opt_ml}:/opt/ml"]
    for key, value in environ.items():
        found += ["--env", f"{key}={value}"]
    return found


@pytest.fixture
def run(docker: Run, image: str, names: Callable[[], str]) -> Run:
    """`run(*command, opt_ml=, environ=, flags=, timeout=)`: a container to its end, then it is removed."""

    def run_to_the_end(
        *argv: str,
        opt_ml: Path | None = None,
        environ: Mapping[str, str] | None = None,
        flags: Sequence[str] = (),
        timeout: float = 180,
    ) -> subprocess.CompletedProcess[str]:
        name = names()
        try:
            return docker(
                "run", *options(name, opt_ml, environ or {}), *flags, image, *argv, check=False, timeout=timeout
            )
        finally:
            docker("rm", "--force", "--volumes", name, check=False)

    return run_to_the_end


@pytest.fixture
def start(docker: Run, image: str, names: Callable[[], str]) -> Iterator[Callable[..., Container]]:
    """`start(*command, opt_ml=, environ=, flags=)`: a container that runs on until the test ends."""
    started: list[str] = []

    def start_detached(
        *argv: str, opt_ml: Path | None = None, environ: Mapping[str, str] | None = None, flags: Sequence[str] = ()
    ) -> Container:
        name = names()
        started.append(name)
        published = () if "--network" in flags else ("--publish", "127.0.0.1::8080")
        docker("run", "--detach", *options(name, opt_ml, environ or {}), *published, *flags, image, *argv)
        return Container(name)

    yield start_detached
    if started:
        docker("rm", "--force", "--volumes", *started, check=False)


@dataclass(frozen=True, slots=True)
class Digits:
    """The digits of examples/digits."""

    channels: Mapping[str, Path]
    """Folders of the channels `training` and `validation`."""
    rows: list[list[int]]
    """Pixels of each held-out digit."""
    labels: list[int]
    """What each of them is."""

    def accuracy(self, answers: Sequence[int]) -> float:
        """Share of the held-out digits that were answered right."""
        return sum(got == want for got, want in zip(answers, self.labels, strict=True)) / len(self.labels)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    """The example data, laid out as its README says."""
    folder = tmp_path_factory.mktemp("digits")
    subprocess.run([sys.executable, ROOT / "examples" / "digits" / "digits.py", folder], check=True)
    lines = (folder / "validation" / "digits.csv").read_text().splitlines()
    table = [[int(value) for value in line.split(",")] for line in lines]
    channels = {name: folder / name for name in ("training", "validation")}
    return Digits(channels, [row[1:] for row in table], [row[0] for row in table])


def make_trees(
    folder: Path, hosts: Sequence[str], channels: Mapping[str, Path], parameters: Mapping[str, object]
) -> None:
    """Write a tree a host with the script that the two-host rehearsal uses as well."""
    script = ROOT / "docker" / "cluster" / "tree.py"
    subprocess.run(
        [sys.executable, script, folder, *tree_arguments(channels, parameters), "--hosts", *hosts], check=True
    )


def tree_arguments(channels: Mapping[str, Path], parameters: Mapping[str, object]) -> list[str]:
    """Arguments of tree.py; a hyperparameter that is no string is written as JSON, as the SDK does."""
    named = [f"--channel={name}={path}" for name, path in channels.items()]
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in parameters.items()}
    return named + [f"{key}={text}" for key, text in texts.items()]


@pytest.fixture
def release(docker: Run, image: str) -> Callable[[Path], None]:
    """Give what containers wrote as root to whoever runs the tests; nothing to do when that is root."""

    def give_back(folder: Path) -> None:
        if os.getuid():
            mount = f"{folder}:/mnt"
            docker("run", "--rm", "--volume", mount, image, "chown", "-R", f"{os.getuid()}:{os.getgid()}", "/mnt")

    return give_back


@pytest.fixture
def opt_ml(tmp_path: Path, digits: Digits, release: Callable[[Path], None]) -> Iterator[Callable[..., Path]]:
    """`opt_ml(channels=, **hyperparameters)`: an /opt/ml of one host, anew at each call."""
    numbers = count(1)

    def make(channels: Mapping[str, Path] | None = None, **parameters: object) -> Path:
        folder = tmp_path / f"tree-{next(numbers)}"
        make_trees(folder, ["algo-1"], digits.channels if channels is None else channels, parameters)
        return folder / "algo-1"

    yield make
    release(tmp_path)


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a rehearsal on two hosts has left."""

    exit_code: int
    log: str
    """Output of both hosts, each line with the host's name in front."""
    trees: Mapping[str, Path]
    """The /opt/ml of each host."""


@pytest.fixture
def cluster(
    tmp_path: Path, digits: Digits, image: str, release: Callable[[Path], None]
) -> Iterator[Callable[..., Cluster]]:
    """`cluster(channels=, seconds=, **hyperparameters)`: trains on algo-1 and algo-2 to the end."""
    numbers = count(1)

    def rehearse(channels: Mapping[str, Path] | None = None, seconds: float = 180, **parameters: object) -> Cluster:
        folder = tmp_path / f"cluster-{next(numbers)}"
        arguments = tree_arguments(digits.channels if channels is None else channels, parameters)
        start = partial(subprocess.Popen, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        argv = [str(ROOT / "docker" / "cluster" / "rehearse"), str(folder), *arguments]
        with start(argv, env={**os.environ, "IMAGE": image}, text=True) as process:
            try:
                log, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                # The whole group, so that the script comes to its trap and takes the containers down.
                os.killpg(process.pid, signal.SIGTERM)
                log, _ = process.communicate(timeout=60)
                pytest.fail(f"two hosts did not end within {seconds} s:\n{log}", pytrace=False)
        return Cluster(process.returncode, log, {host: folder / host for host in ("algo-1", "algo-2")})

    yield rehearse
    release(tmp_path)


@pytest.fixture(scope="module")
def rehearsal(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    del image  # it is there
    folder = tmp_path_factory.mktemp("rehearse")
    started = Rehearsal(folder / "state", folder / "rehearse.log", "--backend", "docker", "--grace", "30")
    yield started
    assert started.stop() == 0
    assert left(started) == ([], []), "containers and networks are gone"


def left(rehearsal: Rehearsal) -> tuple[list[str], ...]:
    """Containers and networks that carry the label of a rehearsal."""
    mark = (rehearsal.state / "id").read_text()
    kinds = (["ps", "--all"], ["network", "ls"])
    asked = (command(*what, "--quiet", "--filter", f"label=twofold.rehearsal={mark}") for what in kinds)
    return tuple(done.stdout.split() for done in asked)
