"""A processing job: inputs and outputs of the platform, several hosts, the exit message."""

import subprocess
import sys

import numpy as np
import pytest
from twofold.formats import images


def environ_of(base, **more):
    return {"SAGEMAKER_BASE_DIR": str(base), "PREPARE_FORMAT": "recordio", "PREPARE_SHARD_SIZE": "9kB", **more}


def collect(bucket, folders):
    """What the platform does at the end: all hosts' outputs come into one prefix."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                target = bucket / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                assert not target.exists(), f"two hosts wrote {target}"
                target.write_bytes(path.read_bytes())
    return bucket


@pytest.mark.procs
def test_hosts_with_parts_make_one_dataset(rows, write_csv, read_back, prepare, tmp_path, make_job):
    """One of three has no data at all."""
    folders, hosts = [], ("algo-1", "algo-2", "algo-3")
    for number, (host, part) in enumerate(zip(hosts, (rows[:1000], rows[1000:], None), strict=True)):
        base = tmp_path / host
        source, target = make_job(base, host=host, hosts=hosts)
        folders.append(target)
        if part is not None:
            source.rmdir()
            write_csv(source, part, files=1)
        prepare(environ=environ_of(base))
        assert (base / "output" / "message").read_text().startswith("Completed: ")
        assert (target / f"index-{number:03d}.json").is_file()
    bucket = collect(tmp_path / "bucket", folders)
    assert min(path.name for path in bucket.glob("part-*")) == "part-000-00000.rec"
    np.testing.assert_array_equal(np.stack(read_back(bucket)["features"]), rows[:, 1:])


@pytest.mark.procs
def test_hosts_that_see_everything_share_the_work(rows, write_csv, read_back, prepare, tmp_path, make_job):
    folders, hosts = [], ("algo-1", "algo-2")
    for host in hosts:
        base = tmp_path / host
        source, target = make_job(base, host=host, hosts=hosts, distribution="FullyReplicated")
        source.rmdir()
        write_csv(source, rows)
        folders.append(target)
        prepare(environ=environ_of(base))
    bucket = collect(tmp_path / "bucket", folders)
    np.testing.assert_array_equal(np.stack(read_back(bucket)["features"]), rows[:, 1:])


@pytest.mark.procs
def test_classes_that_a_host_may_not_see_have_to_be_named(prepare, read_back, tmp_path, make_job):
    source, target = make_job(tmp_path, hosts=("algo-1", "algo-2"))
    (source / "dog").mkdir()
    (source / "dog" / "1.png").write_bytes(images.encode_png(np.zeros((4, 4, 3), np.uint8)))
    run = prepare(environ=environ_of(tmp_path), expect=2)
    assert "--classes" in run.log
    message = (tmp_path / "output" / "message").read_bytes()
    assert message.startswith(b"configuration: This host sees 1 classes")
    assert len(message) <= 1024
    prepare(environ=environ_of(tmp_path, PREPARE_CLASSES="cat,dog"))
    assert read_back(target)["label"] == [1]


@pytest.mark.procs
def test_the_image_without_a_command_prepares_where_the_environment_says_so(
    rows, write_csv, read_back, tmp_path, make_job
):
    source, target = make_job(tmp_path)
    source.rmdir()
    write_csv(source, rows[:100])
    argv = [sys.executable, "-P", "-m", "twofold", "auto"]
    subprocess.run(argv, env=environ_of(tmp_path), check=True, capture_output=True, timeout=120)
    np.testing.assert_array_equal(np.stack(read_back(target)["features"]), rows[:100, 1:])
