import numpy as np
import pytest
from twofold.contract.channels import Channel
from twofold.errors import ConfigError, DataError, PlatformError
from twofold.train.stream import shards as shards_module
from twofold.train.stream.shards import open_shards


@pytest.fixture
def channel(tmp_path):
    """Write the files of a channel and open it."""
    folder = tmp_path / "data"
    folder.mkdir()

    def opened(files, *, barrier=lambda: None, parses=True, **fields):
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, np.ndarray):
                np.save(path, content)
            else:
                path.write_bytes(content)
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        return open_shards(
            Channel(name="training", path=folder, **fields), scratch=scratch, parses=parses, barrier=barrier
        )

    return opened


def everything(shards):
    return shards.gather(np.arange(shards.samples)).tolist()


def test_csv_files_follow_one_another_by_name(channel):
    shards = channel({"b.csv": b"3,4\n5,6\n", "a.csv": b"1,2\n"})
    assert everything(shards) == [[1, 2], [3, 4], [5, 6]]
    assert (shards.samples, shards.features, shards.sizes) == (3, 1, (1, 2))


def test_a_file_longer_than_a_block_keeps_its_rows_and_line_numbers(channel, monkeypatch):
    monkeypatch.setattr(shards_module, "_BLOCK_BYTES", 16)
    lines = [f"{n},{n + 1}\n" for n in range(50)]
    assert everything(channel({"a.csv": "".join(lines).encode()})) == [[n, n + 1] for n in range(50)]
    with pytest.raises(DataError, match=r"file a.csv: line 41, column 2 is 'x'"):
        channel({"a.csv": "".join([*lines[:40], "1,x\n", *lines[40:]]).encode()})


def test_a_later_block_may_not_have_another_width(channel, monkeypatch):
    monkeypatch.setattr(shards_module, "_BLOCK_BYTES", 16)
    with pytest.raises(DataError, match="line 31 has 3 values, expected 2"):
        channel({"a.csv": b"1,2\n" * 30 + b"1,2,3\n"})


@pytest.mark.parametrize("name", ["A.CSV", "part-00000", "data.txt"])
def test_a_declared_content_type_beats_the_name(channel, name):
    assert everything(channel({name: b"1,2\n"}, content_type="text/csv; label_size=1")) == [[1, 2]]


def test_an_upper_case_suffix_is_a_suffix(channel):
    assert everything(channel({"A.CSV": b"1,2\n"})) == [[1, 2]]


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "i2", "u1", "?", "f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_any_number_type_and_order(channel, dtype, order):
    array = np.asarray([[1, 0, 1], [0, 1, 1]], dtype=dtype, order=order)
    assert everything(channel({"a.npy": array})) == array.astype(float).tolist()


def test_files_in_folders_count_and_hidden_ones_do_not(channel):
    files = {"x/a.csv": b"1,2\n", "_SUCCESS": b"", ".hidden": b"", "_spark_metadata/0": b"{}", ".cache/b.csv": b"x"}
    shards = channel(files)
    assert everything(shards) == [[1, 2]]
    assert shards.files == ("x/a.csv",)


def test_files_without_a_record_are_left_out(channel):
    shards = channel({"a.csv": b"", "b.csv": b"1,2\n", "c.csv": b"\n\n"})
    assert shards.sizes == (1,)


def test_gather_takes_rows_of_any_file_in_any_order(channel):
    shards = channel({"a.npy": np.arange(8.0).reshape(4, 2), "b.npy": np.arange(8, 14.0).reshape(3, 2)})
    wanted = np.array([6, 0, 4, 0, 3])
    assert shards.gather(wanted)[:, 0].tolist() == [12, 0, 8, 0, 6]
    assert shards.gather(np.zeros(0, dtype=np.int64)).shape == (0, 2)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_blocks_of_all_ranks_together_are_everything(channel, stride):
    shards = channel({"a.npy": np.arange(14.0).reshape(7, 2), "b.npy": np.arange(6.0).reshape(3, 2)})
    rows = [
        [block.shard, block.first_row + offset, *row]
        for rank in range(stride)
        for block in shards.blocks(rank, stride, block_values=4)
        for offset, row in enumerate(block.rows.tolist())
    ]
    expected = [[0, n, 2 * n, 2 * n + 1] for n in range(7)] + [[1, n, 2 * n, 2 * n + 1] for n in range(3)]
    assert sorted(rows) == expected


def test_blocks_are_bounded_by_values_not_by_rows(channel):
    shards = channel({"a.npy": np.zeros((10, 100), dtype=np.float32)})
    assert max(len(block.rows) for block in shards.blocks(block_values=250)) == 2


def test_only_one_rank_of_a_host_parses_and_all_wait(channel):
    waited = []
    first = channel({"a.csv": b"1,2\n"}, barrier=lambda: waited.append(1))
    peer = channel({}, parses=False, barrier=lambda: waited.append(2))
    assert everything(first) == everything(peer)
    assert waited == [1, 2]


def test_a_rank_that_fails_to_parse_does_not_send_its_peers_on(channel):
    waited = []
    with pytest.raises(DataError):
        channel({"a.csv": b"x,y\n"}, barrier=lambda: waited.append(1))
    assert not waited


def test_a_full_disk_is_the_platforms_fault(channel, monkeypatch):
    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards_module, "_write_npy_header", no_room)
    with pytest.raises(PlatformError, match=r"file a.csv: .*No space left.*VolumeSizeInGB"):
        channel({"a.csv": b"1,2\n"})


def test_rows_are_named_as_a_person_finds_them(channel):
    assert channel({"a.csv": b"1,2\n3,4\n"}).place(0, 1) == "Channel 'training', file a.csv, line 2"


NPY = np.zeros((2, 3), dtype=np.float32)


def npy_bytes(array):
    import io

    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "'training' is empty: no file in .*Likely causes"),
        ({"_SUCCESS": b""}, "'training' is empty"),
        ({"a.csv": b"label,x\n1,2\n"}, "file a.csv: line 1, column 1 is 'label'.*header line"),
        ({"a.csv": b"1,2\n3,four\n"}, "file a.csv: line 2, column 2 is 'four', expected a number"),
        ({"a.csv": b"1,2\n3,nan\n"}, "line 2, column 2 is 'nan', expected a finite number"),
        ({"a.csv": b"1,2\n3\n"}, "line 2 has 1 value, expected 2"),
        ({"a.csv": b"1\n2\n"}, r"file a.csv: found shape \[2, 1\].*Expected shape \[rows, 1 \+ features\]"),
        ({"a.csv": b"\n", "b.csv": b""}, r"no record in its files \(2, such as a.csv\)"),
        ({"a.csv": b"1,2\n", "b.csv": b"1,2,3\n"}, "b.csv has 3 columns, a.csv has 2"),
        ({"a.csv": b"1,2\n", "b.npy": NPY}, "files that end in '.csv' and '.npy'"),
        ({"a.parquet": b"PAR1"}, "files that end in '.parquet', such as a.parquet. Expected .csv or .npy"),
        ({"data": b"1,2\n"}, "files that end in '', such as data"),
        ({"a.npy": b"1,2\n"}, "file a.npy: Found b'1,2.n' at the start, expected an NPY file"),
        ({"a.npy": b""}, "file a.npy: Found b'' at the start"),
        ({"a.npy": npy_bytes(NPY)[:-1]}, r"found shape \[2, 3\] and 23 bytes.*Expected .* 24 bytes"),
        ({"a.npy": npy_bytes(NPY) + b"!"}, "25 bytes"),
        ({"a.npy": np.zeros(3)}, r"found shape \[3\]"),
        ({"a.npy": np.zeros((3, 1))}, r"found shape \[3, 1\]"),
        ({"a.npy": np.zeros((0, 3))}, "no record"),
        ({"a.npy": np.array([["a", "b"]])}, "The array holds '<U1', expected numbers"),
        ({"a.npy": b"PK\x03\x04"}, "expected an NPY file"),
    ],
)
def test_data_that_cannot_be_read_is_named(channel, files, message):
    with pytest.raises(DataError, match=message):
        channel(files)


def test_a_channel_that_is_not_mounted_is_empty(tmp_path):
    with pytest.raises(DataError, match="is empty"):
        open_shards(
            Channel(name="training", path=tmp_path / "none"), scratch=tmp_path, parses=True, barrier=lambda: None
        )


def test_pipe_mode_is_refused_with_the_way_out(channel):
    with pytest.raises(ConfigError, match="set input_mode to 'File' or 'FastFile'"):
        channel({"a.csv": b"1,2\n"}, mode="Pipe")
