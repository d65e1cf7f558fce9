import errno
import json
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twofold.contract.outcome import exit_code, failure_text, signal_exit, write_failure, write_message
from twofold.contract.paths import Paths
from twofold.errors import ConfigError, DataError, PlatformError, TwofoldError

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=3000)  # half surrogate pairs included


def caught(function, *arguments):
    try:
        function(*arguments)
    except ValueError as error:
        return error
    raise AssertionError("nothing was raised")


def _fill(said):
    raise ValueError(said) from OSError(errno.ENOSPC, "No space left on device")


def test_failure_file_is_made_with_its_folder(tree):
    assert write_failure(tree.paths, "data: no rows")
    assert tree.paths.failure.read_text() == "data: no rows"


def test_the_users_own_failure_file_wins(tree):
    tree.write(tree.paths.failure, "mine")
    assert not write_failure(tree.paths, "ours")
    assert tree.paths.failure.read_text() == "mine"


def test_an_empty_failure_file_is_filled(tree):
    tree.write(tree.paths.failure, "")
    assert write_failure(tree.paths, "ours")
    assert tree.paths.failure.read_text() == "ours"


@given(text=ANY_TEXT)
def test_failure_file_is_never_over_1024_characters_and_always_utf8(tmp_path_factory, text):
    paths = Paths(tmp_path_factory.mktemp("ml"))
    assert write_failure(paths, text)
    written = paths.failure.read_bytes().decode("utf-8")
    assert len(written) <= 1024
    assert written[:1021] == text.encode("utf-8", "replace").decode("utf-8")[:1021]


@given(text=ANY_TEXT)
def test_message_is_never_over_1024_bytes_and_always_utf8(tmp_path_factory, text):
    paths = Paths(tmp_path_factory.mktemp("ml"))
    assert write_message(paths, text)
    written = paths.message.read_bytes()
    assert len(written) <= 1024
    assert written.decode("utf-8")[:200] == text.encode("utf-8", "replace").decode("utf-8")[:200]


def test_message_is_cut_between_characters(tree):
    write_message(tree.paths, "é" * 600)
    assert tree.paths.message.read_text(encoding="utf-8") == "é" * 510 + "..."


def test_a_tree_that_cannot_be_written_is_logged_and_nothing_raised(tmp_path, caplog):
    (tmp_path / "output").write_text("a file where the folder should be")
    assert not write_failure(Paths(tmp_path), "data: no rows")
    assert not write_message(Paths(tmp_path), "half \ud800 pair")
    assert "data: no rows" in caplog.text


def test_text_of_an_error_of_ours_is_its_message_alone():
    assert failure_text(DataError("No rows.")) == "data: No rows."
    assert failure_text(DataError("No rows."), who="rank 1") == "data: No rows."
    assert failure_text(DataError("No rows."), cause="user code") == "user code: No rows."
    assert failure_text(TwofoldError("Oops.")) == "internal: Oops."


def test_text_of_an_error_nobody_foresaw_names_type_and_place():
    text = failure_text(caught(json.loads, "{"))
    assert text.startswith("user code: JSONDecodeError: Expecting property name")
    assert "test_outcome.py" in text
    assert text.endswith("in caught: function(*arguments))")


def test_text_of_an_error_from_libraries_alone_names_their_last_line():
    error = caught(json.loads, "{")
    error.__traceback__ = error.__traceback__.tb_next
    text = failure_text(error)
    assert text.startswith("internal: JSONDecodeError")
    assert "decoder.py" in text


def test_a_long_message_leaves_room_for_the_place_and_the_hint():
    text = failure_text(caught(_fill, "x" * 5000), who="rank 3")
    assert text.startswith("disk: rank 3: ValueError: xxx")
    assert "in _fill: raise ValueError(said)" in text
    assert text.endswith("FastFile mode.")
    assert len(text) < 1024


def test_notes_and_empty_messages():
    error = ConfigError("Bad.")
    error.add_note("In train.csv.")
    assert failure_text(error) == "configuration: Bad. In train.csv."
    assert failure_text(RuntimeError()) == "internal: RuntimeError"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TwofoldError("x"), 1),
        (ConfigError("x"), 2),
        (DataError("x"), 3),
        (PlatformError("x"), 5),
        (ValueError("x"), 1),
        (KeyboardInterrupt(), 130),
        (SystemExit(), 0),
        (SystemExit(7), 7),
        (SystemExit("gone"), 1),
    ],
)
def test_exit_code(error, code):
    assert exit_code(error) == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGBUS])
def test_signal_of_a_real_child(number):
    child = subprocess.run([sys.executable, "-c", f"import os; os.kill(os.getpid(), {int(number)})"], check=False)
    code, sentence = signal_exit(child.returncode)
    assert code == 128 + number
    assert sentence.startswith(f"was killed by {number.name} (signal {int(number)}): ")


def test_sigkill_teaches():
    assert signal_exit(-9) == (
        137,
        "was killed by SIGKILL (signal 9): perhaps out of memory: lower batch_size or take a bigger instance",
    )
    assert signal_exit(137) == signal_exit(-9)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [(0, "ended with exit code 0"), (2, "ended with exit code 2"), (255, "ended with exit code 255")],
)
def test_plain_exit_codes_are_kept(code, sentence):
    assert signal_exit(code) == (code, sentence)


def test_signal_without_a_name_or_hint():
    assert signal_exit(-signal.SIGUSR1) == (138, "was killed by SIGUSR1 (signal 10)")
    assert signal_exit(-40) == (168, "was killed by a signal (signal 40)")
