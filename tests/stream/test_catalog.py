"""Every kind of file, written by its own tools where there are any, read back by number."""

import contextlib
import io
import json
import resource
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from twofold.errors import DataError, PlatformError
from twofold.formats import aialgs, recordio, tfrecord
from twofold.formats import npy as npy_format
from twofold.stream import index, tables
from twofold.stream import rows as table_rows
from twofold.stream.catalog import Host, open_dataset
from twofold.stream.files import File, Maps
from twofold.stream.loader import StreamingLoader

RNG = np.random.default_rng(7)
LABELS = np.arange(120, dtype=np.float32)
FEATURES = RNG.standard_normal((120, 6)).astype(np.float32)
PIXELS = RNG.integers(0, 256, (120, 3, 32, 32), dtype=np.uint8)
WORDS = [f"word {number} é" for number in range(120)]
PARTS = (slice(0, 50), slice(50, 51), slice(51, 120))
TRUTH = {"label": LABELS, "features": FEATURES}


def joined(encode, part):
    return b"".join(encode(number) for number in range(120)[part])


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(part):
    file = io.BytesIO()
    np.savez(file, label=LABELS[part], features=FEATURES[part])
    return file.getvalue()


def csv_of(part, header=""):
    rows = np.column_stack([LABELS[part], FEATURES[part]])
    return (header + "".join(",".join(f"{value:.9g}" for value in row) + "\n" for row in rows)).encode()


def libsvm(part):
    """The last feature is 0 but in the last shard, so that shards differ in their largest index."""
    lines = []
    for label, row in zip(LABELS[part], SPARSE[part], strict=True):
        lines.append(f"{label:g} " + " ".join(f"{place}:{value:.9g}" for place, value in enumerate(row, 1) if value))
    return "\n".join(lines).encode() + b"\n"


SPARSE = np.where(RNG.random((120, 6)) < 0.5, FEATURES, 0).astype(np.float32)
SPARSE[:, 0], SPARSE[:51, 5], SPARSE[119, 5] = 1, 0, 2


def jsonl(part, **others):
    names = {"label": LABELS.tolist(), "features": FEATURES.tolist(), **others}
    return b"".join(
        json.dumps({name: values[n] for name, values in names.items()}).encode() + b"\n" for n in range(120)[part]
    )


def parquet(part, **others):
    table = {"label": LABELS[part], "features": list(FEATURES[part])}
    file = io.BytesIO()
    pq.write_table(
        pa.table({**table, **{name: values[part] for name, values in others.items()}}),
        file,
        row_group_size=30,
        write_page_checksum=True,
    )
    return file.getvalue()


def protobuf(number):
    return aialgs.encode({"label": LABELS[number], "features": FEATURES[number]})


def ragged(number):
    return FEATURES[number, : number % 5 + 2]


def tar(part):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for number in range(120)[part]:
            members = {"cls": str(number).encode(), "npy": npy(FEATURES[number]), "txt": WORDS[number].encode()}
            for name, content in members.items():
                entry = tarfile.TarInfo(f"{number:04d}.{name}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


IDS = np.arange(120, dtype=np.int64) * 10**12
BYTES = [bytes([0, 255, 10, number]) for number in range(120)]
RAGGED = [ragged(number) for number in range(120)]

KINDS = {
    "csv": (".csv", csv_of, TRUTH),
    "csv without a name": ("", csv_of, TRUTH),
    "csv with a header": (
        ".csv",
        lambda part: csv_of(part, "y,a,b,c,d,e,f\n"),
        {"y": LABELS, **{name: FEATURES[:, place] for place, name in enumerate("abcdef")}},
    ),
    "libsvm": (".libsvm", libsvm, {"label": LABELS, "features": SPARSE}),
    "json lines": (".jsonl", jsonl, TRUTH),
    "json lines with text": (".jsonl", lambda part: jsonl(part, text=WORDS), {**TRUTH, "text": WORDS}),
    "json lines of several lengths": (
        ".jsonl",
        lambda part: jsonl(part, box=[row.tolist() for row in RAGGED]),
        {**TRUTH, "box": RAGGED},
    ),
    "parquet": (".parquet", parquet, TRUTH),
    "parquet with text": (
        ".parquet",
        lambda part: parquet(part, text=WORDS, id=IDS, image=BYTES, box=RAGGED),
        {**TRUTH, "text": WORDS, "id": IDS, "image": BYTES, "box": RAGGED},
    ),
    "npz": (".npz", npz, TRUTH),
    "npy": (".npy", lambda part: npy(FEATURES[part]), {"data": FEATURES}),
    "npy of one axis": (".npy", lambda part: npy(LABELS[part]), {"data": LABELS}),
    "npy of images": (".npy", lambda part: npy(PIXELS[part]), {"data": PIXELS}),
    "npy in fortran order": (".npy", lambda part: npy(np.asfortranarray(FEATURES[part])), {"data": FEATURES}),
    "protobuf": (".rec", lambda part: joined(protobuf, part), TRUTH),
    "protobuf of several lengths": (
        ".rec",
        lambda part: joined(lambda n: aialgs.encode({"label": LABELS[n], "features": ragged(n)}), part),
        {"label": LABELS, "features": RAGGED},
    ),
    "recordio": (".rec", lambda part: joined(lambda n: recordio.encode({"data": WORDS[n].encode()}), part), None),
    "tfrecord": (
        ".tfrecord",
        lambda part: joined(lambda n: tfrecord.encode({"label": LABELS[n], "features": FEATURES[n]}), part),
        TRUTH,
    ),
    "tfrecord of several lengths": (
        ".tfrecord",
        lambda part: joined(lambda n: tfrecord.encode({"id": np.int64(n * 3), "features": ragged(n)}), part),
        {"id": np.arange(120) * 3, "features": RAGGED},
    ),
    "tfrecord with labels above 127": (
        ".tfrecord",
        lambda part: joined(lambda n: tfrecord.encode({"id": np.int64(n * 3), "features": FEATURES[n]}), part),
        {"id": np.arange(120) * 3, "features": FEATURES},
    ),
    "tar": (".tar", tar, {"cls": np.arange(120), "npy": FEATURES, "txt": WORDS}),
}


def write(folder, kind, parts=PARTS):
    suffix, encode, _ = KINDS[kind]
    folder.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(parts):
        (folder / f"part-{number}{suffix}").write_bytes(encode(part))
    return folder


def same(found, expected):
    """Whether values of a column are those expected, of the same type."""
    if isinstance(expected, np.ndarray):
        return (
            isinstance(found, np.ndarray)
            and found.dtype.kind == expected.dtype.kind
            and np.array_equal(found, expected)
        )
    if isinstance(expected[0], np.ndarray):
        pairs = zip(found, expected, strict=True)
        return all(np.array_equal(one, other) and one.dtype == other.dtype for one, other in pairs)
    return list(found) == expected


def taken(values, numbers):
    return values[numbers] if isinstance(values, np.ndarray) else [values[number] for number in numbers]


@pytest.mark.parametrize("kind", KINDS)
def test_values_come_back_in_any_order_over_several_shards(tmp_path, host, kind):
    truth = KINDS[kind][2] or {"data": [word.encode() for word in WORDS]}
    dataset = open_dataset(write(tmp_path / "data", kind), channel="train", host=host)
    assert dataset.sizes == (50, 1, 69)
    order = np.random.default_rng(1).permutation(120)
    for numbers in (np.arange(120), order, order[:7], np.array([3, 119, 3]), np.array([], dtype=np.int64)):
        columns, kept = dataset.read(numbers)
        assert kept is None
        for name, values in truth.items() if len(numbers) else ():
            assert same(columns[name], taken(values, numbers)), name
    batches = list(StreamingLoader(dataset, 16, seed=1))
    assert sum(len(next(iter(batch.values()))) for batch in batches) == 120


def test_images_in_folders_of_their_classes(tmp_path, host):
    for number in range(30):
        path = tmp_path / "data" / ("cat", "dog", "a/bird")[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[number].transpose(1, 2, 0)).save(path)
    dataset = open_dataset(tmp_path / "data", channel="train", host=host)
    columns, _ = dataset.read(np.arange(30))
    names = [int(key.rpartition("/")[2]) for key in columns["__key__"]]
    assert sorted(names) == list(range(30))
    assert np.array_equal(columns["image"], PIXELS[names].transpose(0, 2, 3, 1))
    assert [("a/bird", "cat", "dog")[label] for label in columns["label"]] == [
        ("cat", "dog", "a/bird")[number % 3] for number in names
    ]
    assert dataset.place(0) == f"Channel 'train', file {columns['__key__'][0]}.png"


def test_a_single_file_is_a_dataset(tmp_path, host):
    write(tmp_path / "data", "protobuf")
    assert len(open_dataset(tmp_path / "data" / "part-2.rec", channel="train", host=host)) == 69


def test_a_record_too_large_for_a_head_is_still_of_one_stride(tmp_path, host):
    data = b"".join(aialgs.encode({"features": np.full(40_000, n, np.float32)}) for n in range(4))
    (tmp_path / "a.rec").write_bytes(data)
    dataset = open_dataset(tmp_path / "a.rec", channel="train", host=host)
    assert dataset.read(np.array([2]))[0]["features"][0, -1] == 2
    assert not host.scratch.exists(), "no index is needed"


@pytest.mark.parametrize("size", [1, 1000])
def test_small_files_of_one_stride_need_no_index(tmp_path, host, size):
    (tmp_path / "a.rec").write_bytes(joined(protobuf, slice(0, 1)) * size)
    assert len(open_dataset(tmp_path / "a.rec", channel="train", host=host)) == size
    assert not host.scratch.exists()


# Blocks of tables.


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][0] in {".csv", ".jsonl", ".libsvm", ".npy"}])
def test_tables_larger_than_a_block(tmp_path, host, kind, monkeypatch):
    monkeypatch.setattr(table_rows, "_BLOCK_BYTES", 512)
    dataset = open_dataset(write(tmp_path / "data", kind, [slice(0, 120)]), channel="train", host=host)
    columns, _ = dataset.read(np.arange(120))
    assert all(same(columns[name], values) for name, values in KINDS[kind][2].items())


def test_lists_whose_length_changes_late_are_lists(tmp_path, host, monkeypatch):
    monkeypatch.setattr(table_rows, "_BLOCK_BYTES", 64)
    (tmp_path / "a.jsonl").write_text("".join(f'{{"x": [{n}, {n}]}}\n' for n in range(30)) + '{"x": [1]}\n')
    columns, _ = open_dataset(tmp_path / "a.jsonl", channel="train", host=host).read(np.array([29, 30]))
    assert [values.tolist() for values in columns["x"]] == [[29, 29], [1]]


def test_a_column_that_changes_its_kind_is_refused(tmp_path, host, monkeypatch):
    monkeypatch.setattr(table_rows, "_BLOCK_BYTES", 64)
    (tmp_path / "a.jsonl").write_text('{"x": 1}\n' * 30 + '{"x": "a"}\n' * 30)
    with pytest.raises(
        DataError, match=r"'train', file a.jsonl: (line 31, 'x'|from row \d+ on the columns are x \(text\))"
    ):
        open_dataset(tmp_path / "a.jsonl", channel="train", host=host)


# What is derived once a host.


@pytest.mark.parametrize("kind", ["csv", "json lines with text", "parquet", "protobuf of several lengths", "libsvm"])
def test_what_is_derived_serves_the_next_opener_until_the_file_changes(tmp_path, host, kind, monkeypatch):
    folder = write(tmp_path / "data", kind)
    first = open_dataset(folder, channel="train", host=host).read(np.arange(120))[0]
    before = {path.name: path.stat().st_mtime_ns for path in host.scratch.iterdir()}
    assert len(before) >= 2

    def refused(*_, **__):
        raise AssertionError("derived again")

    with monkeypatch.context() as patch:
        patch.setattr(tables, "derive", refused)
        patch.setattr(index, "write_index", refused)
        peer = open_dataset(folder, channel="train", host=Host(host.scratch, leads=False)).read(np.arange(120))[0]
        again = open_dataset(folder, channel="train", host=host).read(np.arange(120))[0]
    assert all(same(peer[name], values) and same(again[name], values) for name, values in first.items())
    changed = folder / f"part-1{KINDS[kind][0]}"
    changed.write_bytes(KINDS[kind][1](slice(7, 9)))
    assert open_dataset(folder, channel="train", host=host).sizes == (50, 2, 69)


@pytest.mark.parametrize("kind", ["csv", "parquet with text"])
def test_a_full_disk_is_the_platforms_fault(tmp_path, host, kind, files_of_at_most):
    folder = write(tmp_path / "data", kind)
    with files_of_at_most(100), pytest.raises(PlatformError, match=r"File part-0\..*VolumeSizeInGB"):
        open_dataset(folder, channel="train", host=host)
    assert not list(host.scratch.iterdir()), "half a file was left"


def test_peers_wait_for_the_one_that_derives(tmp_path, host):
    folder = write(tmp_path / "data", "csv")
    barrier = threading.Barrier(2)
    found = []

    def peer():
        found.append(open_dataset(folder, channel="a", host=Host(host.scratch, leads=False, barrier=barrier.wait)))

    thread = threading.Thread(target=peer)
    thread.start()
    open_dataset(folder, channel="a", host=Host(host.scratch, barrier=barrier.wait))
    thread.join(30)
    assert found[0].sizes == (50, 1, 69)


@pytest.fixture
def files_of_at_most():
    """As a full disk does, fail writes beyond so many bytes; Python ignores the signal that comes with it."""

    @contextlib.contextmanager
    def limited(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


# Broken data.


def damaged(folder, kind, change, name="part-2"):
    path = write(folder, kind) / f"{name}{KINDS[kind][0]}"
    data = bytearray(path.read_bytes())
    path.write_bytes(bytes(change(data)))


def read_all(folder, host, **options):
    dataset = open_dataset(folder, channel="train", host=host, **options)
    return dataset, dataset.read(np.arange(len(dataset)))[0]


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("csv", r"line 69(, column 6 is empty| has \d value)"),
        ("csv with a header", r"line 70(, column 6 is empty| has \d value)"),
        ("libsvm", "line 69"),
        ("json lines", "line 69 is no JSON"),
        ("json lines with text", "line 69 is no JSON"),
        ("parquet", "cut short"),
        ("parquet with text", "cut short"),
        ("npz", "cut short or broken"),
        ("npy", "cut short"),
        ("npy of images", "cut short"),
        ("npy in fortran order", "cut short"),
        ("protobuf", r"record 68 at byte \d+: found \d+ bytes, expected"),
        ("protobuf of several lengths", r"record 68 at byte \d+: found \d+ bytes, expected"),
        ("recordio", r"record 68 at byte \d+: found \d+ bytes, expected"),
        ("tfrecord", r"record 68 at byte \d+: found \d+ bytes, expected"),
        ("tfrecord of several lengths", r"record 68 at byte \d+: found \d+ bytes, expected"),
        ("tar", r"byte \d+"),
    ],
)
def test_a_file_cut_short_is_named(tmp_path, host, kind, place):
    cut = {"tar": 15_000, "libsvm": 1, "csv": 25, "csv with a header": 25}.get(kind, 9)
    end = b":" if kind == "libsvm" else b""
    damaged(tmp_path / "data", kind, lambda data: data.rstrip()[:-cut] + end)
    suffix = KINDS[kind][0]
    with pytest.raises(DataError, match=rf"^Channel 'train', file part-2{suffix}: .*{place}"):
        read_all(tmp_path / "data", host)


def flipped(at):
    def change(data):
        data[at] ^= 0x40
        return data

    return change


STRIDE = len(protobuf(0))


@pytest.mark.parametrize(
    ("kind", "at", "place"),
    [
        ("protobuf", 30 * STRIDE + 1, f"record 30 at byte {30 * STRIDE}"),
        ("protobuf", 30 * STRIDE + 9, f"record 30 at byte {30 * STRIDE}"),
        ("protobuf", 0, "part-2.rec starts with"),
        ("tfrecord", len(tfrecord.encode({"label": LABELS[0], "features": FEATURES[0]})) * 8 + 40, "record 8 at byte"),
        ("tfrecord of several lengths", 40, "record 0 at byte 0: found checksum"),
        ("recordio", 0, "part-2.rec"),
        ("tar", 100, "part-2.tar starts with"),
        ("parquet", 60, "row 0 or after"),
        ("npy", 2, "part-2.npy starts with"),
        ("csv", 30, "line 1"),
        ("json lines", 0, "line 1"),
    ],
)
def test_a_flipped_bit_is_named(tmp_path, host, kind, at, place):
    damaged(tmp_path / "data", kind, flipped(at))
    with pytest.raises(DataError, match=rf"^Channel 'train', file part-2{KINDS[kind][0]}: .*{place}"):
        read_all(tmp_path / "data", host)


@pytest.mark.parametrize("kind", ["protobuf", "tfrecord", "tfrecord of several lengths", "tar"])
def test_broken_records_are_skipped_and_counted_once(tmp_path, host, kind):
    """One bit in the content of a record: its frame still tells it from the others."""
    suffix, encode, truth = KINDS[kind]
    start, one = len(encode(slice(51, 58))), len(encode(slice(58, 59)))
    if kind == "tar":
        start, one = start - 10_240 % start, 0
        data = encode(slice(51, 120))
        at = data.index(b"0058.cls") + 512
    else:
        at = start + (9 if kind == "protobuf" else one - 8)
    damaged(tmp_path / "data", kind, flipped(at))
    dataset = open_dataset(tmp_path / "data", channel="train", host=host, on_bad_record="skip")
    for _ in range(2):
        columns, kept = dataset.read(np.arange(120))
        assert kept.tolist() == [number for number in range(120) if number != 58]
        assert all(same(columns[name], taken(values, kept)) for name, values in truth.items())
    assert dataset.bad.skipped == 1
    assert dataset.bad.first.startswith(f"Channel 'train', file part-2{suffix}: record 7 at byte ")


LINES = {
    "csv": ("data.csv", [f"{n % 3},{n},{n * 2}" for n in range(3000)], "1,x,2", None),
    "csv with header": ("data.csv", [f"{n % 3},{n},{n * 2}" for n in range(3000)], "1,2", "label,a,b"),
    "json lines": (
        "data.jsonl",
        [f'{{"label": {n % 3}, "a": {n}}}' for n in range(3000)],
        '{"label": 1, "b": 2}',
        None,
    ),
    "libsvm": ("data.libsvm", [f"{n % 3} 1:{n + 1} 4:{n * 2 + 1}" for n in range(3000)], "1 4:1 1:2", None),
}


@pytest.mark.parametrize("kind", LINES)
def test_broken_lines_of_a_table_are_skipped_and_counted_by_every_run(tmp_path, host, kind):
    name, lines, wrong, header = LINES[kind]
    mixed = [*lines[:1], wrong, *lines[1:1500], wrong, wrong, *lines[1500:], wrong]
    for folder, content in (("good", lines), ("mixed", mixed)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("\n".join([*([header] if header else []), *content]) + "\n")
    with pytest.raises(DataError, match=f"line {2 + bool(header)}"):
        open_dataset(tmp_path / "mixed", channel="train", host=host)
    expected, _ = open_dataset(tmp_path / "good", channel="train", host=host).read(np.arange(3000))
    for _ in range(2):  # parsed, then found in the scratch folder
        dataset = open_dataset(tmp_path / "mixed", channel="train", host=host, on_bad_record="skip")
        assert (len(dataset), dataset.bad.skipped) == (3000, 4)
        assert dataset.bad.first.startswith(f"Channel 'train', file {name}: line {2 + bool(header)}")
        columns, _ = dataset.read(np.arange(3000))
        assert all(same(columns[field], values) for field, values in expected.items())


@pytest.mark.parametrize("on_bad_record", ["stop", "skip"])
@pytest.mark.parametrize("kind", LINES)
def test_empty_lines_of_a_table_are_no_rows(tmp_path, host, kind, on_bad_record, monkeypatch):
    """In front, in the middle and at the end, of a block too; a broken line keeps its number in the file."""
    monkeypatch.setattr(table_rows, "_BLOCK_BYTES", 1 << 12)
    name, lines, wrong, header = LINES[kind]
    spread = [line + "\n \r\n" * (number % 5 == 0) for number, line in enumerate(lines)]
    for folder, content in (("good", lines), ("gaps", ["", *spread, "", ""]), ("broken", ["", *spread[:7], wrong])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("\n".join([*([header] if header else []), *content]) + "\n")
    expected, _ = open_dataset(tmp_path / "good", channel="train", host=host).read(np.arange(3000))
    dataset = open_dataset(tmp_path / "gaps", channel="train", host=host, on_bad_record=on_bad_record)
    assert (len(dataset), dataset.bad.skipped) == (3000, 0)
    columns, _ = dataset.read(np.arange(3000))
    assert all(same(columns[field], values) for field, values in expected.items())
    assert dataset.place(2000).endswith(f"{name}, record 2000"), "its line is another one"
    with pytest.raises(DataError, match=f"line {13 + bool(header)}[ ,:]"):
        open_dataset(tmp_path / "broken", channel="train", host=host)


def test_empty_lines_at_the_end_leave_the_others_their_numbers(tmp_path, host):
    (tmp_path / "data.csv").write_text("1,2\n0,3\n\n\n")
    assert open_dataset(tmp_path / "data.csv", channel="train", host=host).place(1).endswith("data.csv, line 2")


def test_libsvm_is_as_wide_as_its_content_type_says(tmp_path, host):
    (tmp_path / "a.libsvm").write_text("1 2:5\n0 1:3\n")
    for stated, width in ((None, 2), ("text/libsvm; features=4", 4), ("text/libsvm;features=3", 3)):
        dataset = open_dataset(tmp_path / "a.libsvm", channel="train", host=host, content_type=stated)
        columns, _ = dataset.read(np.arange(2))
        assert columns["features"].shape == (2, width)
    with pytest.raises(DataError, match=r"file a\.libsvm: line 1: found index 2, expected at most 1"):
        open_dataset(tmp_path / "a.libsvm", channel="train", host=host, content_type="text/libsvm; features=1")


def test_all_records_broken_leaves_nothing(tmp_path, host):
    def change(data):
        for number in range(1, 69):
            data[number * STRIDE + 9] ^= 0x40
        return data

    damaged(tmp_path / "data", "protobuf", change)
    dataset = open_dataset(tmp_path / "data" / "part-2.rec", channel="train", host=host, on_bad_record="skip")
    columns, kept = dataset.read(np.arange(1, 69))
    assert (columns, kept.tolist()) == ({}, [])
    assert sum(len(batch["label"]) for batch in StreamingLoader(dataset, 4)) == 1


@pytest.mark.parametrize(
    "kind", ["protobuf", "tfrecord", "npy", "npy of images", "csv", "json lines", "npz", "parquet"]
)
def test_a_file_of_another_shape_is_refused_with_both_names(tmp_path, host, kind):
    folder = write(tmp_path / "data", kind)
    wide = {"label": LABELS[:9], "features": np.zeros((9, 7), np.float32)}
    records = [{name: values[n] for name, values in wide.items()} for n in range(9)]
    file = io.BytesIO()
    if kind == "npz":
        np.savez(file, **wide)
    elif kind == "parquet":
        pq.write_table(pa.table({"label": wide["label"], "features": list(wide["features"])}), file)
    data = {
        "protobuf": b"".join(map(aialgs.encode, records)),
        "tfrecord": b"".join(map(tfrecord.encode, records)),
        "npy": npy(wide["features"]),
        "npy of images": npy(PIXELS[:9, :1]),
        "csv": b"0,1,2,3,4,5,6,7\n",
        "json lines": b'{"label": 0, "features": [0, 1, 2, 3, 4, 5, 6]}\n',
    }
    suffix = KINDS[kind][0]
    (folder / f"part-1{suffix}").write_bytes(data.get(kind) or file.getvalue())
    with pytest.raises(DataError, match=rf"'train': file part-1{suffix} has .*\[.*, file part-0{suffix} has .*\["):
        open_dataset(folder, channel="train", host=host)


def test_a_record_with_other_fields_is_refused(tmp_path, host):
    records = [{"label": 1.0, "features": FEATURES[0]}, {"features": FEATURES[0, :3]}]
    (tmp_path / "a.rec").write_bytes(b"".join(aialgs.encode({k: np.float32(v) for k, v in r.items()}) for r in records))
    dataset = open_dataset(tmp_path / "a.rec", channel="train", host=host)
    with pytest.raises(DataError, match=r"Channel 'train', file a.rec: .*the fields label, features, another features"):
        dataset.read(np.arange(2))


@pytest.mark.parametrize("kind", ["protobuf", "tfrecord of several lengths", "tar", "npy"])
def test_a_file_that_vanishes_or_grows_is_named(tmp_path, host, kind):
    folder = write(tmp_path / "data", kind)
    path = folder / f"part-0{KINDS[kind][0]}"
    for change, message in (
        (path.unlink, "cannot be opened any more"),
        (lambda: path.write_bytes(b"x"), "has 1 bytes"),
    ):
        write(tmp_path / "data", kind)
        dataset = open_dataset(folder, channel="train", host=host)
        for shard in dataset.shards:
            shard._maps._maps.clear()
        change()
        with pytest.raises(DataError, match=rf"Channel 'train': File part-0{KINDS[kind][0]} .*{message}"):
            dataset.read(np.arange(120))


def test_an_image_that_vanishes_is_named(tmp_path, host):
    for number in range(4):
        path = tmp_path / "data" / "cat" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[number].transpose(1, 2, 0)).save(path)
    dataset = open_dataset(tmp_path / "data", channel="train", host=host)
    path.unlink()
    with pytest.raises(DataError, match=r"Channel 'train', file cat/3.png: it cannot be read any more"):
        dataset.read(np.arange(4))


def test_images_without_a_folder_have_no_class(tmp_path, host):
    Image.fromarray(PIXELS[0].transpose(1, 2, 0)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"the image a.png lies in no folder"):
        open_dataset(tmp_path, channel="train", host=host)


@pytest.mark.parametrize("kind", KINDS)
def test_empty_files_beside_others_are_left_out(tmp_path, host, kind):
    folder = write(tmp_path / "data", kind)
    (folder / f"part-1{KINDS[kind][0]}").write_bytes(b"")
    (folder / f"part-9{KINDS[kind][0]}").write_bytes(b"")
    assert open_dataset(folder, channel="train", host=host).sizes == (50, 69)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][0]])
def test_a_channel_of_empty_files_has_no_record(tmp_path, host, kind):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / f"a{KINDS[kind][0]}").write_bytes(b"")
    with pytest.raises(DataError, match=r"Channel 'train': no record|'train', file a.rec: a.rec is empty"):
        open_dataset(tmp_path / "data", channel="train", host=host)
    assert len(open_dataset(tmp_path / "none", channel="train", host=host, may_be_empty=True)) == 0


# The index beside prepared shards.


def indexed(folder, kind, encode, shards, count, *, layout=True):
    """Write equal shards with the index beside them."""
    data = b"".join(encode(number) for number in range(count))
    found = kind.layout(memoryview(data), len(data)) if layout else None
    folder.mkdir()
    entries = []
    for number in range(shards):
        path = folder / f"part-{number:05d}"
        path.write_bytes(data)
        if not layout:
            index.write_index(index.index_path(path), kind.index(np.frombuffer(data, np.uint8)))
        entries.append(index.ShardEntry(name=path.name, records=count, bytes=len(data), crc32c="00000000"))
    name = {aialgs: "recordio-protobuf", tfrecord: "tfrecord"}[kind]
    entry = index.LayoutEntry.of(found) if found else None
    index.write(folder, index.Manifest(format=name, layout=entry, shards=entries))
    return folder


def uneven(number):
    return aialgs.encode({"label": LABELS[number], "features": ragged(number)})


@pytest.mark.parametrize("layout", [True, False])
def test_a_thousand_indexed_shards_open_without_being_touched(tmp_path, host, layout):
    folder = indexed(tmp_path / "data", aialgs, protobuf if layout else uneven, 1000, 20, layout=layout)
    started = time.perf_counter()
    dataset = open_dataset(folder, channel="train", host=host)
    assert not dataset.shards[0]._maps._maps
    batch = next(iter(StreamingLoader(dataset, 4)))
    elapsed = time.perf_counter() - started
    assert len(dataset) == 20_000
    assert len(batch["label"]) == 4
    # 0.1 s on a quiet machine, where it takes half of that.
    assert elapsed < 1
    assert not host.scratch.exists()


def test_files_that_the_index_does_not_list_are_no_data(tmp_path, host):
    folder = indexed(tmp_path / "data", aialgs, protobuf, 2, 20)
    (folder / "part-00002").write_bytes(joined(protobuf, slice(0, 20)))
    assert len(open_dataset(folder, channel="train", host=host)) == 40


@pytest.mark.parametrize("layout", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "cannot be opened"),
        (lambda path: path.write_bytes(b"xy"), r"has 2 bytes and had \d+"),
    ],
)
def test_a_listed_file_that_is_missing_or_of_another_size_is_named(tmp_path, host, layout, change, message):
    folder = indexed(tmp_path / "data", aialgs, protobuf if layout else uneven, 3, 20, layout=layout)
    change(folder / "part-00001")
    dataset = open_dataset(folder, channel="train", host=host)
    with pytest.raises(DataError, match=rf"Channel 'train': File part-00001 .*{message}"):
        list(StreamingLoader(dataset, 4))


@pytest.mark.parametrize("wrong", [b"", b"junk", "short", "outside"])
def test_an_index_of_records_that_does_not_fit_is_made_again(tmp_path, host, wrong):
    folder = indexed(tmp_path / "data", aialgs, uneven, 1, 20, layout=False)
    path = index.index_path(folder / "part-00000")
    if isinstance(wrong, bytes):
        path.write_bytes(wrong)
    else:
        pairs = np.load(path)
        np.save(path, pairs[:, :5] if wrong == "short" else pairs + 1000)
    columns, _ = open_dataset(folder, channel="train", host=host).read(np.arange(20))
    assert same(columns["label"], LABELS[:20])


def test_more_records_in_the_index_than_in_the_file_is_named(tmp_path, host):
    folder = indexed(tmp_path / "data", aialgs, uneven, 1, 20, layout=False)
    path = folder / index.NAME
    path.write_text(path.read_text().replace('"records":20', '"records":21'))
    dataset = open_dataset(folder, channel="train", host=host, on_bad_record="skip")
    with pytest.raises(
        DataError, match=r"'train', file part-00000: found 20 records, index.json says 21. Run `prepare`"
    ):
        dataset.read(np.arange(21))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"twofold":1', '"twofold":2', "twofold"),
        ('"format":"recordio-protobuf"', '"format":"mds"', "format is 'mds'"),
        ('"name":"part-00000"', '"name":"../secret"', "outside the folder"),
        ('"name":"part-00000"', '"name":"/etc/passwd"', "outside the folder"),
        ('"records":20', '"records":2000', "its records need"),
        ('"records":20', '"records":-1', "shards.0.records"),
        ('"stride":', '"stride":-', "expected at least 0 and 1"),
        ('"dtype":"<f4"', '"dtype":"O"', "dtype"),
        ('"shape":[6]', '"shape":[600]', "lies outside the record"),
        ("{", "", "Invalid JSON"),
    ],
)
def test_a_broken_index_is_named(tmp_path, host, old, new, message):
    folder = indexed(tmp_path / "data", aialgs, protobuf, 1, 20)
    path = folder / index.NAME
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=rf"index.json: .*{message}.*run `prepare` again"):
        open_dataset(folder, channel="train", host=host)


@pytest.mark.parametrize("kind", ["parquet", "tar", "npy"])
def test_an_index_beside_other_formats(tmp_path, host, kind):
    folder = write(tmp_path / "data", kind)
    entries = [
        index.ShardEntry(name=path.name, records=part.stop - part.start, bytes=path.stat().st_size, crc32c="0")
        for path, part in zip(sorted(folder.iterdir()), PARTS, strict=True)
    ]
    layout = None
    if kind == "npy":
        first = (folder / "part-0.npy").read_bytes()
        layout = index.LayoutEntry.of(npy_format.layout(memoryview(first), len(first)))
    index.write(folder, index.Manifest(format=kind, layout=layout, shards=entries))
    dataset = open_dataset(folder, channel="train", host=host)
    assert dataset.sizes == (50, 1, 69)
    columns, _ = dataset.read(np.arange(120)[::-1])
    assert all(same(columns[name], taken(values, np.arange(120)[::-1])) for name, values in KINDS[kind][2].items())


# What a process has of files and threads.


def test_a_thousand_files_are_read_with_few_of_them_open(tmp_path, host):
    """256 slots over 1,000 files: each batch needs most of them."""
    for number in range(1000):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{number:04d}.rec").write_bytes(protobuf(number % 120) * 3)
    dataset = open_dataset(tmp_path / "data", channel="train", host=host)
    open_files = [len(list(Path("/proc/self/fd").iterdir()))]
    count = 0
    for batch in StreamingLoader(dataset, 256):
        count += len(batch["label"])
        open_files.append(len(list(Path("/proc/self/fd").iterdir())))
    assert count == 3000
    assert max(open_files) - open_files[0] <= 300


def test_maps_hold_the_files_used_last(tmp_path):
    files = []
    for number in range(5):
        path = tmp_path / str(number)
        path.write_bytes(bytes([number]))
        files.append(File(path.name, path, 1))
    maps = Maps(limit=2)
    kept = [maps.map(file) for file in (files[0], files[1], files[0], files[2])]
    assert set(maps._maps) == {files[0].path, files[2].path}
    assert [int(view[0]) for view in kept] == [0, 1, 0, 2], "a map that was dropped serves whoever still has it"


def test_images_are_decoded_in_the_threads_that_are_given(tmp_path, host):
    for number in range(8):
        path = tmp_path / "data" / "cat" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[number].transpose(1, 2, 0)).save(path)
    before = set(threading.enumerate())
    with ThreadPoolExecutor(2) as threads:
        dataset = open_dataset(tmp_path / "data", channel="train", host=host, threads=threads)
        batches = iter(StreamingLoader(dataset, 2))
        next(batches)
        batches.close()
        with_columns, _ = dataset.read(np.arange(8))
    alone, _ = open_dataset(tmp_path / "data", channel="train", host=host).read(np.arange(8))
    assert np.array_equal(with_columns["image"], alone["image"])
    assert set(threading.enumerate()) == before


def shared_maps():
    return {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/dev/shm/" in line}


def test_shared_memory_is_not_used(tmp_path, host):
    """A container has little or none of it: nothing may be mapped from there while batches are read."""
    dataset = open_dataset(write(tmp_path / "data", "parquet with text"), channel="train", host=host)
    before = shared_maps()  # those of other tests of this process
    for _ in StreamingLoader(dataset, 16):
        assert shared_maps() <= before
