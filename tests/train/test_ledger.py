"""Ledgers that are right, and what is found in those that are not."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from twofold.errors import ConfigError, DataError
from twofold.train.ledger import Ledger
from twofold.train.ledger_file import Head, hash_all, hash_ids, read_ledger
from twofold.train.ledger_proof import main
from twofold.train.piped import PipedSamples
from twofold.train.ranks import Ranks

EPOCHS = [[[4, 1], [0, 3], [2]], [[0, 1], [2, 3], [4]], [[1, 2]]]
"""Two whole epochs of five samples, and one under way."""


@pytest.fixture
def training(samples_of, classes):
    return samples_of(classes(5))


@pytest.fixture
def write(tmp_path, training):
    """write("name", epochs) -> path of a ledger of these batches."""

    def make(name, epochs):
        ledger, chain, step = Ledger(tmp_path / name, training, Ranks()), "", 0
        ledger.go_on(0)
        for epoch, batches in enumerate(epochs):
            for batch in batches:
                step += 1
                chain = ledger.add(chain, step=step, epoch=epoch, ids=np.array(batch, dtype=np.int64))
        return tmp_path / name / "ledger.jsonl"

    return make


def prove(*paths):
    done = CliRunner().invoke(main, list(map(str, paths)))
    return done.exit_code, done.output


def test_a_sound_ledger(write):
    code, text = prove(write("a", EPOCHS))
    assert (code, text.split(": ")[1]) == (0, "7 steps, each of 5 samples once in each of 2 whole epochs\n")


def test_the_last_epoch_counts_when_it_is_whole(write):
    assert "in each of 2 whole epochs" in prove(write("a", EPOCHS[:2]))[1]


@pytest.mark.parametrize(
    ("batches", "seen"), [([[4, 1], [0, 3], [3]], 5), ([[4, 1], [0, 3]], 4), ([[4, 1], [0, 3], [2, 2]], 6)]
)
def test_a_sample_lost_or_repeated_is_found(write, batches, seen):
    code, text = prove(write("a", [EPOCHS[0], batches, EPOCHS[2]]))
    assert code == 1
    assert text.endswith(f"epoch 2 has seen {seen} samples, and not each of 5 once\n")


def test_who_saw_a_sample_and_in_which_order_does_not_matter(write):
    swapped = [[[1, 4], [3, 0], [2]], *EPOCHS[1:]]
    a, b = write("a", EPOCHS), write("b", swapped)
    assert a.read_text() == b.read_text()
    assert prove(a, b)[1].endswith("the same samples in every step up to step 7\n")


def test_the_first_step_that_differs_is_named(write):
    other = [EPOCHS[0], [[0, 2], [1, 3], [4]], EPOCHS[2]]
    code, text = prove(write("a", EPOCHS), write("b", other))
    assert code == 1
    assert "step 4 has seen other samples: 2 and 2 of them" in text


def keep(path, first, last):
    """Leave the lines of some steps, as where a folder was lost in between."""
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:1] + lines[first : last + 1]))
    return path


def test_the_chain_knows_what_was_before_the_lines_that_are_left(write):
    a, b = write("a", EPOCHS), write("b", [[[4, 2], [0, 3], [1]], *EPOCHS[1:]])
    assert prove(a, keep(write("c", EPOCHS), 4, 7))[0] == 0
    code, text = prove(a, keep(b, 4, 7))
    assert code == 1
    assert "steps before step 4 have seen other samples" in text
    assert "they share no step" in prove(keep(a, 1, 3), b)[1]


def test_lines_that_were_changed_or_taken_out_are_found(write):
    path = write("a", EPOCHS)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3] + lines[4:]))
    assert "step 4 comes after step 2" in prove(path)[1]
    changed = {**json.loads(lines[3]), "samples": 3}
    path.write_text("".join([*lines[:3], json.dumps(changed) + "\n", *lines[4:]]))
    assert "step 3 does not continue the chain of the step before" in prove(path)[1]


def test_a_resumed_run_goes_on_in_its_ledger(write, tmp_path, training):
    path = write("a", EPOCHS)
    whole = path.read_text()
    path.write_text(whole + '{"step": 8, "ep')
    again = Ledger(tmp_path / "a", training, Ranks())
    again.go_on(5)
    chain, entries = read_ledger(path)[1][-1].chain, [[4], [1, 2]]
    for step, epoch, ids in ((6, 1, entries[0]), (7, 2, entries[1])):
        chain = again.add(chain, step=step, epoch=epoch, ids=np.array(ids))
    assert path.read_text() == whole


def test_a_ledger_of_other_data_is_not_continued(write, tmp_path, samples_of, classes):
    path = write("a", EPOCHS)
    Ledger(tmp_path / "a", samples_of(classes(6), channel="other"), Ranks()).go_on(3)
    assert read_ledger(path) == (Head(sizes=[6]), [])


@pytest.mark.parametrize("content", [None, "", "{}\n", "no ledger\n"])
def test_what_is_no_ledger_is_named(tmp_path, content):
    path = tmp_path / "ledger.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=f"{path}: .*Expected a ledger"):
        read_ledger(path)
    code, text = prove(path)
    assert code == 3
    assert "ledger=true" in text


def test_parts_have_ids_of_their_own():
    """With data divided between hosts, sample 3 of one is not sample 3 of the other."""
    assert hash_ids(np.array([3]), 0) != hash_ids(np.array([3]), 1)
    assert hash_all([2, 1]) == sum(hash_ids(np.array([n]), part) for n, part in [(0, 0), (1, 0), (0, 1)]) % 2**64


def test_a_pipe_has_no_ledger():
    with pytest.raises(ConfigError, match="Pipe mode, whose samples have no numbers"):
        Ledger(None, object.__new__(PipedSamples), Ranks())
