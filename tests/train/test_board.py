"""What TensorBoard would read: the events, by tensorboardX's own messages."""

import errno
import struct

from tensorboardX.proto.event_pb2 import Event
from twofold.train.board import Board


def events(folder):
    """All events of a folder's files, which are TFRecord files."""
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            yield Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]


def scalars(folder):
    return [(value.tag, event.step, value.simple_value) for event in events(folder) for value in event.summary.value]


def test_nothing_is_made_before_there_is_a_value(tmp_path):
    board = Board(tmp_path / "tensorboard")
    board.start(0)
    board.close()
    assert list(tmp_path.iterdir()) == []


def test_values_are_grouped_by_channel(tmp_path):
    board = Board(tmp_path / "tensorboard")
    board.start(0)
    board.add({"train:loss": 0.5, "samples_per_second": 1024.0}, 8)
    board.add({"train:loss": 0.25}, 16)
    board.close()
    assert scalars(tmp_path / "tensorboard") == [
        *(("train/loss", 8, 0.5), ("run/samples_per_second", 8, 1024.0)),
        ("train/loss", 16, 0.25),
    ]


def test_no_semaphore_is_needed(tmp_path, monkeypatch):
    """They lie in /dev/shm, which can be a byte."""

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("_multiprocessing.SemLock", fail)
    board = Board(tmp_path)
    board.add({"train:loss": 0.5}, 1)
    board.close()
    assert scalars(tmp_path) == [("train/loss", 1, 0.5)]


def test_a_full_disk_costs_events_and_not_the_job(tmp_path, caplog, files_of_at_most):
    board = Board(tmp_path)
    with files_of_at_most(200):
        board.add({"train:loss": 0.5}, 1)
        for step in range(2, 400):
            board.add({"train:loss": 0.5}, step)
        board.close()
    assert "no more events for TensorBoard" in caplog.text


def test_a_folder_that_cannot_be_made_costs_events_too(tmp_path, caplog):
    (tmp_path / "tensorboard").write_text("a file")
    board = Board(tmp_path / "tensorboard")
    board.add({"train:loss": 0.5}, 1)
    board.close()
    assert "no more events for TensorBoard" in caplog.text


def test_what_was_written_after_the_step_resumed_from_no_longer_counts(tmp_path):
    board = Board(tmp_path)
    board.start(8)
    board.add({"train:loss": 0.5}, 12)
    board.close()
    assert [event.step for event in events(tmp_path) if event.HasField("session_log")] == [9]


def test_what_was_written_before_the_ranks_began_anew_no_longer_counts(tmp_path):
    (tmp_path / "events.out.tfevents.1.host").write_bytes(b"")
    board = Board(tmp_path)
    board.start(0)
    board.add({"train:loss": 0.5}, 1)
    board.close()
    assert [event.step for event in events(tmp_path) if event.HasField("session_log")] == [1]
