import io

import numpy as np
import pytest
from twofold.contract.job import read_training_job
from twofold.errors import ConfigError, DataError
from twofold.stream import rows
from twofold.stream.catalog import Host, open_dataset
from twofold.train.channels import open_training
from twofold.train.config import TrainingConfig
from twofold.train.ranks import Ranks
from twofold.train.samples import Reading, open_samples


@pytest.fixture
def channel(tmp_path):
    """Write the files of a channel and open it as `train` does."""
    folder = tmp_path / "data"

    def opened(files, *, content_type=None, barrier=lambda: None, leads=True):
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, np.ndarray):
                np.save(path, content)
            else:
                path.write_bytes(content)
        dataset = open_dataset(
            folder,
            channel="training",
            host=Host(tmp_path / "scratch", leads=leads, barrier=barrier),
            content_type=content_type,
        )
        return open_samples(dataset, Reading(), Ranks(), sharded=False)

    return opened


def everything(samples):
    return samples.read(np.arange(samples.samples)).rows.tolist()


def test_csv_files_follow_one_another_by_name(channel):
    samples = channel({"b.csv": b"3,4\n5,6\n", "a.csv": b"1,2\n"})
    assert everything(samples) == [[1, 2], [3, 4], [5, 6]]
    assert (samples.samples, samples.features, samples.dataset.sizes) == (3, 1, (1, 2))


def test_a_file_longer_than_a_block_keeps_its_rows_and_line_numbers(channel, monkeypatch):
    monkeypatch.setattr(rows, "_BLOCK_BYTES", 16)
    lines = [f"{n},{n + 1}\n" for n in range(50)]
    assert everything(channel({"a.csv": "".join(lines).encode()})) == [[n, n + 1] for n in range(50)]
    with pytest.raises(DataError, match=r"file a.csv: line 41, column 2 is 'x'"):
        channel({"a.csv": "".join([*lines[:40], "1,x\n", *lines[40:]]).encode()})


def test_a_later_block_may_not_have_another_width(channel, monkeypatch):
    monkeypatch.setattr(rows, "_BLOCK_BYTES", 16)
    with pytest.raises(DataError, match="line 31 has 3 values, expected 2"):
        channel({"a.csv": b"1,2\n" * 30 + b"1,2,3\n"})


@pytest.mark.parametrize("name", ["A.CSV", "part-00000", "data.txt"])
def test_a_declared_content_type_beats_the_name(channel, name):
    assert everything(channel({name: b"1,2\n"}, content_type="text/csv; label_size=1")) == [[1, 2]]


def test_an_upper_case_suffix_is_a_suffix(channel):
    assert everything(channel({"A.CSV": b"1,2\n"})) == [[1, 2]]


def test_files_in_folders_count_and_hidden_ones_do_not(channel):
    files = {"x/a.csv": b"1,2\n", "_SUCCESS": b"", ".hidden": b"", "_spark_metadata/0": b"{}", ".cache/b.csv": b"x"}
    samples = channel(files)
    assert everything(samples) == [[1, 2]]
    assert [shard.name for shard in samples.dataset.shards] == ["x/a.csv"]


def test_files_without_a_record_are_left_out(channel):
    samples = channel({"a.csv": b"", "b.csv": b"1,2\n", "c.csv": b"\n\n"})
    assert samples.dataset.sizes == (1,)


def test_only_one_rank_of_a_host_parses_and_all_wait(channel):
    waited = []
    first = channel({"a.csv": b"1,2\n"}, barrier=lambda: waited.append(1))
    peer = channel({}, leads=False, barrier=lambda: waited.append(2))
    assert everything(first) == everything(peer)
    assert waited == [1, 2]


def test_a_rank_that_fails_to_parse_does_not_send_its_peers_on(channel):
    waited = []
    with pytest.raises(DataError):
        channel({"a.csv": b"1,x\n"}, barrier=lambda: waited.append(1))
    assert not waited


def test_rows_are_named_as_a_person_finds_them(channel):
    assert channel({"a.csv": b"1,2\n3,4\n"}).place(1) == "Channel 'training', file a.csv, line 2"


NPY = np.zeros((2, 3), dtype=np.float32)


def npy_bytes(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "'training' is empty: no file in .*Likely causes"),
        ({"_SUCCESS": b""}, "'training' is empty"),
        ({"a.csv": b"label,2\n1,2\n"}, "file a.csv: line 1, column 1 is 'label'.*header line"),
        ({"a.csv": b"1,2\n3,four\n"}, "file a.csv: line 2, column 2 is 'four', expected a number"),
        ({"a.csv": b"1,2\n3,nan\n"}, "line 2, column 2 is 'nan', expected a finite number"),
        ({"a.csv": b"1,2\n3\n"}, "line 2 has 1 value, expected 2"),
        ({"a.csv": b"1\n2\n"}, "'training' has the fields label,.*Expected a label and at least one field of features"),
        ({"a.csv": b"\n", "b.csv": b""}, r"no record in its files, such as a.csv"),
        ({"a.csv": b"", "b.csv": b""}, r"no record in its files, such as a.csv"),
        (
            {"a.csv": b"1,2\n", "b.csv": b"1,2,3\n"},
            r"file b.csv has label \[\], features \[2\], file a.csv has label \[\], features \[1\]",
        ),
        (
            {"a.csv": b"x,y\n1,2\n", "b.csv": b"x,z\n1,2\n"},
            r"file b.csv has x \(numbers\), z \(numbers\), file a.csv has x \(numbers\), y",
        ),
        ({"a.csv": b"x,y\n1,2\n", "b.csv": b"x,y\na,2\n"}, r"file b.csv has x \(text\), y .*, file a.csv has x \(num"),
        ({"a.csv": b"1,2\n", "b.csv": b"x,y\n1,2\n"}, r"several kinds: csv \(a.csv\), csv-header \(b.csv\)"),
        ({"a.npy": NPY, "b.npy": NPY[:, :2]}, r"file b.npy has data \[2\], file a.npy has data \[3\]"),
        ({"a.csv": b"1,2\n", "b.npy": NPY}, r"files of several kinds: csv \(a.csv\), npy \(b.npy\)"),
        ({"a.parquet": b"PAR1"}, "file a.parquet: No readable Parquet"),
        ({"data": b"\x17\x18junk"}, "file data: data starts with .*which is none of the formats that are read"),
        ({"a.npy": b"1,2\n"}, "file a.npy: a.npy starts with b'1,2.n' but its name says npy"),
        ({"a.npy": npy_bytes(NPY)[:-1]}, r"file a.npy: .* shape \[2, 3\] .* 24 bytes, but 23 bytes follow.*cut short"),
        ({"a.npy": npy_bytes(NPY) + b"!"}, "25 bytes follow"),
        ({"a.npy": np.zeros(3)}, "'training' has the fields data.*two values a row, the label first"),
        ({"a.npy": np.zeros((3, 1))}, "two values a row, the label first"),
        ({"a.npy": np.zeros(())}, "file a.npy: The array has no axes"),
        ({"a.npy": np.zeros((0, 3))}, "no record"),
        ({"a.npy": np.zeros((3, 0))}, "file a.npy: its records have no bytes"),
        ({"a.npy": np.array([["a", "b"]])}, "The array holds '<U1', expected numbers"),
        ({"a.npy": b"PK\x03\x04"}, "file a.npy: a.npy is a zip that is no NPZ"),
        ({"list": b'[{"prefix": "s3://bucket/data/"}, "a.csv"]'}, "file list: it is a manifest, .* ManifestFile"),
    ],
)
def test_data_that_cannot_be_read_is_named(channel, files, message):
    with pytest.raises(DataError, match=message):
        channel(files)


def test_a_channel_that_is_not_mounted_is_empty(tmp_path):
    with pytest.raises(DataError, match="is empty"):
        open_dataset(tmp_path / "none", channel="training", host=Host(tmp_path / "scratch"))


def test_a_pipe_is_refused_where_ranks_must_see_the_same_samples(make_tree, tmp_path):
    mode = {"TrainingInputMode": "Pipe", "RecordWrapperType": "None", "S3DistributionType": "FullyReplicated"}
    job = read_training_job(make_tree({}, config={"training": mode}), {})
    config = TrainingConfig(model="gpt", parallel="tp")
    with pytest.raises(ConfigError, match=r"'training' is in Pipe mode.*2 ranks share each layer.*'FastFile'"):
        open_training(job, config, Ranks(world=2, local_world=2), tmp_path)
