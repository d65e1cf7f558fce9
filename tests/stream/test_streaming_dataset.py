"""The public face, as a user's own script has it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import twofold
from twofold import StreamingDataset, StreamingLoader
from twofold.errors import ConfigError, DataError
from twofold.stream.streaming_dataset import own_scratch

SCRIPT = """
import json, sys
from twofold import StreamingLoader

loader = StreamingLoader(sys.argv[1], batch_size=64, seed=3)
if len(sys.argv) > 2:
    loader.load_state_dict(json.loads(sys.argv[2]))
seen = []
for batch in loader:
    seen += batch["label"].long().tolist()
    if len(sys.argv) == 2 and loader.step == 5:
        break
print(json.dumps([seen, loader.state_dict()]))
"""
RANKS = """
import json, sys
import torch.distributed as dist
from twofold import StreamingDataset, StreamingLoader

dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=int(sys.argv[3]), world_size=2)
loader = StreamingLoader(StreamingDataset(sys.argv[1]), 64, seed=3)
print(json.dumps([loader.rank, loader.world, [batch["label"].long().tolist() for batch in loader]]))
dist.destroy_process_group()
"""


@pytest.fixture
def folder(tmp_path, write_recordio):
    write_recordio(tmp_path / "data" / "a.rec", 0, 400)
    write_recordio(tmp_path / "data" / "b.rec", 400, 1000)
    return tmp_path / "data"


@pytest.fixture
def run(tmp_path):
    """Run a script; its own temporary folder, and no shared memory needed."""

    def started(script, *arguments):
        return subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )

    return started


def answer(process):
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


def test_a_script_stops_and_goes_on_in_another_process(folder, run):
    first, state = answer(run(SCRIPT, folder))
    rest, _ = answer(run(SCRIPT, folder, json.dumps(state)))
    assert len(first) == 5 * 64
    assert sorted(first + rest) == list(range(1000))


def test_ranks_are_those_of_torch_distributed(folder, run, tmp_path):
    found = [answer(process) for process in [run(RANKS, folder, tmp_path / "store", rank) for rank in range(2)]]
    assert [pair[:2] for pair in found] == [[0, 2], [1, 2]]
    alone = [batch["label"].long().tolist() for batch in StreamingLoader(folder, 64, seed=3)]
    assert [one + other for one, other in zip(found[0][2], found[1][2], strict=True)] == alone


def test_the_name_of_the_package_alone_is_light():
    code = "import twofold, sys; print(sorted({'torch', 'numpy', 'pyarrow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_names_that_are_not_there_are_no_attributes():
    with pytest.raises(AttributeError, match="no attribute 'StreamingTable'"):
        _ = twofold.StreamingTable
    assert set(dir(twofold)) >= {"StreamingDataset", "StreamingLoader"}


def test_the_folders_name_is_that_of_the_channel(folder, tmp_path):
    dataset = StreamingDataset(str(folder), scratch=tmp_path / "scratch")
    assert dataset.channel == "data"
    assert dataset.read(np.array([999, 3]))[0]["label"].tolist() == [999, 3]
    with pytest.raises(DataError, match="Channel 'nothing' is empty"):
        StreamingDataset(tmp_path / "nothing")


def test_what_is_parsed_is_kept_in_a_folder_of_this_user(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    assert len(StreamingDataset(tmp_path / "a.csv")) == 2
    assert own_scratch().stat().st_mode & 0o777 == 0o700
    assert len(list(own_scratch().iterdir())) == 1


@pytest.mark.parametrize("taken", ["by a link", "for all to write"])
def test_a_folder_that_another_could_write_is_not_used(tmp_path, monkeypatch, taken):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / f"twofold-{os.getuid()}"
    if taken == "by a link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    assert own_scratch() != folder


def test_a_rank_outside_the_world_is_refused(folder):
    with pytest.raises(ConfigError, match="rank 2 of 2 ranks"):
        StreamingLoader(folder, 64, rank=2, world=2)
