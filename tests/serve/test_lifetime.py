"""How `serve` starts, fails to start, and stops."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROW = b"1,2,3,4\n"


def run(base, *arguments, **environ):
    """Run `serve` to its end: for starts that fail."""
    return subprocess.run(
        [sys.executable, "-m", "twofold.serve", *arguments],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def listing(folder):
    """Every path below a folder with its size and time of change."""
    return sorted((str(path), path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*"))


def listening_ports(pid):
    """Ports on which a process listens."""
    sockets = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(line[1].split(":")[1], 16) for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets}


def catches(pid, number):
    """Whether a process has a handler for a signal."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
    return int(mask, 16) >> (number - 1) & 1


def test_a_missing_model_folder_ends_with_4_and_one_line(tmp_path):
    ended = run(tmp_path)
    assert ended.returncode == 4
    assert "No twofold.json in" in ended.stderr
    assert "empty or missing" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr


def test_a_broken_model_folder_ends_with_4_and_one_line(artifact):
    (artifact.folder / "weights.safetensors").write_bytes(b"broken")
    ended = run(artifact.base)
    assert ended.returncode == 4
    assert "weights.safetensors cannot be read" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr


def test_a_wrong_setting_ends_with_2_and_names_it(classifier):
    ended = run(classifier.base, SAGEMAKER_BIND_TO_PORT="http")
    assert ended.returncode == 2
    assert "SAGEMAKER_BIND_TO_PORT is 'http'" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr


def test_help_tells_what_is_served_and_what_can_be_set(tmp_path):
    ended = run(tmp_path, "--help")
    assert ended.returncode == 0
    for words in ("/ping", "/invocations", "SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_MODEL_SERVER_WORKERS"):
        assert words in ended.stdout


def test_it_listens_on_the_port_it_is_given_and_no_other(serving, classifier):
    server = serving(classifier.base).ready()
    assert listening_ports(server.process.pid) == {server.port}


@pytest.mark.slow
def test_the_model_folder_is_left_as_it_was_and_serves_again(serving, artifact):
    before = listing(artifact.base)
    for _ in range(2):
        server = serving(artifact.base).ready()
        assert server.ask("POST", "/invocations", ROW, {"Content-Type": "text/csv"})[0] == 200
        assert server.stop() == 0
    assert listing(artifact.base) == before


def test_sigterm_lets_requests_in_flight_end_and_exits_with_0(serving, classifier, until, everything):
    server = serving(classifier.base).ready()
    clients = [server.half(ROW) for _ in range(5)]
    start = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    until(server.refuses, "no new connection is accepted")
    for client in clients:
        client.sendall(ROW[-1:])
    for client in clients:
        answer = everything(client)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert b"predictions" in answer
        client.close()
    assert server.process.wait(30) == 0, server.log
    assert time.monotonic() - start < 20
    assert "Traceback" not in server.log


def test_sigterm_while_the_model_loads_ends_at_once(serving, classifier, until):
    server = serving(classifier.base)
    until(lambda: catches(server.process.pid, signal.SIGTERM), "the process has taken charge of SIGTERM")
    assert server.stop() == 0
    assert "Traceback" not in server.log


def test_a_worker_that_is_killed_is_replaced(serving, classifier, until):
    server = serving(classifier.base, SAGEMAKER_MODEL_SERVER_WORKERS="2").ready()

    def children():
        return Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()

    first = until(lambda: children() if len(children()) == 2 else None, "two workers run")
    os.kill(int(first[0]), signal.SIGKILL)
    until(lambda: len(children()) == 2 and first[0] not in children(), "another worker takes its place")
    assert server.ask("POST", "/invocations", ROW, {"Content-Type": "text/csv"})[0] == 200
    assert server.stop() == 0
