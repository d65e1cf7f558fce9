"""Train, pack, serve and ask: the whole way of a model in a minute or two, on the digits beside this file.

    python examples/digits/demo.py                 the verbs of the installed package, two training processes
    python examples/digits/demo.py --image NAME    the same through `docker run`

Everything is written below `build/demo`; what was started is stopped at the end, whatever happens.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import digits
import numpy as np
import plots

ROOT = Path(__file__).parents[2]
HYPERPARAMETERS = {"epochs": "20", "batch_size": "64", "learning_rate": "0.001", "processes_per_host": "2"}
WANTED_ACCURACY = 0.96
SHOWN = 5
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", help="run the verbs of this image instead of the installed package")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "demo", help="where everything is written")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)

    title("1. Data: UCI optical digits as SageMaker mounts them")
    prepare(folder / "train")

    title("2. Train: two processes, one model")
    started = time.monotonic()
    train(folder / "train", arguments.image)
    print(f"trained in {time.monotonic() - started:.1f} s")

    title("3. Pack: model.tar.gz, and unpacked where an endpoint has it")
    repack(folder / "train" / "model", folder / "model.tar.gz", folder / "serve" / "model")

    title("4. Serve and ask")
    with serving(folder / "serve", arguments.image) as url:
        labels, predicted = ask(url)
    accuracy = float(np.mean(predicted == labels))

    title("5. Plots")
    plots.loss(folder / "train" / "output" / "data" / "metrics.jsonl", folder / "loss.png")
    plots.confusion(labels, predicted, folder / "confusion.png")
    if accuracy < WANTED_ACCURACY:
        print(f"demo: failed accuracy={accuracy:.3f}, wanted at least {WANTED_ACCURACY}")
        return 1
    print(f"demo: ok accuracy={accuracy:.3f}")
    return 0


def title(text: str) -> None:
    """Print the heading of a part."""
    print(f"\n== {text}", flush=True)


def shown(path: Path) -> Path:
    """Return the path as a person in the repository would type it."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def prepare(base: Path) -> None:
    """Lay out what the platform mounts below /opt/ml for a training job."""
    digits.write_channels(base / "input" / "data")
    config = base / "input" / "config"
    config.mkdir(parents=True)
    channel = {"TrainingInputMode": "File", "ContentType": "text/csv", "S3DistributionType": "FullyReplicated"}
    (config / "inputdataconfig.json").write_text(json.dumps({"training": channel, "validation": channel}))
    (config / "hyperparameters.json").write_text(json.dumps(HYPERPARAMETERS))
    for name in ("model", "output"):
        (base / name).mkdir()


def command(verb: str, base: Path, image: str | None, *docker_options: str) -> tuple[list[str], dict[str, str]]:
    """Return the command line and the environment that run a verb on a tree like /opt/ml."""
    if image:
        user = f"{os.getuid()}:{os.getgid()}"
        return ["docker", "run", "--rm", "--user", user, *docker_options, "-v", f"{base}:/opt/ml", image, verb], dict(
            os.environ
        )
    return [str(Path(sys.executable).parent / verb)], {**os.environ, "SAGEMAKER_BASE_DIR": str(base)}


def train(base: Path, image: str | None) -> None:
    """Run `train` to its end; its output goes straight to the terminal."""
    argv, environ = command("train", base, image)
    code = subprocess.run(argv, env=environ, check=False).returncode
    if code:
        sys.exit(f"demo: train ended with exit code {code}: {(base / 'output' / 'failure').read_text()}")


def repack(model: Path, archive: Path, target: Path) -> None:
    """Pack the model as the platform does after training, and unpack it as it does before serving."""
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(model.iterdir()):
            tar.add(path, arcname=path.name)
    target.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        print(f"{shown(archive)}: {archive.stat().st_size:,} bytes: {', '.join(sorted(tar.getnames()))}")
        tar.extractall(target, filter="data")


@contextlib.contextmanager
def serving(base: Path, image: str | None) -> Iterator[str]:
    """Run `serve` until the block ends, and hand out its address once it is healthy."""
    port = free_port()
    options = ["-p", f"127.0.0.1:{port}:8080", "--read-only", "--tmpfs", "/tmp", "-e", "TWOFOLD_METRICS_SECONDS=0"]  # noqa: S108
    argv, environ = command("serve", base, image, *options)
    # No lines of metrics for CloudWatch between those for people.
    environ |= {"SAGEMAKER_BIND_TO_PORT": str(port), "TWOFOLD_METRICS_SECONDS": "0"}
    process = subprocess.Popen(argv, env=environ)
    url = f"http://127.0.0.1:{port}"
    try:
        started = time.monotonic()
        wait_until_healthy(url, process)
        print(f"healthy after {time.monotonic() - started:.1f} s at {url}")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        print(f"stopped with exit code {process.wait(STOP_TIMEOUT_S)}")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_healthy(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Ask /ping until it answers 200."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"demo: serve ended with exit code {process.returncode} before it was healthy")
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"{url}/ping", timeout=2).close()
            return
        time.sleep(0.1)
    sys.exit(f"demo: serve was not healthy within {START_TIMEOUT_S} s")


def ask(url: str) -> tuple[np.ndarray, np.ndarray]:
    """Send every held-out digit, show a few answers beside the truth, and return true and predicted digits `[n]`."""
    held_out = np.array([line.split(",") for line in digits.read_lines()[1]], dtype=int)
    labels, rows = held_out[:, 0], held_out[:, 1:]
    answer = invoke(url, rows.tolist())
    predicted = np.array(answer["labels"])
    print(drawn(rows[:SHOWN], labels, predicted, np.max(answer["predictions"], axis=1)))
    print(f"{int((predicted == labels).sum())} of {len(labels)} held-out digits answered right over HTTP")
    return labels, predicted


def invoke(url: str, rows: Sequence[Sequence[int]]) -> dict[str, list]:
    """POST rows to /invocations and return the decoded answer."""
    request = urllib.request.Request(
        f"{url}/invocations",
        data=json.dumps({"instances": rows}).encode(),
        headers={"Content-Type": "application/json", "Accept": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def drawn(images: np.ndarray, labels: np.ndarray, predicted: np.ndarray, probability: np.ndarray) -> str:
    """Draw images `[n, 64]` in characters side by side, what each is and what the endpoint said below."""
    shades = np.array(list(" .:-=+*#%@"))
    pixels = shades[np.minimum(images.reshape(-1, 8, 8) * 10 // 17, 9)].repeat(2, axis=2)
    lines = ["   ".join("".join(row) for row in rows) for rows in pixels.transpose(1, 0, 2)]
    captions = [
        [f"{name} {value}" for value in values[: len(images)]]
        for name, values in (("truth", labels), ("answer", predicted), ("p =", [f"{p:.3f}" for p in probability]))
    ]
    return "\n".join([*lines, *("   ".join(f"{text:16}" for text in caption) for caption in captions)])


if __name__ == "__main__":
    sys.exit(main())
