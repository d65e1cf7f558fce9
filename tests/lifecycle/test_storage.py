"""Files in the project's bucket: each content once, under its hash; archives that are the same for the same content."""

import io
import os
import tarfile

import pytest
from twofold.errors import UserError
from twofold.lifecycle.storage import packed, tree


@pytest.fixture
def code(tmp_path):
    folder = tmp_path / "code"
    for name in ("train.py", "lib/net.py", ".git/config", "__pycache__/a.pyc", "lib/b.pyc", ".hidden"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (folder / "run.sh").write_text("x")
    (folder / "run.sh").chmod(0o755)
    return folder


def test_code_is_packed_without_caches_and_the_same_each_time(code):
    first = packed(tree(code))
    for path in code.rglob("*"):
        os.utime(path, (1, 1))
    assert packed(tree(code)) == first
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:
        assert tar.getnames() == [".hidden", "lib/net.py", "run.sh", "train.py"]
        assert tar.getmember("run.sh").mode == 0o755
        assert tar.extractfile("lib/net.py").read() == b"lib/net.py"
    (code / "train.py").write_text("other")
    assert packed(tree(code)) != first


def test_a_folder_without_files_is_no_code(tmp_path):
    with pytest.raises(UserError, match=r"is empty\. Expected a folder with files"):
        tree(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        tree(tmp_path / "nowhere")


def test_data_goes_up_once_and_again_only_when_it_changed(project):
    project.init("--data", "training=data")
    (project.folder / "data").mkdir()
    (project.folder / "data" / "a.csv").write_text("0,1\n")
    first = project.run("train", "--dry-run")
    assert first.out.count('"operation": "PutObject"') == 1
    project.run("train", "--no-wait", "--set", "train.environment={A: b}")
    bucket = "sagemaker-us-east-1-123456789012"
    keys = project.rehearsal.keys(bucket, f"{project.name}/data/")
    project.run("train", "--no-wait", "--set", "train.environment={A: c}")
    assert project.rehearsal.keys(bucket, f"{project.name}/data/") == keys
    (project.folder / "data" / "a.csv").write_text("0,2\n")
    project.run("train", "--no-wait")
    assert len(project.rehearsal.keys(bucket, f"{project.name}/data/")) == 2
