"""Parts of several hosts find each other, over real sockets and in real processes."""

import contextlib
import json
import socket
import threading

import numpy as np
import pytest
from twofold.contract.paths import Paths
from twofold.errors import PlatformError
from twofold.monitor.hosts import listen, receive_parts, send_part


@pytest.fixture
def listener():
    with listen(0) as opened:
        yield opened


def port_of(listener):
    return listener.getsockname()[1]


def test_parts_come_in_any_order_and_only_once(listener):
    contents = {rank: bytes([rank]) * 3_000_000 for rank in (1, 2, 3)}
    senders = [
        threading.Thread(target=send_part, args=("127.0.0.1", port_of(listener), rank, contents[rank]))
        for rank in (3, 1, 1, 2)
    ]
    received = []
    taker = threading.Thread(target=lambda: received.extend(receive_parts(listener, 3, seconds=60)))
    taker.start()
    for sender in senders[:3]:
        sender.start()
    for sender in senders[:3]:
        sender.join(60)
    senders[3].start()
    senders[3].join(60)
    taker.join(60)
    assert received == [contents[1], contents[2], contents[3]]


def test_strangers_are_ignored(listener):
    received = []
    taker = threading.Thread(target=lambda: received.extend(receive_parts(listener, 1, seconds=60)))
    taker.start()
    for greeting in (b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", b"short"):
        # Who is turned away may notice at any of these steps.
        with (
            socket.create_connection(("127.0.0.1", port_of(listener))) as stranger,
            contextlib.suppress(OSError),
        ):
            stranger.sendall(greeting)
            stranger.shutdown(socket.SHUT_WR)
            assert stranger.recv(1) == b""
    send_part("127.0.0.1", port_of(listener), 1, b"{}", seconds=60)
    taker.join(60)
    assert received == [b"{}"]


def test_who_waits_for_ever_says_so(listener):
    with pytest.raises(PlatformError, match="0 of 2 other hosts"):
        receive_parts(listener, 2, seconds=0.05)
    port = port_of(listener)
    listener.close()
    with pytest.raises(PlatformError, match=f"did not take this host's part at port {port}"):
        send_part("127.0.0.1", port, 1, b"{}", seconds=0.05)


def test_a_port_that_is_taken(listener):
    with pytest.raises(PlatformError, match="set MONITOR_PORT"):
        listen(port_of(listener))


def free_port():
    with socket.create_server(("", 0)) as opened:
        return opened.getsockname()[1]


@pytest.mark.procs
@pytest.mark.parametrize("distribution", ["FullyReplicated", "ShardedByS3Key"])
def test_three_hosts_of_a_job(start_verb, monitor, traffic, read_json, tmp_path, distribution):
    """They have all files and share them, or each has its own; host 0 writes what one host alone would have."""
    rng = np.random.default_rng(1)
    np.savetxt(tmp_path / "a.csv", rng.normal(size=(1000, 3)), delimiter=",", fmt="%.7g")
    monitor("baseline", tmp_path / "a.csv", tmp_path / "base")
    for name in "abcd":
        rows = rng.normal(size=(50, 2)).round(5).tolist()
        traffic.write("2026-11-25T13", [traffic.line(f"{x},{y}", f"{x + 3}") for x, y in rows], f"{name}.jsonl")
    hour = traffic.folder / "endpoint" / "AllTraffic" / "2026" / "11" / "25" / "13"
    names, verbs, port = ("127.0.0.1", "algo-2", "algo-3"), [], free_port()
    for place, name in enumerate(names):
        paths = Paths(tmp_path / name)
        paths.processing_config.mkdir(parents=True)
        paths.processing_resource_config.write_text(json.dumps({"current_host": name, "hosts": names}))
        local = {"LocalPath": "/opt/ml/processing/endpointdata", "S3DataDistributionType": distribution}
        job = {"ProcessingInputs": [{"InputName": "data", "S3Input": local}]}
        (paths.processing_config / "processingjobconfig.json").write_text(json.dumps(job))
        data = paths.base / "processing" / "endpointdata" / "2026" / "11" / "25" / "13"
        data.mkdir(parents=True)
        shares = {"FullyReplicated": "abcd", "ShardedByS3Key": ("ab", "cd", "")[place]}
        for file in shares[distribution]:
            (data / f"{file}.jsonl").write_bytes((hour / f"{file}.jsonl").read_bytes())
        environ = {
            "dataset_format": '{"sagemakerCaptureJson": {}}',
            "dataset_source": "/opt/ml/processing/endpointdata",
            "output_path": "/opt/ml/processing/resultdata",
            "baseline_constraints": str(tmp_path / "base" / "constraints.json"),
            "baseline_statistics": str(tmp_path / "base" / "statistics.json"),
            "MONITOR_PORT": str(port),
        }
        verbs.append(start_verb("twofold.monitor", paths, environ=environ))
    for verb in verbs:
        assert verb.wait() == 0, verb.log
    results = verbs[0].paths.base / "processing" / "resultdata"
    statistics = read_json(results / "statistics.json")
    assert statistics["dataset"]["item_count"] == 200
    found = {part["feature_name"] for part in read_json(results / "constraint_violations.json")["violations"]}
    assert found == {"prediction"}
    assert [verb.paths.message.exists() for verb in verbs] == [True, False, False]
