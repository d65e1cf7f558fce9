"""Hosts of one job as addresses of the loopback: what each hears of the others' end, and what its failure file says."""

import contextlib
import logging
import os
import signal
import socket
import threading

import pytest
from twofold.contract.cluster import Cluster
from twofold.train import peers
from twofold.train.peers import Peers, listening

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
LOST = "network: another rank or host ended first"
CAUSE = "user code: host 127.0.0.2, rank 1: KeyError: 'width'"


@pytest.fixture
def three(meeting):
    """The three hosts of a job, each with its ear."""
    with contextlib.ExitStack() as open_ears:
        yield [
            open_ears.enter_context(listening(Cluster(hosts=HOSTS, current_host=host), int(meeting["MASTER_PORT"]) + 1))
            for host in HOSTS
        ]


def test_the_cause_beats_what_others_have_lost(three):
    first, second, third = three
    third.tell(LOST, 5, lost=True)
    second.tell(CAUSE, 1, lost=False)
    for host in (first, third):
        word = host.cause()
        assert (word.host, word.message, word.exit_code) == ("127.0.0.2", CAUSE, 1)
    assert third.silent() == ["127.0.0.1"]


def test_nobody_waits_for_more_once_all_have_lost_somebody(three):
    first, second, third = three
    second.tell(LOST, 5, lost=True)
    third.tell(LOST, 5, lost=True)
    assert first.cause(seconds=600) is None
    assert first.silent() == []


def test_a_host_that_is_gone_is_silent(three):
    first, second, _ = three
    second.tell(LOST, 5, lost=True)
    assert first.cause(seconds=0.2) is None
    assert first.silent() == ["127.0.0.3"]


def test_a_stop_signal_ends_the_wait(three):
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert three[0].cause(seconds=600) is None


def test_ranks_are_ended_some_time_after_another_host(three, monkeypatch):
    first, second, _ = three
    assert not first.look()
    second.tell(CAUSE, 1, lost=False)
    while not first.have_spoken:
        assert not first.look()
    monkeypatch.setattr(peers, "PEER_TIMEOUT_S", 0.0)
    assert first.look()


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"[" * 60_000,
        b"x" * 100_000,
        b'{"host": "127.0.0.9", "message": "", "exit_code": 1, "lost": false}',
        b'{"host": "127.0.0.2", "message": 1, "exit_code": 1, "lost": false}',
        b"",
    ],
    ids=["http", "nested", "long", "stranger", "types", "nothing"],
)
def test_what_is_no_word_of_a_host_is_passed_over(three, meeting, content):
    first, second, _ = three
    with (
        contextlib.suppress(OSError),
        socket.create_connection((HOSTS[0], int(meeting["MASTER_PORT"]) + 1)) as stranger,
    ):
        stranger.sendall(content)
    second.tell(CAUSE, 1, lost=False)
    assert first.cause().message == CAUSE
    assert first.silent() == ["127.0.0.3"]


def test_a_port_that_is_taken_costs_the_word_only(caplog):
    caplog.set_level(logging.WARNING)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with listening(Cluster(hosts=HOSTS, current_host=HOSTS[0]), port) as deaf:
            assert deaf.cause() is None
            assert not deaf.look()
    assert f"port {port} cannot be opened" in caplog.text


def test_one_host_has_nobody_to_tell():
    alone = Peers(Cluster(), 0, None)
    alone.tell(CAUSE, 1, lost=False)
    assert alone.cause() is None


@pytest.fixture
def wakeup():
    """A descriptor at which there is nothing, and what makes it readable."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def offer(host, size):
    host.tell("memory: rank 1: OutOfMemoryError", 1, lost=False, smaller=size, shortage=f"with {size}")


def test_all_hosts_begin_again_with_the_least_that_one_asks_for(three, wakeup):
    first, second, third = three
    offer(first, 4)
    offer(second, 3)
    third.tell(LOST, 5, lost=True)
    assert [host.agreed(wakeup[0]).smaller for host in three] == [3, 3, 3]
    assert third.look()


def test_a_host_that_has_failed_keeps_all_from_beginning_again(three, wakeup):
    first, second, third = three
    offer(first, 4)
    second.tell(CAUSE, 1, lost=False)
    third.tell(LOST, 5, lost=True)
    assert [host.agreed(wakeup[0]) for host in three] == [None, None, None]
    assert third.cause().message == CAUSE


def test_nobody_asks_to_begin_again(three, wakeup):
    for host in three:
        host.tell(LOST, 5, lost=True)
    assert [host.agreed(wakeup[0]) for host in three] == [None, None, None]


def test_a_silent_host_keeps_one_from_beginning_again(three, wakeup, monkeypatch):
    monkeypatch.setattr(peers, "WAIT_S", 0.2)
    first, second, _ = three
    offer(second, 3)
    assert first.agreed(wakeup[0]) is None
    assert first.silent() == ["127.0.0.3"]
    # It has waited already.
    assert first.cause(seconds=600).smaller == 3


def test_one_that_is_told_to_stop_does_not_wait_for_others(three, wakeup):
    offer(three[0], 3)
    os.write(wakeup[1], b"-")
    assert three[0].agreed(wakeup[0]) is None


def test_words_are_about_one_start_of_the_ranks(three):
    """The second host has begun again, and lost others again, before the first has heard the third."""
    first, second, third = three
    for host in (second, third):
        host.begin_again()
    second.tell(LOST, 5, lost=True)
    offer(first, 3)
    first._take()
    assert first.silent() == ["127.0.0.2", "127.0.0.3"]
    first.begin_again()
    assert first.silent() == ["127.0.0.3"]
    # What the third hears: of the second, about this start, and of the first, about the one before.
    third.look()
    third.look()
    assert third.silent() == ["127.0.0.1"]


def test_a_host_that_cannot_begin_again_ends_those_that_have(three, wakeup, monkeypatch):
    monkeypatch.setattr(peers, "PEER_TIMEOUT_S", 0.0)
    first, second, third = three
    for host in (first, second):
        host.begin_again()
    third.tell(CAUSE, 1, lost=False)
    for host in (first, second):
        while not host.look():
            assert not host.have_spoken
        assert host.agreed(wakeup[0]) is None
        assert host.cause().message == CAUSE


FAILS = """
import os
import torch

class Net(torch.nn.Module):
    def __init__(self, features, outputs):
        super().__init__()
        self.layer = torch.nn.Linear(features, outputs)

    def forward(self, rows):
        if os.environ["RANK"] == "{rank}":
            {fault}
        return self.layer(rows)

def build(features, outputs):
    return Net(features, outputs)
"""


@pytest.mark.procs
@pytest.mark.parametrize(
    ("rank", "fault", "code", "starts"),
    [
        pytest.param(
            "1",
            "raise KeyError('width')",
            1,
            "user code: host 127.0.0.2, rank 1: KeyError: 'width' (at ",
            marks=pytest.mark.slow,
        ),
        ("0", "os.kill(os.getpid(), 9)", 137, "platform: host 127.0.0.1, rank 0: was killed by SIGKILL (signal 9)"),
    ],
    ids=["exception", "killed, with the store of all ranks"],
)
def test_every_host_names_the_first_cause(make_tree, start_verb, classes, meeting, rank, fault, code, starts):
    runs = []
    for host in HOSTS[:2]:
        cluster = {"current_host": host, "hosts": HOSTS[:2], "network_interface_name": "lo"}
        paths = make_tree({"training": {"a.csv": classes(40)}}, cluster=cluster, model="net.py:build", batch_size=4)
        paths.code.mkdir()
        (paths.code / "net.py").write_text(FAILS.format(rank=rank, fault=fault))
        runs.append(start_verb("twofold.train", paths, environ=meeting))
    assert [run.wait() for run in runs] == [code, code], runs[0].log + runs[1].log
    assert [run.failure[: len(starts)] for run in runs] == [starts, starts]
    assert runs[0].failure == runs[1].failure
    for run, host in zip(runs, HOSTS[:2], strict=True):
        assert all(
            line.startswith((f"[{host}] ", f"[{host} rank ")) for line in run.log.splitlines()[5:] if " INFO " in line
        )
    name = HOSTS[int(rank)]
    assert runs[0].failure.endswith(f"All ranks: failure/{name}.txt in the output data.")
    other = runs[1 - int(rank)]
    full = (other.paths.output_data / "failure" / f"{HOSTS[1 - int(rank)]}.txt").read_text()
    assert full.startswith(f"host {name}, ")
    assert "a consequence" in full


@pytest.mark.procs
@pytest.mark.slow
def test_a_host_that_fails_before_its_ranks_is_named_and_not_waited_for(make_tree, start_verb, classes, meeting):
    """The second host has no script to run: the first, which begins later, must not wait for its ranks."""
    runs = []
    for host in reversed(HOSTS[:2]):
        cluster = {"current_host": host, "hosts": HOSTS[:2], "network_interface_name": "lo"}
        paths = make_tree({"training": {"a.csv": classes(40)}}, cluster=cluster, sagemaker_program="train.py")
        paths.code.mkdir()
        for run in runs:
            run.wait_for("127.0.0.1: told why this host ends once they listen")
            assert run.failure.startswith("configuration: sagemaker_program is 'train.py', and ")
        if host == HOSTS[0]:
            (paths.code / "train.py").write_text("import torch.distributed as dist\ndist.init_process_group('gloo')\n")
        runs.append(start_verb("twofold.train", paths, environ=meeting))
    assert [run.wait() for run in runs] == [2, 2], runs[0].log + runs[1].log
    assert runs[1].failure.startswith("configuration: host 127.0.0.2: sagemaker_program is 'train.py', and ")
