"""Ranks that are killed (-9) at any moment: what goes on from the checkpoints is the run that was never killed."""

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.procs

RUN = {"hidden": "8,8", "dropout": 0.2, "batch_size": 8, "epochs": 4, "learning_rate": 0.01, "checkpoint_every": 1}
STEPS = 24
"""Of 43 samples: six steps an epoch, the last of three samples."""
LONG = 12
"""Epochs of a run that can be killed ten times."""
PLACES = ("step", "copy", "write", "fsync", "replace", "replaced", "unlink")


class Jobs:
    """Runs of ranks, one after another, in a process that has torch already."""

    def __init__(self, folder):
        script = Path(__file__).parents[1] / "scripts/mortal_ranks.py"
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.number, self.log = 0, ""
        environ = {"PATH": "/usr/bin:/bin", "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
        )

    def run(self, *trees, per_host=1, moment=None):
        """Run to the end or to the moment; return the exit code, minus the signal, and the log."""
        self.number += 1
        log = self.logs / str(self.number)
        told = {"trees": [str(tree.base) for tree in trees], "per_host": per_host, "log": str(log), "moment": moment}
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        return code, log.read_text() if log.exists() else ""

    def finish(self, *trees, per_host=1):
        """Run to the end and return the weights."""
        code, self.log = self.run(*trees, per_host=per_host)
        assert code == 0, self.log
        return load_file(trees[0].model / "weights.safetensors")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    jobs = Jobs(tmp_path_factory.mktemp("jobs"))
    yield jobs
    jobs.process.stdin.close()
    assert jobs.process.wait(60) == 0
    jobs.process.stdout.close()


@pytest.fixture(scope="module")
def tree(make_tree, classes):
    """Make a tree with a folder for checkpoints."""

    def make(**settings):
        channels = {"training": {"a.csv": classes(43)}, "validation": {"v.csv": classes(10, seed=1)}}
        paths = make_tree(channels, **{**RUN, **settings})
        paths.checkpoints.mkdir()
        return paths

    return make


@pytest.fixture(scope="module")
def unbroken(jobs, tree):
    """Weights of the run on two ranks that nobody kills."""
    return jobs.finish(tree(), per_host=2)


def same(weights, expected):
    return weights.keys() == expected.keys() and all(torch.equal(weights[name], expected[name]) for name in expected)


def last_step(text, log):
    found = re.findall(text, log)
    return int(found[-1]) if found else 0


def kill_again_and_again(jobs, paths, moments, per_host=2):
    """Run and kill once a moment; return how many runs the kill has hit."""
    hit, saved = 0, 0
    for moment in moments:
        code, log = jobs.run(paths, per_host=per_host, moment=moment)
        assert code in (0, -9), f"{moment}: {log}"
        hit += code == -9
        # What was said to be saved is where the next run goes on, or later: the kill can come before the word.
        if saved and re.search(r"resuming at step|checkpoint at step", log):
            assert last_step(r"resuming at step (\d+)", log) >= saved, f"{moment}: {log}"
        saved = max(saved, last_step(r"checkpoint at step (\d+):", log))
        resumed = last_step(r"resuming at step (\d+)", log)
        print(f"{json.dumps(moment)}: {'killed' if code else 'ended'}, went on from {resumed}, saved {saved}")
        assert len(list(paths.checkpoints.iterdir())) <= 4
    return hit


def chosen(chance, count):
    """Moments at places of the code in turn, with a kill by the clock after each three of them."""
    for number in range(count):
        if number % 4 == 3:
            yield {"after_s": chance.uniform(0.02, 0.5)}
        else:
            place = PLACES[(number - number // 4) % len(PLACES)]
            yield {"at": place, "rank": chance.randrange(2), "count": chance.randrange(1, 6)}


def test_killed_at_six_moments_it_is_the_unbroken_run(jobs, tree, unbroken):
    paths = tree()
    moments = [
        {"at": "step", "rank": 1, "count": 3},
        {"at": "write", "rank": 1, "count": 2},
        {"at": "fsync", "rank": 0, "count": 7},
        {"at": "replace", "rank": 0, "count": 4},
        {"at": "replaced", "rank": 0, "count": 3},
        {"at": "unlink", "rank": 0, "count": 4},
    ]
    assert kill_again_and_again(jobs, paths, moments) == len(moments)
    assert same(jobs.finish(paths, per_host=2), unbroken)


@pytest.fixture(scope="module")
def unbroken_for_long(jobs, tree):
    return jobs.finish(tree(epochs=LONG), per_host=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_killed_at_fifty_moments_in_all_it_is_the_unbroken_run(jobs, tree, unbroken_for_long, seed):
    paths = tree(epochs=LONG)
    kill_again_and_again(jobs, paths, chosen(random.Random(seed), 10))
    assert same(jobs.finish(paths, per_host=2), unbroken_for_long)


def copy_of(paths, tree, **settings):
    """Another job with the same checkpoints, as the platform restores them."""
    copy = tree(**settings)
    shutil.copytree(paths.checkpoints, copy.checkpoints, dirs_exist_ok=True)
    return copy


def close(weights, expected):
    """Sums in another order differ in their last digits."""
    assert weights.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(weights[name], expected[name], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_saved_on_four_ranks_it_goes_on_on_any_number(jobs, tree):
    """Without dropout, whose numbers are drawn on each rank."""
    settings = {"dropout": 0, "checkpoint_every": 4}
    paths = tree(**settings)
    code, log = jobs.run(paths, per_host=4, moment={"at": "step", "rank": 2, "count": 14})
    assert code == -9, log
    expected = jobs.finish(copy_of(paths, tree, **settings))
    for ranks in (2, 3):
        copy = copy_of(paths, tree, **settings)
        close(jobs.finish(copy, per_host=ranks), expected)
        assert last_step(r"resuming at step (\d+)", jobs.log) >= 8


GPT = {"model": "gpt", "context": 8, "width": 16, "heads": 2, "layers": 2, "batch_size": 4, "checkpoint_every": 3}
GPT |= {"max_steps": 8, "learning_rate": 0.01}


@pytest.mark.slow
def test_saved_in_shards_it_goes_on_in_any_others(jobs, make_tree):
    """FSDP2 cuts weights and moments by their first dimension, tensor parallelism by heads, and the mesh by both."""

    def tree(**settings):
        paths = make_tree({"training": {"a.txt": "to and fro, up and down, " * 20}}, **GPT, **settings)
        paths.checkpoints.mkdir(exist_ok=True)
        return paths

    paths = tree(parallel="fsdp")
    code, log = jobs.run(paths, per_host=2, moment={"at": "step", "rank": 1, "count": 8})
    assert code == -9, log
    expected = jobs.finish(copy_of(paths, tree, parallel="none"))
    for ranks, settings in [(2, {"parallel": "tp"}), (4, {"parallel": "fsdp+tp", "tensor_parallel": 2})]:
        copy = copy_of(paths, tree, **settings)
        close(jobs.finish(copy, per_host=ranks), expected)
        assert "resuming at step" in jobs.log


@pytest.mark.slow
def test_the_ledger_of_a_run_that_was_killed_and_cut_anew_is_that_of_the_unbroken_one(jobs, tree, run_verb):
    """1 -> 2 -> 8 -> 3 ranks, killed in the middle of an epoch each time."""
    settings = {"ledger": True, "dropout": 0}
    unbroken, paths = tree(**settings), tree(**settings)
    jobs.finish(unbroken)
    for ranks, place in ((1, "write"), (2, "fsync"), (8, "step")):
        code, log = jobs.run(paths, per_host=ranks, moment={"at": place, "rank": 0, "count": 7})
        assert code == -9, log
    jobs.finish(paths, per_host=3)
    files = [each.checkpoints / "ledger.jsonl" for each in (unbroken, paths)]
    assert files[0].read_text() == files[1].read_text()
    proof = run_verb("twofold.__main__", paths, "ledger", *map(str, files))
    assert f"{STEPS} steps, each of 43 samples once in each of 4 whole epochs" in proof.log
    assert f"the same samples in every step up to step {STEPS}" in proof.log


@pytest.mark.slow
def test_hosts_with_folders_of_their_own_lend_each_other_what_they_miss(jobs, tree):
    """Each host has the files of its own ranks only, as where no S3 stands between two runs."""
    hosts = [tree(), tree()]
    code, log = jobs.run(*hosts, moment={"at": "step", "rank": 1, "count": 10})
    assert code == -9, log
    assert len(list(hosts[1].checkpoints.glob("*/rank-00001.safetensors"))) >= 2
    assert not list(hosts[1].checkpoints.glob("*/rank-00000.safetensors"))
    again = [copy_of(host, tree) for host in hosts]
    expected = jobs.finish(*again)
    assert last_step(r"resuming at step (\d+)", jobs.log) >= 8
    # As S3 hands it back: everything on every host.
    restored = [tree(), tree()]
    for place in restored:
        for host in hosts:
            shutil.copytree(host.checkpoints, place.checkpoints, dirs_exist_ok=True)
    assert same(jobs.finish(*restored), expected)
    # The second host is another machine, which has nothing: what was only there is lost, and all begin anew.
    lost = [copy_of(hosts[0], tree), tree()]
    assert same(jobs.finish(*lost), expected)
    assert "passing over the broken checkpoint" in jobs.log
    assert "without a whole rank-00001.safetensors" in jobs.log
    assert "resuming" not in jobs.log


def test_a_disk_that_is_full_for_one_rank_costs_that_checkpoint(jobs, tree, unbroken):
    paths = tree()
    code, log = jobs.run(paths, per_host=2, moment={"at": "full", "rank": 1, "count": 3})
    assert code == 0, log
    assert re.search(r"ERROR .*no checkpoint at step 3, earlier ones stay: .*File too large.* \(rank 1\)", log), log
    assert "checkpoint at step 4: " in log
    assert same(load_file(paths.model / "weights.safetensors"), unbroken)


@pytest.mark.slow
def test_a_fault_while_a_checkpoint_is_written_ends_the_job_with_its_cause(make_tree, run_verb, classes):
    """Its ranks leave while their threads still talk about the checkpoint."""
    channels = {"training": {"a.csv": classes(43)}}
    settings = {**RUN, "learning_rate": 1e30, "processes_per_host": 2}
    run = run_verb("twofold.train", make_tree(channels, **settings), expect=1)
    assert run.failure.startswith("user: train:loss is nan after step 6"), run.log
    assert "checkpoint at step 5" in run.log
