"""Real `train` runs on every input mode and format: pipes, channels divided between hosts, hosts without data."""

import gzip
import io
import itertools
import json
import os
import threading

import numpy as np
import pytest
from PIL import Image
from twofold.formats import aialgs, libsvm, tfrecord

pytestmark = pytest.mark.procs

TRAIN = "twofold.train"
RUN = {"hidden": "16", "batch_size": 12, "epochs": 4, "learning_rate": 0.01}
HOSTS = ["127.0.0.1", "127.0.0.2"]


def as_csv(rows):
    return "".join(",".join(f"{value:.9g}" for value in row) + "\n" for row in rows).encode()


def as_records(module, rows):
    table = np.asarray(rows, dtype=np.float32)
    return b"".join(module.encode({"label": row[0], "features": row[1:]}) for row in table)


@pytest.fixture
def platform():
    """platform(paths, channel, data): make the FIFOs of a channel one after the other, until the test ends."""
    over = threading.Event()
    opened = []

    def feed(paths, channel, data):
        for epoch in itertools.count():
            fifo = paths.fifo(channel, epoch)
            os.mkfifo(fifo)
            opened.append(fifo)
            try:
                with fifo.open("wb") as pipe:
                    if over.is_set():
                        return
                    pipe.write(data)
            except BrokenPipeError:
                pass
            fifo.unlink()

    threads = []

    def start(paths, channel, data):
        paths.data.mkdir(parents=True, exist_ok=True)
        threads.append(threading.Thread(target=feed, args=(paths, channel, data), daemon=True))
        threads[-1].start()

    yield start
    over.set()
    for thread in threads:
        while thread.is_alive():
            # A writer waits for a reader of its FIFO: be that reader, so that it sees that all is over.
            for fifo in opened:
                if fifo.exists():
                    os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
            thread.join(0.01)


def first_losses(run):
    return [record["train:loss"] for record in run.history]


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_pipe_mode(make_tree, run_verb, platform, classes, processes):
    config = {"TrainingInputMode": "Pipe", "ContentType": "text/csv"}
    paths = make_tree({}, config={"train": config, "validation": config}, processes_per_host=processes, **RUN)
    platform(paths, "train", as_csv(classes(130)))
    platform(paths, "validation", as_csv(classes(30, seed=3)))
    run = run_verb(TRAIN, paths)
    assert len(run.history) == RUN["epochs"]
    assert run.history[-1]["step"] == RUN["epochs"] * 11
    assert run.history[-1]["validation:accuracy"] > 0.9


@pytest.mark.slow
def test_every_form_of_a_pipe_learns_the_same(make_tree, run_verb, platform, classes):
    """The same samples in the same order on two ranks: not one loss may differ."""
    rows = np.asarray(classes(60), dtype=np.float32)
    forms = {
        "csv": ("text/csv", as_csv(rows)),
        "csv with headers": ("text/csv", b"".join(b"kind,a,b,c\n" + as_csv(part) for part in np.split(rows, 4))),
        "libsvm": ("text/libsvm; features=3", libsvm.encode(rows[:, 0], rows[:, 1:])),
        "recordio": ("application/x-recordio-protobuf", as_records(aialgs, rows)),
        "gzip": ("text/csv", b"".join(gzip.compress(as_csv(part)) for part in np.split(rows, 4))),
    }
    losses = {}
    for name, (content_type, data) in forms.items():
        config = {"train": {"TrainingInputMode": "Pipe", "ContentType": content_type}}
        paths = make_tree({}, config=config, processes_per_host=2, **RUN)
        platform(paths, "train", data)
        losses[name] = first_losses(run_verb(TRAIN, paths))
    assert len(losses["csv"]) == RUN["epochs"]
    assert all(found == losses["csv"] for found in losses.values()), losses


@pytest.mark.slow
def test_pipe_mode_of_two_hosts_with_unequal_parts(make_tree, start_verb, platform, classes, meeting):
    """The second host has one sample only: it takes every step of the others all the same."""
    config = {"TrainingInputMode": "Pipe", "ContentType": "text/csv", "S3DistributionType": "ShardedByS3Key"}
    rows = classes(100)
    runs = []
    for host, part in zip(HOSTS, (rows[:99], rows[99:]), strict=True):
        cluster = {"current_host": host, "hosts": HOSTS, "network_interface_name": "lo"}
        paths = make_tree({}, config={"train": config}, cluster=cluster, **RUN)
        platform(paths, "train", as_csv(part))
        runs.append(start_verb(TRAIN, paths, environ=meeting))
    assert [run.wait() for run in runs] == [0, 0], runs[0].log + runs[1].log
    assert "100 samples" in runs[0].log
    assert len(runs[0].history) == RUN["epochs"]


@pytest.mark.slow
@pytest.mark.parametrize("second", [70, 1, 0])
def test_hosts_with_parts_of_their_own(make_tree, start_verb, classes, second, meeting):
    """ShardedByS3Key: parts of unequal size, of one sample, and none at all."""
    rows = classes(100)
    parts = [{"a.csv": rows[second:]}, {"b.csv": rows[:second]} if second else {}]
    runs = []
    for host, part in zip(HOSTS, parts, strict=True):
        cluster = {"current_host": host, "hosts": HOSTS, "network_interface_name": "lo"}
        config = {"train": {"TrainingInputMode": "File", "S3DistributionType": "ShardedByS3Key"}}
        runs.append(
            start_verb(TRAIN, make_tree({"train": part}, cluster=cluster, config=config, **RUN), environ=meeting)
        )
    assert [run.wait() for run in runs] == [0, 0], runs[0].log + runs[1].log
    assert "100 samples of 3 features" in runs[0].log
    assert runs[0].history[-1]["train:accuracy"] > 0.9


def test_a_host_whose_instance_group_has_no_channel(make_tree, start_verb, classes, meeting):
    runs = []
    for host, channels in zip(HOSTS, ({"train": {"a.csv": classes(60)}}, {}), strict=True):
        cluster = {"current_host": host, "hosts": HOSTS, "network_interface_name": "lo"}
        config = {"train": {"TrainingInputMode": "File"}}
        runs.append(start_verb(TRAIN, make_tree(channels, cluster=cluster, config=config, **RUN), environ=meeting))
    assert [run.wait() for run in runs] == [0, 0], runs[0].log + runs[1].log
    assert "60 samples" in runs[0].log


@pytest.mark.slow
def test_every_format_of_one_table_learns_the_same(make_tree, run_verb, classes):
    """Same samples in the same order: not one loss may differ."""
    rows = np.asarray(classes(60), dtype=np.float32)
    named = b"kind,a,b,c\n" + as_csv(rows)
    files = {
        "csv": {"a.csv": as_csv(rows)},
        "csv with header": {"a.csv": named},
        "npy": {"a.npy": rows},
        "recordio": {"a.rec": as_records(aialgs, rows)},
        "tfrecord": {"a.tfrecord": as_records(tfrecord, rows)},
    }
    losses = {
        name: first_losses(run_verb(TRAIN, make_tree({"train": content}, **RUN))) for name, content in files.items()
    }
    assert all(found == losses["csv"] for found in losses.values()), losses


def as_png(pixels):
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


PICTURES = [as_png(np.full((8, 8, 3), value, dtype=np.uint8)) for value in (20, 220)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parts", "settings", "name", "bound"),
    [
        (
            [{f"dark/{n}.png": PICTURES[0] for n in range(20)}, {f"light/{n}.png": PICTURES[1] for n in range(10)}],
            {"model": "resnet", "filters": 8},
            "train:accuracy",
            0.9,
        ),
        (
            [{"a.txt": "to and fro, " * 90}, {}],
            {"model": "gpt", "context": 16, "width": 32, "layers": 1, "heads": 2},
            "train:accuracy",
            0.7,
        ),
    ],
    ids=["a-class-each", "text-on-one"],
)
def test_hosts_with_images_and_text_of_their_own(make_tree, start_verb, parts, settings, name, bound, meeting):
    runs = []
    for host, part in zip(HOSTS, parts, strict=True):
        cluster = {"current_host": host, "hosts": HOSTS, "network_interface_name": "lo"}
        config = {"train": {"TrainingInputMode": "File", "S3DistributionType": "ShardedByS3Key"}}
        tree = make_tree({"train": part}, cluster=cluster, config=config, **settings, learning_rate=0.01, batch_size=6)
        runs.append(start_verb(TRAIN, tree, environ=meeting))
    assert [run.wait() for run in runs] == [0, 0], runs[0].log + runs[1].log
    assert runs[0].history[-1][name] > bound
    if settings["model"] == "resnet":
        assert json.loads((runs[0].paths.model / "twofold.json").read_text())["classes"] == ["dark", "light"]
