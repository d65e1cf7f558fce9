"""Channels in Pipe mode through real FIFOs: writers are threads, other ranks are threads or processes."""

import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from twofold.contract.channels import Channel
from twofold.errors import ConfigError, DataError, PlatformError
from twofold.formats import aialgs, recordio, tfrecord
from twofold.stream.ahead import Stop
from twofold.stream.pipe import Batch, PipeLoader

PROTOBUF, TFRECORD, CSV, JSON_LINES, LIBSVM = (
    "application/x-recordio-protobuf",
    "application/x-tfrecord",
    "text/csv",
    "application/jsonlines",
    "text/libsvm; features=2",
)
HEADER = b"label,features\n"
PROGRAM = """
import atexit, os, sys, threading
from pathlib import Path
import torch
from twofold.contract.channels import Channel
from twofold.stream.pipe import PipeLoader

def transform(batch):
    torch.rand(50_000).sort()
    return batch

program = os.getpid()

# Called after what the loader has registered.
@atexit.register
def left():
    names = [thread.name for thread in threading.enumerate() if thread.name in ("MainThread", "twofold-ahead")]
    if os.getpid() == program:
        print("left:", names)

loader = PipeLoader(Channel(name="train", path=Path(sys.argv[1]), mode="Pipe"), 2, transform=transform)
batches = iter(loader)
print(next(batches)["label"].flatten().tolist(), flush=True)
if not os.fork():
    sys.exit(0)
os.wait()
for _ in range(100):
    next(batches)
LAST
"""


def protobuf(first: int, last: int) -> bytes:
    return b"".join(
        aialgs.encode({"features": np.full(4, i, np.float32), "label": np.array([i], np.float32)})
        for i in range(first, last)
    )


def tfrecords(first: int, last: int) -> bytes:
    return b"".join(
        tfrecord.encode({"features": np.full(4, i, np.float32), "label": np.array([i], np.float32)})
        for i in range(first, last)
    )


def csv_lines(first: int, last: int) -> bytes:
    return b"".join(b"%d,%d,%d\n" % (i, i, i) for i in range(first, last))


def json_lines(first: int, last: int) -> bytes:
    return b"".join(b'{"label":%d,"features":[%d,%d]}\n' % (i, i, i) for i in range(first, last))


def libsvm_lines(first: int, last: int) -> bytes:
    return b"".join(b"%d 1:%d 2:%d\n" % (i, i, i) for i in range(first, last))


def named_lines(first: int, last: int) -> bytes:
    """Objects of up to ten lines, each with its header, one after the other."""
    lines = [b"%d,%d\n" % (i, i) for i in range(first, last)]
    return b"".join(HEADER + b"".join(lines[at : at + 10]) for at in range(0, len(lines), 10))


class Writer:
    """Writes bytes into a FIFO as the platform does: from when it is opened until all is written or it is closed."""

    def __init__(self, path: Path, data: bytes, *, piece: int = 1 << 16, make: bool = True) -> None:
        self.broken = False
        self._path, self._data, self._piece = path, data, piece
        if make:
            os.mkfifo(path)
        self.thread = threading.Thread(target=self._write, daemon=True)
        self.thread.start()

    def _write(self) -> None:
        try:
            with self._path.open("wb", buffering=0) as fifo:
                for start in range(0, len(self._data), self._piece):
                    fifo.write(self._data[start : start + self._piece])
        except BrokenPipeError:
            self.broken = True

    def ended(self) -> bool:
        self.thread.join(10)
        return not self.thread.is_alive()


def channel(folder: Path, content_type: str | None = PROTOBUF, **fields: object) -> Channel:
    return Channel(name="train", path=folder / "train", mode="Pipe", content_type=content_type, **fields)  # type: ignore[arg-type]


def labels(batches: list[Batch]) -> list[list[float]]:
    return [batch["label"].flatten().tolist() if batch else [] for batch in batches]


def steps(total: int, size: int) -> list[list[int]]:
    return [list(range(start, min(start + size, total))) for start in range(0, total, size)]


@pytest.mark.parametrize("piece", [7, 1 << 16])
@pytest.mark.parametrize(
    ("content_type", "write"),
    [
        (PROTOBUF, protobuf),
        (TFRECORD, tfrecords),
        (CSV, csv_lines),
        (JSON_LINES, json_lines),
        (LIBSVM, libsvm_lines),
        (CSV, named_lines),
        (None, protobuf),
        (None, tfrecords),
        (None, csv_lines),
        (None, json_lines),
        (None, named_lines),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_records_come_in_the_order_of_the_pipe(
    tmp_path: Path,
    content_type: str | None,
    write: Callable[[int, int], bytes],
    piece: int,
    pack: Callable[[bytes], bytes],
) -> None:
    Writer(tmp_path / "train_0", pack(write(0, 51)) + pack(write(51, 103)), piece=piece)
    batches = list(PipeLoader(channel(tmp_path, content_type), 10))
    assert labels(batches) == steps(103, 10)
    for batch in batches:
        assert (batch["features"].reshape(len(batch["label"]), -1) == batch["label"].reshape(-1, 1)).all()


def test_records_of_any_size_are_decoded_one_by_one(tmp_path: Path) -> None:
    data = b"".join(aialgs.encode({"features": np.zeros(i + 1, np.float32)}) for i in range(5))
    Writer(tmp_path / "train_0", data)
    [batch] = PipeLoader(channel(tmp_path), 5)
    assert [len(row) for row in batch["features"]] == [1, 2, 3, 4, 5]


def test_plain_recordio_gives_bytes(tmp_path: Path) -> None:
    magic = recordio.MAGIC.to_bytes(4, "little")
    payloads = [b"", b"abc", magic, b"1234" + magic + magic + b"tail"]
    Writer(tmp_path / "train_0", b"".join(map(recordio.frame, payloads)), piece=3)
    [batch] = PipeLoader(channel(tmp_path, "application/x-recordio"), 4)
    assert batch["data"] == payloads


def test_wrapper_makes_each_object_one_record(tmp_path: Path) -> None:
    objects = [b"1,2\n3,4\n", b"5"]
    Writer(tmp_path / "train_0", b"".join(map(recordio.frame, objects)))
    [batch] = PipeLoader(channel(tmp_path, CSV, record_wrapper="RecordIO"), 2)
    assert batch["data"] == objects


def test_augmented_manifest_gives_a_sample_for_each_line(tmp_path: Path) -> None:
    records = [b"image a", b"3", b"dog", b"image b", b"4", b"cat"]
    Writer(tmp_path / "train_0", b"".join(map(recordio.frame, records)))
    augmented = channel(tmp_path, "application/x-image", record_wrapper="RecordIO")
    loader = PipeLoader(augmented, 2, attributes=("image-ref", "label", "name"))
    [batch] = loader
    assert batch["image-ref"] == [b"image a", b"image b"]
    assert batch["label"].tolist() == [3, 4]
    assert batch["name"] == ["dog", "cat"]


def test_csv_without_labels_and_without_a_last_line_feed(tmp_path: Path) -> None:
    Writer(tmp_path / "train_0", b"1,2\n3,4\n5,6")
    [batch] = PipeLoader(channel(tmp_path, "text/csv; label_size=0"), 4)
    assert batch["features"].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert "label" not in batch


@pytest.mark.parametrize(
    ("content_type", "line", "header"),
    [(CSV, b"%d,2\n", b""), (CSV, b"%d,2\n", HEADER), (LIBSVM, b"%d 1:2\n", b""), (JSON_LINES, b'{"label":%d}\n', b"")],
)
@pytest.mark.parametrize("size", [1, 3])
def test_empty_lines_and_headers_are_no_records(
    tmp_path: Path, content_type: str, line: bytes, header: bytes, size: int
) -> None:
    mark = b"\xef\xbb\xbf" if header else b""
    data = mark + header + b"\n\r\n" + line % 1 + b" \n" + header + line % 3 + line % 5 + b"\n" + header + b"\n \n"
    Writer(tmp_path / "train_0", data, piece=1)
    found = labels(list(PipeLoader(channel(tmp_path, content_type), size)))
    assert found == ([[1], [3], [5]] if size == 1 else [[1, 3, 5]])


def test_columns_of_text_are_known_from_the_first_lines(tmp_path: Path) -> None:
    Writer(tmp_path / "train_0", b"city,income\n" + b"Bern,5\n7,6\n" * 600 + b"Bern,oops\n")
    batches = iter(PipeLoader(channel(tmp_path, CSV), 2))
    for batch in [next(batches) for _ in range(500)]:
        assert batch["city"] == ["Bern", "7"]
        assert batch["income"].tolist() == [5, 6]
    with pytest.raises(DataError, match=r"'train': line 1202, column 2 is 'oops'.*'income'"):
        list(batches)


def test_a_pipe_is_read_as_soon_as_its_first_records_are_there(tmp_path: Path) -> None:
    """A writer that pauses must not be waited for where there is enough to begin with."""
    path = tmp_path / "train_0"
    os.mkfifo(path)
    taken = threading.Event()

    def write() -> None:
        with path.open("wb", buffering=0) as fifo:
            fifo.write(csv_lines(0, 40))
            assert taken.wait(60)
            fifo.write(csv_lines(40, 50))

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    batches = iter(PipeLoader(channel(tmp_path, CSV), 5))
    first = next(batches)
    taken.set()
    assert labels([first, *batches]) == steps(50, 5)


@pytest.mark.parametrize("spoil", ["cut", "flip", "tail"])
def test_gzip_that_is_damaged_is_named(tmp_path: Path, spoil: str) -> None:
    data = gzip.compress(protobuf(0, 500))
    spoilt = {"cut": data[:-9], "flip": damaged(data, len(data) - 5), "tail": data + b"no gzip"}[spoil]
    Writer(tmp_path / "train_0", spoilt)
    with pytest.raises(DataError, match=r"'train', near byte \d+ of what is unpacked: .*Expected whole gzip files"):
        list(PipeLoader(channel(tmp_path), 100))


def test_leaving_a_compressed_pipe_early_tells_the_writer(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).standard_normal((500, 1000)).astype(np.float32)
    data = b"".join(aialgs.encode({"features": row, "label": np.float32(i)}) for i, row in enumerate(noise))
    writer = Writer(tmp_path / "train_0", gzip.compress(data, 1) * 20)
    batches = iter(PipeLoader(channel(tmp_path), 3))
    assert labels([next(batches)]) == [[0, 1, 2]]
    batches.close()  # type: ignore[attr-defined]
    assert writer.ended()
    assert writer.broken


@pytest.mark.parametrize("content_type", ["text/libsvm", None, "text/libsvm; features=many"])
def test_libsvm_of_which_nobody_says_how_wide_it_is(tmp_path: Path, content_type: str | None) -> None:
    Writer(tmp_path / "train_0", libsvm_lines(0, 10))
    with pytest.raises(ConfigError, match=r"features.* Expected (the number of them|a whole number)"):
        list(PipeLoader(channel(tmp_path, content_type), 3))


def test_libsvm_wider_than_stated(tmp_path: Path) -> None:
    Writer(tmp_path / "train_0", libsvm_lines(0, 10) + b"1 3:1\n")
    with pytest.raises(DataError, match="line 11: found index 3, expected at most 2"):
        list(PipeLoader(channel(tmp_path, LIBSVM), 3))


def test_stream_that_is_nothing_known(tmp_path: Path) -> None:
    Writer(tmp_path / "train_0", b"a b\nc d\n" * 20)
    with pytest.raises(DataError, match=r"Channel 'train': the stream starts with .*none of the formats"):
        list(PipeLoader(channel(tmp_path, None), 3))
    (tmp_path / "train_0").unlink()
    Writer(tmp_path / "train_0", b"\x93NUMPY" + bytes(200))
    loader = PipeLoader(channel(tmp_path, None), 3)
    with pytest.raises(ConfigError, match=r"is npy, which cannot be read in Pipe mode"):
        list(loader)


def test_each_epoch_opens_the_next_fifo(tmp_path: Path) -> None:
    Writer(tmp_path / "train_0", protobuf(0, 5))
    Writer(tmp_path / "train_1", protobuf(10, 14))
    loader = PipeLoader(channel(tmp_path), 3)
    assert labels(list(loader)) == [[0, 1, 2], [3, 4]]
    assert (loader.epoch, loader.step) == (1, 0)
    assert labels(list(loader)) == [[10, 11, 12], [13]]


def test_fifo_may_come_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pause = Stop.pause

    def make_then_pause(stop: Stop, seconds: float) -> None:
        if not (tmp_path / "train_0").exists():
            Writer(tmp_path / "train_0", protobuf(0, 3))
        pause(stop, seconds)

    monkeypatch.setattr(Stop, "pause", make_then_pause)
    assert labels(list(PipeLoader(channel(tmp_path), 3))) == [[0, 1, 2]]


def test_fifo_that_never_comes(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"train_0 has not appeared in 0\.05 s"):
        list(PipeLoader(channel(tmp_path), 3, wait_seconds=0.05))


def test_writer_that_never_comes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train_0")
    with pytest.raises(PlatformError, match=r"train_0 has brought nothing for 0\.05 s"):
        list(PipeLoader(channel(tmp_path), 3, wait_seconds=0.05))


def test_pass_without_a_record(tmp_path: Path) -> None:
    Writer(tmp_path / "train_0", b"")
    loader = PipeLoader(channel(tmp_path), 3)
    assert list(loader) == []
    assert loader.epoch == 1


def test_leaving_early_tells_the_writer(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "train_0", protobuf(0, 500) * 100)
    Writer(tmp_path / "train_1", protobuf(50, 53))
    loader = PipeLoader(channel(tmp_path), 3)
    batches = iter(loader)
    assert labels([next(batches), next(batches)]) == [[0, 1, 2], [3, 4, 5]]
    batches.close()  # type: ignore[attr-defined]
    assert writer.ended()
    assert writer.broken
    assert loader.state_dict()["step"] == 2
    loader.end_epoch()
    assert labels(list(loader)) == [[50, 51, 52]]


@pytest.mark.parametrize("write", [protobuf, csv_lines])
def test_resume_skips_what_was_done(tmp_path: Path, write: Callable[[int, int], bytes]) -> None:
    content_type = PROTOBUF if write is protobuf else CSV
    (tmp_path / "again").mkdir()
    Writer(tmp_path / "train_0", write(0, 50))
    first = PipeLoader(channel(tmp_path, content_type), 4)
    batches = iter(first)
    seen = [next(batches) for _ in range(5)]
    state = first.state_dict()
    batches.close()  # type: ignore[attr-defined]
    Writer(tmp_path / "again" / "train_0", write(0, 50), piece=11)
    second = PipeLoader(channel(tmp_path / "again", content_type), 4)
    second.load_state_dict(state)
    assert labels([*seen, *second]) == steps(50, 4)


def test_state_of_another_batch_is_refused(tmp_path: Path) -> None:
    state = PipeLoader(channel(tmp_path), 4).state_dict()
    with pytest.raises(ConfigError, match="batch_size=4, now it is 5"):
        PipeLoader(channel(tmp_path), 5).load_state_dict(state)


def test_last_short_batch_can_be_left_out(tmp_path: Path) -> None:
    Writer(tmp_path / "train_0", protobuf(0, 10))
    assert labels(list(PipeLoader(channel(tmp_path), 4, drop_last=True))) == steps(8, 4)


def test_transform_sees_each_batch(tmp_path: Path) -> None:
    Writer(tmp_path / "train_0", protobuf(0, 4))
    loader = PipeLoader(channel(tmp_path), 2, transform=lambda batch: {"label": batch["label"] * 2})
    assert labels(list(loader)) == [[0, 2], [4, 6]]


@pytest.mark.parametrize(
    ("content_type", "write"), [(PROTOBUF, protobuf), (TFRECORD, tfrecords)], ids=["protobuf", "tf"]
)
@pytest.mark.parametrize("cut", [1, 20])
def test_end_within_a_record(tmp_path: Path, content_type: str, write: Callable[[int, int], bytes], cut: int) -> None:
    size = len(write(0, 1))
    Writer(tmp_path / "train_0", write(0, 8)[:-cut])
    with pytest.raises(DataError, match=rf"'train', record 7 at byte {7 * size}: the stream ends after {size - cut} b"):
        list(PipeLoader(channel(tmp_path, content_type), 3))


def damaged(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


@pytest.mark.parametrize("piece", [13, 1 << 16])
@pytest.mark.parametrize(
    ("content_type", "write", "inside", "message"),
    [
        (PROTOBUF, protobuf, 0, "RecordIO's magic number"),
        (TFRECORD, tfrecords, 0, "checksum 0x"),
        (TFRECORD, tfrecords, 30, "checksum 0x"),
        (PROTOBUF, protobuf, 8, "at byte 14 of the record"),
    ],
)
def test_damage_is_named_by_record_and_byte(
    tmp_path: Path, content_type: str, write: Callable[[int, int], bytes], inside: int, message: str, piece: int
) -> None:
    size = len(write(0, 1))
    Writer(tmp_path / "train_0", damaged(write(0, 20), 9 * size + inside), piece=piece)
    with pytest.raises(DataError, match=rf"'train'.*record 9 at byte {9 * size}: .*{message}"):
        list(PipeLoader(channel(tmp_path, content_type), 4))


def test_text_in_a_line_is_named(tmp_path: Path) -> None:
    Writer(tmp_path / "train_0", b"1,2\n3,4\n5,six\n")
    with pytest.raises(DataError, match=r"'train': line 3, column 2 is 'six'.*from byte 8 of the stream"):
        list(PipeLoader(channel(tmp_path, CSV), 2))


def test_type_that_no_pipe_has(tmp_path: Path) -> None:
    Writer(tmp_path / "train_0", b"PAR1 and more")
    with pytest.raises(ConfigError, match="'application/x-parquet' cannot be read in Pipe mode"):
        list(PipeLoader(channel(tmp_path, "application/x-parquet"), 4))


@pytest.mark.slow
@pytest.mark.parametrize("records", [100_000, 300], ids=["it-transforms", "it-waits"])
@pytest.mark.parametrize("last", ["sys.exit(7)", "threading.Thread(target=list, args=[batches], daemon=True).start()"])
def test_reading_ahead_ends_with_the_program(tmp_path: Path, last: str, records: int) -> None:
    Writer(tmp_path / "train_0", protobuf(0, records))
    program = PROGRAM.replace("LAST", last)
    # Open for writing here too, so that the pipe never ends.
    holder = os.open(tmp_path / "train_0", os.O_RDWR)
    command = [sys.executable, "-c", program, str(tmp_path / "train")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    os.close(holder)
    assert done.returncode == (7 if "exit" in last else 0), done.stderr
    assert "Fatal" not in done.stderr
    assert "[0.0, 1.0]" in done.stdout
    assert done.stdout.endswith("left: ['MainThread']\n")


def test_memory_does_not_grow_with_the_pipe(tmp_path: Path) -> None:
    record = aialgs.encode({"features": np.zeros(16384, np.float32), "label": np.zeros(1, np.float32)})
    repeated = record * 64
    path = tmp_path / "train_0"
    os.mkfifo(path)

    def write() -> None:
        with path.open("wb", buffering=0) as fifo:
            for _ in range(80):
                fifo.write(repeated)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    before, most, samples = anonymous(), 0, 0
    for batch in PipeLoader(channel(tmp_path), 64):
        samples += len(batch["label"])
        most = max(most, anonymous())
    assert samples == 64 * 80
    assert most - before < 100 << 20 < 80 * len(repeated) / 3


def anonymous() -> int:
    """Bytes of this process that are no file's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) << 10
