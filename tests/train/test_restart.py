"""Memory that runs out where peers wait inside of a model: all ranks begin again with less, and learn the same."""

import contextlib
import json
import os
import re
from pathlib import Path

import pytest
import torch
from twofold.contract.cluster import Cluster
from twofold.contract.job import read_training_job
from twofold.train import peers, program, reports
from twofold.train.failures import Memory, settle
from twofold.train.memory import BeginAgain
from twofold.train.peers import Peers, listening
from twofold.train.reports import Report
from twofold.train.restart import Restart, Restarts
from twofold.train.supervise import Ending

TRAIN = "twofold.train"
HOSTS = ["127.0.0.1", "127.0.0.2"]
RUN = {
    "model": "gpt",
    "context": 16,
    "width": 32,
    "layers": 2,
    "heads": 4,
    "batch_size": 12,
    "epochs": 3,
    "max_steps": 8,
    "checkpoint_every": 2,
    "learning_rate": 0.01,
    "ledger": True,
}
FSDP, TP = {"parallel": "fsdp", "processes_per_host": 2}, {"parallel": "tp", "processes_per_host": 2}
SCRIPTS = Path(__file__).parents[1] / "scripts" / "short_of_memory"
ENDED = Ending(1, stopped=False, killed=False)
SHORTAGE = Report("rank 1", "memory: rank 1: OutOfMemoryError", 1, smaller=3, shortage="rank 1 ran out")
LOST = Report("rank 0", "network: another rank ended", 1, peer=True)


def short(**told):
    """Environment of a job one of whose ranks is short of memory."""
    return {"PYTHONPATH": str(SCRIPTS), "SHORT": json.dumps({"rank": 1, "most": 2, "place": "backward"} | told)}


def records(paths, name="metrics.jsonl"):
    return [json.loads(line) for line in (paths.output_data / name).read_text().splitlines()]


def curve(paths):
    return [(record["step"], record["train:loss"], record["validation:loss"]) for record in records(paths)]


def ledger(paths):
    return next(paths.base.rglob("ledger.jsonl")).read_text()


def same_curve(paths, expected):
    """The same losses, of the same samples in each step."""
    assert curve(paths) == [pytest.approx(record, rel=1e-4) for record in curve(expected)]
    assert ledger(paths) == ledger(expected)


@pytest.fixture(scope="module")
def unbroken(make_tree, prose):
    """A job that has the smaller micro-batch from the start; each test that wants it runs it, once."""
    return make_tree(prose, **RUN, micro_batch_size=2)


@pytest.fixture
def expected(unbroken, train_here):
    if not unbroken.output_data.exists():
        train_here(unbroken)
    return unbroken


@pytest.fixture
def ended(make_tree, tmp_path):
    """ended(report, ...) -> what the environment of the next start has more, by the reports of one host's ranks."""

    def ask(*left, ending=ENDED):
        for report in left:
            reports.write(tmp_path, report)
        job = read_training_job(make_tree({}), {})
        return Restarts(job, tmp_path, Peers(Cluster(), 0, None))(ending, -1)

    return ask


def test_a_shortage_starts_the_ranks_again_with_less(ended, tmp_path, caplog):
    for name in ("rank-0.beat", "rank-1.stacks", "stacks-rank-0.txt"):
        (tmp_path / name).touch()
    (tmp_path / "rank-0").mkdir()
    (tmp_path / "training").mkdir()
    more = ended(LOST, SHORTAGE)
    assert Restart.of(more) == Restart(3, "rank 1 ran out")
    assert "rank 1 ran out: starting all ranks again with 3 at once" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["training"], "what was derived from a channel stays"


def test_several_ranks_ran_out(ended):
    more = ended(SHORTAGE, Report("rank 0", "memory", 1, smaller=2, shortage="rank 0 ran out"))
    assert Restart.of(more) == Restart(2, "rank 0 ran out")


@pytest.mark.parametrize(
    ("left", "ending"),
    [
        ([LOST], ENDED),
        ([], Ending(-9, stopped=False, killed=False)),
        ([SHORTAGE], Ending(1, stopped=True, killed=False)),
        ([], Ending(0, stopped=False, killed=False)),
        ([Report("rank 0", "user code: KeyError", 1, time=1.0), SHORTAGE], ENDED),
    ],
    ids=["only lost", "no word", "told to stop", "done", "another cause came first"],
)
def test_else_ranks_are_not_started_again(ended, left, ending):
    assert ended(*left, ending=ending) is None


@pytest.mark.parametrize(
    ("left", "due"),
    [((), False), ((LOST,), False), ((LOST, SHORTAGE), True)],
    ids=["no word", "only lost", "ran out"],
)
def test_ranks_are_ended_once_one_has_run_out(make_tree, tmp_path, left, due):
    for report in left:
        reports.write(tmp_path, report)
    restarts = Restarts(read_training_job(make_tree({}), {}), tmp_path, Peers(Cluster(), 0, None))
    assert restarts.due() is due


@pytest.fixture
def host(make_tree, meeting, tmp_path):
    """host(number, of=2) -> a host of a job, in the middle of it: its job, its scratch folder, its ear."""
    with contextlib.ExitStack() as ears:

        def open_host(number, of=2):
            hosts = [f"127.0.0.{each}" for each in range(1, of + 1)]
            job = read_training_job(make_tree({}, cluster={"current_host": hosts[number], "hosts": hosts}), {})
            scratch = tmp_path / str(number)
            scratch.mkdir()
            return job, scratch, ears.enter_context(listening(job.cluster, int(meeting["MASTER_PORT"]) + 1))

        yield open_host


@pytest.fixture
def nothing():
    """A descriptor at which nothing comes."""
    reader, writer = os.pipe()
    yield reader
    os.close(reader)
    os.close(writer)


def test_a_host_without_word_of_another_fails_and_says_so(host, nothing, monkeypatch):
    monkeypatch.setattr(peers, "WAIT_S", 0.2)
    job, scratch, ear = host(0)
    _, _, other = host(1)
    reports.write(scratch, SHORTAGE)
    assert Restarts(job, scratch, ear)(ENDED, nothing) is None
    assert settle(job, ENDED, scratch, Memory(), ear) == 1
    failure = job.paths.failure.read_text()
    assert failure.startswith("memory: host 127.0.0.1, rank 1: OutOfMemoryError No word from 127.0.0.2")
    # First what it would do, then that it does not.
    while other.verdict is None:
        other.look()
    assert failure.startswith(other.verdict.message)


def test_a_host_that_has_lost_others_and_heard_but_one_ends_those_that_begin_again(host, nothing, monkeypatch):
    for name in ("WAIT_S", "GATHER_S"):
        monkeypatch.setattr(peers, name, 0.2)
    job, scratch, ear = host(0, of=3)
    _, _, second = host(1, of=3)
    second.tell(SHORTAGE.message, 1, lost=False, smaller=3, shortage=SHORTAGE.shortage)
    reports.write(scratch, LOST)
    assert Restarts(job, scratch, ear)(ENDED, nothing) is None
    second.begin_again()
    assert settle(job, ENDED, scratch, Memory(), ear) == 1
    assert job.paths.failure.read_text() == SHORTAGE.message
    while second.verdict is None:
        second.look()
    assert second.verdict.message == SHORTAGE.message


def test_a_host_that_another_has_ended_follows_it(host, nothing):
    job, scratch, ear = host(0)
    _, _, other = host(1)
    other.tell(SHORTAGE.message, 1, lost=False, smaller=3, shortage=SHORTAGE.shortage)
    while not ear.look():
        assert not ear.have_spoken
    killed = Ending(-9, stopped=False, killed=False)
    assert Restart.of(Restarts(job, scratch, ear)(killed, nothing)) == Restart(3, "rank 1 ran out")
    assert other.agreed(nothing).smaller == 3


def test_the_first_start_has_nothing_to_begin_again_with():
    assert Restart.of({}) is None


@pytest.fixture
def short_in_optimizer(monkeypatch):
    """Memory runs out where moments are allocated: no micro-batch is under way then."""

    def step(*_, **__):
        raise torch.OutOfMemoryError("Tried to allocate moments")

    monkeypatch.setattr(torch.optim.AdamW, "step", step)


TABLE = {"batch_size": 6, "epochs": 2, "hidden": "8"}


@pytest.mark.parametrize(("micro", "smaller"), [(0, 3), (4, 2), (2, 1)])
@pytest.mark.usefixtures("short_in_optimizer")
def test_half_of_what_was_tried_last_is_asked_for(make_tree, train_here, classes, micro, smaller):
    paths = make_tree({"training": {"a.csv": classes(24)}}, **TABLE, micro_batch_size=micro)
    with pytest.raises(BeginAgain) as caught:
        train_here(paths)
    assert (caught.value.smaller, caught.value.step) == (smaller, 1)
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


@pytest.mark.usefixtures("short_in_optimizer")
def test_with_one_sample_nothing_is_left_to_try(make_tree, train_here, classes):
    paths = make_tree({"training": {"a.csv": classes(24)}}, **TABLE, micro_batch_size=1)
    with pytest.raises(torch.OutOfMemoryError, match="allocate moments"):
        train_here(paths)


@pytest.mark.usefixtures("short_in_optimizer")
def test_a_pipe_cannot_be_read_again(make_tree, train_here, classes):
    config = {"other": {"TrainingInputMode": "Pipe"}, "training": {"TrainingInputMode": "File"}}
    paths = make_tree({"training": {"a.csv": classes(24)}}, config=config, **TABLE)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        train_here(paths)
    assert "Pipe mode" in caught.value.__notes__[-1]


@pytest.mark.usefixtures("short_in_optimizer")
@pytest.mark.parametrize("keeps", [False, True])
def test_much_is_not_done_again_where_no_checkpoints_are_kept(make_tree, train_here, classes, monkeypatch, keeps):
    monkeypatch.setattr(program, "MOST_LOST_S", -1.0)
    paths = make_tree({"training": {"a.csv": classes(24)}}, **TABLE)
    if keeps:
        paths.checkpoints.mkdir()
    with pytest.raises(BeginAgain if keeps else torch.OutOfMemoryError) as caught:
        train_here(paths)
    assert keeps or "With a CheckpointConfig" in caught.value.__notes__[-1]


@pytest.mark.slow
@pytest.mark.procs
def test_backward_pass_of_fsdp(make_tree, prose, run_verb, expected):
    """Five steps go well; the checkpoint of the second is whole, that of the fourth perhaps."""
    paths = make_tree(prose, **RUN, **FSDP)
    run = run_verb(TRAIN, paths, environ=short(most=3, after=5 * RUN["layers"]))
    same_curve(paths, expected)
    told = "rank 1 ran out of device memory with 6 samples a forward pass, in step 6"
    assert f"{told}: starting all ranks again with 3 at once" in run.log
    assert re.search(f"{told}: going on after step [24] with 3 at once", run.log)
    assert run.log.count("starting all ranks again") == 1
    steps = [record["step"] for record in records(paths, "steps.jsonl")]
    assert steps == sorted(set(steps))
    assert run.failure is None
    assert " ERROR " not in run.log
    assert "Traceback" not in run.log


@pytest.mark.slow
@pytest.mark.procs
@pytest.mark.parametrize(
    ("way", "told", "starts"),
    [
        (FSDP, {"after": 3 * RUN["layers"]}, 3),
        (FSDP | {"activation_checkpointing": True}, {}, 3),
        (FSDP | {"compile": True}, {"place": "head"}, 3),
        (TP, {"place": "forward", "after": 3 * RUN["layers"]}, 4),
        (TP, {"place": "backward"}, 4),
        (TP, {"place": "measure"}, 4),
        # Of the second start the first two steps are those that can be done again.
        ({"processes_per_host": 2}, {"after": 3 * RUN["layers"]}, 2),
    ],
    ids=["fsdp", "fsdp, twice", "fsdp, compiled", "tp, forward", "tp, backward", "tp, evaluation", "ddp, late"],
)
def test_it_halves_as_often_as_it_has_to(make_tree, prose, run_verb, expected, way, told, starts):
    paths = make_tree(prose, **RUN, **way)
    run = run_verb(TRAIN, paths, environ=short(**told))
    same_curve(paths, expected)
    assert run.log.count("starting all ranks again with ") == starts - 1
    assert "with 2 at once" in run.log
    assert "with 1 at once" not in run.log


@pytest.mark.slow
@pytest.mark.procs
def test_where_no_checkpoints_are_kept_it_begins_anew(make_tree, prose, run_verb, expected):
    paths = make_tree(prose, **RUN | {"checkpoint_every": 0}, **FSDP)
    run = run_verb(TRAIN, paths, environ=short(most=3, after=5 * RUN["layers"]))
    same_curve(paths, expected)
    assert "in step 6: going on after step 0 with 3 at once" in run.log
    assert not paths.checkpoints.exists()


@pytest.mark.slow
@pytest.mark.procs
def test_ranks_that_cannot_leave_one_another_are_ended(make_tree, prose, run_verb, expected):
    paths = make_tree(prose, **RUN, **FSDP)
    same_curve(run_verb(TRAIN, paths, environ=short(most=3, stuck=True)).paths, expected)


@pytest.mark.slow
@pytest.mark.procs
def test_it_gives_up_at_one_sample(make_tree, prose, run_verb):
    run = run_verb(TRAIN, make_tree(prose, **RUN, **FSDP), environ=short(most=0), expect=1)
    sizes = [line.rpartition(" with ")[2] for line in run.log.splitlines() if "starting all ranks again" in line]
    assert sizes == ["3 at once", "2 at once", "1 at once"]
    assert run.failure.startswith("memory: rank 1: OutOfMemoryError: Tried to allocate 1 samples")
    assert "lower 'micro_batch_size'" in run.failure


def start_hosts(make_tree, prose, start_verb, meeting, told):
    """Start a job of two hosts with a rank each, whose second rank is short of memory."""
    runs = []
    for host in HOSTS:
        cluster = {"current_host": host, "hosts": HOSTS, "network_interface_name": "lo"}
        paths = make_tree(prose, cluster=cluster, **RUN, parallel="fsdp")
        runs.append(start_verb(TRAIN, paths, environ=meeting | told))
    return runs


@pytest.mark.slow
@pytest.mark.procs
def test_all_hosts_begin_again(make_tree, prose, start_verb, meeting, expected):
    runs = start_hosts(make_tree, prose, start_verb, meeting, short(after=3 * RUN["layers"]))
    assert [run.wait() for run in runs] == [0, 0], runs[0].log + runs[1].log
    same_curve(runs[0].paths, expected)
    for run in runs:
        assert run.log.count("host 127.0.0.2, rank 1 ran out of device memory with 6 samples") >= 1
        assert "starting all ranks again with 3 at once" in run.log
        assert "starting all ranks again with 2 at once" in run.log


@pytest.mark.slow
@pytest.mark.procs
def test_all_hosts_give_up_at_one_sample(make_tree, prose, start_verb, meeting):
    runs = start_hosts(make_tree, prose, start_verb, meeting, short(most=0))
    assert [run.wait() for run in runs] == [1, 1], runs[0].log + runs[1].log
    assert {run.failure for run in runs} == {runs[0].failure}
    assert runs[0].failure.startswith("memory: host 127.0.0.2, rank 1: OutOfMemoryError: Tried to allocate 1 samples")


@pytest.mark.slow
@pytest.mark.procs
def test_a_stop_while_ranks_begin_again_is_a_stop(make_tree, prose, start_verb, tmp_path):
    held = tmp_path / "held"
    run = start_verb(TRAIN, make_tree(prose, **RUN, **FSDP), environ=short(hold=str(held)))
    run.wait_for("starting all ranks again")
    while not held.exists():
        assert run.process.poll() is None, run.log
    run.send()
    assert run.wait() == 143, run.log
    assert run.failure is None


@pytest.mark.slow
@pytest.mark.procs
def test_a_stop_after_ranks_have_begun_again_saves(make_tree, prose, start_verb):
    paths = make_tree(prose, **RUN | {"epochs": 100_000, "max_steps": 0}, **TP)
    run = start_verb(TRAIN, paths, environ=short(place="forward", most=6))
    run.wait_for("going on after step 0 with 6 at once")
    run.wait_for("epoch=2 ")
    run.send()
    assert run.wait() == 0, run.log
    assert "told to stop: leaving after step" in run.log
    assert (paths.model / "weights.safetensors").exists()


@pytest.mark.slow
@pytest.mark.procs
def test_a_rank_that_hangs_after_it_has_begun_again_is_found(make_tree, prose, run_verb):
    paths = make_tree(prose, **RUN | {"epochs": 100_000, "max_steps": 0}, hang_timeout=8, **TP)
    run = run_verb(TRAIN, paths, environ=short(place="forward", most=6, hang=40), expect=5)
    assert "starting all ranks again with 6 at once" in run.log
    assert "rank 1 hung in step " in run.failure
