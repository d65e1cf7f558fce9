"""The life of a model in real containers: trained on real digits, packed, unpacked, served, asked, stopped."""

import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from websockets.sync.client import connect

CHOICES = {"epochs": 10, "batch_size": 64, "learning_rate": 0.001}
WANTED_ACCURACY = 0.95

# A root that is read-only, one small place to write, no network but the loopback, and nobody's user id.
LOCKED = ("--read-only", "--tmpfs", "/tmp:size=64m", "--network", "none", "--user", "65534:65534")  # fmt: skip

ASK = """
import sys, urllib.request
url, headers = "http://127.0.0.1:8080/invocations", {"Content-Type": "text/csv", "Accept": "text/csv"}
request = urllib.request.Request(url, sys.argv[1].encode(), headers)
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""


def metric(log: str, name: str) -> list[float]:
    """Every value of a metric, found as a metric definition of a training job finds it."""
    return [float(value) for value in re.findall(rf"(?<!\S){name}=([0-9.e+-]+)", log)]


def packed(model: Path, archive: Path) -> Path:
    """Pack a model folder as the platform does after training: regular files, no folder in front."""
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(model.iterdir()):
            tar.add(path, arcname=path.name)
    return archive


def unpacked(archive: Path, folder: Path) -> Path:
    """Make the tree of an endpoint from a model.tar.gz."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "model", filter="data")
    return folder


def as_json(rows: list) -> bytes:
    return json.dumps({"instances": rows}).encode()


def as_json_lines(rows: list) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_csv(rows: list) -> bytes:
    return "".join(",".join(map(str, row)) + "\n" for row in rows).encode()


def as_npy(rows: list) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(rows, dtype=np.float32))
    return file.getvalue()


def from_csv(body: bytes) -> list[int]:
    return np.loadtxt(io.BytesIO(body), delimiter=",", ndmin=2).argmax(axis=1).tolist()


# How rows go out and how the digits that were meant come back; CSV and NPY hold probabilities only.
FORMS = {
    "application/json": (as_json, lambda body: json.loads(body)["labels"]),
    "application/jsonlines": (as_json_lines, lambda body: [json.loads(line)["label"] for line in body.splitlines()]),
    "text/csv": (as_csv, from_csv),
    "application/x-npy": (as_npy, lambda body: np.load(io.BytesIO(body), allow_pickle=False).argmax(axis=1).tolist()),
}


def test_a_model_is_trained_packed_served_asked_and_stopped(
    run: Callable, start: Callable, opt_ml: Callable, digits, tmp_path: Path
) -> None:
    tree = opt_ml(**CHOICES)

    job = run("train", opt_ml=tree)

    assert job.returncode == 0, job.stdout + job.stderr
    losses = metric(job.stdout, "train:loss")
    assert len(losses) == CHOICES["epochs"]
    assert losses[-1] < losses[0] / 2
    assert metric(job.stdout, "validation:accuracy")[-1] >= WANTED_ACCURACY
    assert not (tree / "output" / "failure").exists()

    archive = packed(tree / "model", tmp_path / "model.tar.gz")
    endpoint = start("serve", opt_ml=unpacked(archive, tmp_path / "endpoint"), flags=["--read-only", "--tmpfs", "/tmp"])
    endpoint.wait_for_ping()

    for media_type, (write, read) in FORMS.items():
        status, headers, body = endpoint.post(
            "/invocations", write(digits.rows), Content_Type=media_type, Accept=media_type
        )
        assert status == 200, body
        assert headers["Content-Type"].partition(";")[0] == media_type
        assert digits.accuracy(read(body)) >= WANTED_ACCURACY, media_type
    address = endpoint.url.replace("http", "ws") + "/invocations-bidirectional-stream"
    with connect(address, proxy=None) as conversation:
        conversation.send(json.dumps(digits.rows[:1]))
        assert len(json.loads(conversation.recv(30))["labels"]) == 1

    assert endpoint.stop(seconds=30) < 25
    assert endpoint.inspect("{{.State.ExitCode}}") == "0", endpoint.logs()


def test_two_hosts_learn_what_one_learns(run: Callable, opt_ml: Callable, cluster: Callable) -> None:
    choices = {**CHOICES, "epochs": 3}

    one = run("train", opt_ml=opt_ml(**choices))
    two = cluster(**choices)

    assert one.returncode == 0, one.stdout + one.stderr
    assert two.exit_code == 0, two.log
    for name in ("train:loss", "validation:loss"):
        alone, together = metric(one.stdout, name), metric(two.log, name)
        assert len(alone) == len(together) == choices["epochs"], "one host speaks for both"
        assert together == pytest.approx(alone, abs=1e-5)
    # The platform lays the model folders of all hosts over one another: only the first host may write.
    written = {host: sorted(path.name for path in (tree / "model").iterdir()) for host, tree in two.trees.items()}
    assert {"twofold.json", "weights.safetensors"} <= set(written["algo-1"])
    assert written["algo-2"] == []


def test_a_bad_hyperparameter_is_named_in_the_failure_file(run: Callable, opt_ml: Callable) -> None:
    tree = opt_ml(epochs="ten")

    job = run("train", opt_ml=tree)

    assert job.returncode not in (0, 137)
    failure = (tree / "output" / "failure").read_text()
    assert "epochs" in failure
    assert "ten" in failure
    assert "Traceback" not in failure
    assert list((tree / "model").iterdir()) == []


def test_both_verbs_run_as_nobody_on_a_read_only_root_without_a_network(
    run: Callable, start: Callable, opt_ml: Callable, digits, tmp_path: Path
) -> None:
    tree = opt_ml(**CHOICES)
    for folder in [tree, *(path for path in tree.rglob("*") if path.is_dir())]:
        folder.chmod(0o777)

    job = run("train", opt_ml=tree, flags=LOCKED)

    assert job.returncode == 0, job.stdout + job.stderr
    endpoint = start(
        "serve", opt_ml=unpacked(packed(tree / "model", tmp_path / "model.tar.gz"), tmp_path / "endpoint"), flags=LOCKED
    )
    endpoint.wait_for_ping()
    answer = endpoint.execute("python3", "-c", ASK, as_csv(digits.rows).decode()).stdout
    assert digits.accuracy(from_csv(answer.encode())) >= WANTED_ACCURACY
    endpoint.stop(seconds=30)
    assert endpoint.inspect("{{.State.ExitCode}}") == "0", endpoint.logs()
