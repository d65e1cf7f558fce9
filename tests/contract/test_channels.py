import os

import pytest
from twofold.contract.channels import Channel, read_channels
from twofold.errors import ConfigError


def test_all_fields(tree):
    tree.channels(
        {
            "train": {
                "ContentType": "text/csv",
                "TrainingInputMode": "Pipe",
                "S3DistributionType": "ShardedByS3Key",
                "RecordWrapperType": "RecordIO",
                "CompressionType": "Gzip",
                "SomethingNew": {"a": 1},
            }
        }
    )
    assert read_channels(tree.paths) == {
        "train": Channel(
            name="train",
            path=tree.paths.data / "train",
            mode="Pipe",
            content_type="text/csv",
            distribution="ShardedByS3Key",
            record_wrapper="RecordIO",
            compression="Gzip",
        )
    }


def test_local_mode_writes_the_mode_only(tree):
    tree.channels({"training": {"TrainingInputMode": "File"}})
    channel = read_channels(tree.paths)["training"]
    assert channel == Channel(name="training", path=tree.paths.channel("training"))
    assert channel.content_type is None
    assert channel.distribution == "FullyReplicated"
    assert channel.record_wrapper == "None"


@pytest.mark.parametrize("mode", ["File", "FastFile", "Pipe"])
def test_the_file_wins_over_what_is_on_disk(tree, mode):
    tree.channels({"train": {"TrainingInputMode": mode}})
    tree.paths.channel("train").mkdir(parents=True)
    os.mkfifo(tree.paths.fifo("train", 0))
    assert read_channels(tree.paths)["train"].mode == mode


@pytest.mark.parametrize("value", [{}, None, {"TrainingInputMode": None}])
def test_without_a_mode_the_disk_decides(tree, value):
    tree.channels({"piped": value, "filed": value})
    tree.paths.channel("filed").mkdir(parents=True)
    os.mkfifo(tree.paths.fifo("piped", 0))
    channels = read_channels(tree.paths)
    assert (channels["piped"].mode, channels["filed"].mode) == ("Pipe", "File")


def test_channel_without_a_folder_is_kept(tree):
    tree.channels({"train": {"TrainingInputMode": "File"}})
    assert not read_channels(tree.paths)["train"].path.exists()


def test_empty_object_means_no_channels_whatever_is_on_disk(tree):
    tree.channels({})
    tree.paths.channel("train").mkdir(parents=True)
    assert read_channels(tree.paths) == {}


def test_without_the_file_the_disk_is_searched(tree):
    for name in ("train", "validation", ".hidden", "not a channel"):
        tree.paths.channel(name).mkdir(parents=True)
    (tree.paths.data / "stray.csv").write_text("1,2\n")
    (tree.paths.data / "stray_0").write_text("no FIFO")
    os.mkfifo(tree.paths.fifo("stream", 0))
    channels = read_channels(tree.paths)
    assert {name: channel.mode for name, channel in channels.items()} == {
        "stream": "Pipe",
        "train": "File",
        "validation": "File",
    }
    assert channels["stream"].path == tree.paths.data / "stream"


def test_without_anything_there_is_nothing(tree):
    assert read_channels(tree.paths) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"train": {"TrainingInputMode": "file"}},
            r"train\.TrainingInputMode is \"file\". Expected File or FastFile or Pipe",
        ),
        ({"train": {"TrainingInputMode": 1}}, r"train\.TrainingInputMode is 1"),
        ({"train": {"ContentType": ["text/csv"]}}, r"train\.ContentType is .* Expected a string"),
        (
            {"train": {"S3DistributionType": "Sharded"}},
            r"train\.S3DistributionType .* Expected FullyReplicated or Sharded",
        ),
        ({"train": {"RecordWrapperType": "recordio"}}, r"train\.RecordWrapperType"),
        ({"train": {"CompressionType": "zip"}}, r"train\.CompressionType"),
        ({"train": "File"}, r"train is \"File\". Expected an object"),
        ({"../etc": {}}, r"'\.\./etc' is no name for a channel"),
        ({"..": {}}, r"'\.\.' is no name"),
        ({"": {}}, "'' is no name"),
        ({"x" * 65: {}}, "'x{65}' is no name"),
    ],
)
def test_broken_field_is_named(tree, content, message):
    tree.channels(content)
    with pytest.raises(ConfigError, match=rf"inputdataconfig\.json: {message}"):
        read_channels(tree.paths)
