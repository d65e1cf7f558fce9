"""Containers with a /dev/shm of a byte, or of a page: images are trained on and transformed in workers all the same."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

SCRIPT = """
import os
import shutil

import torch
from twofold import StreamingLoader

def transform(batch):
    bright = [sum(image.flatten().tolist()) / image.numel() for image in batch["image"]]
    return {"image": batch["image"], "bright": torch.tensor(bright), "worker": os.getpid()}

loader = StreamingLoader(os.environ["SM_CHANNEL_TRAINING"], 8, transform=transform, workers=2)
print("shared memory", shutil.disk_usage("/dev/shm").total, flush=True)
for epoch in range(2):
    batches = list(loader)
    assert all(torch.equal(batch["image"].float().mean((1, 2, 3)), batch["bright"]) for batch in batches)
    print("epoch", epoch, sum(len(batch["bright"]) for batch in batches), "images", flush=True)
    assert os.getpid() not in {batch["worker"] for batch in batches}
"""
TINY = {"a byte": ("--shm-size", "1"), "a page": ("--tmpfs", "/dev/shm:size=4k")}


def picture(value: int) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), value, dtype=np.uint8)).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    """Two classes, of which each image is of one value."""
    files = {f"dark/{n}.png": picture(10 + n) for n in range(20)}
    return files | {f"light/{n}.png": picture(200 + n) for n in range(20)}


@pytest.mark.parametrize("flags", TINY.values(), ids=TINY)
def test_images_are_trained_on_by_two_ranks(run: Callable, make_tree: Callable, pictures: dict, flags: tuple) -> None:
    paths = make_tree(
        {"training": pictures}, model="resnet", filters=8, epochs=3, batch_size=8, image_size=64, processes_per_host=2
    )
    done = run("train", opt_ml=paths.base, flags=flags)
    assert done.returncode == 0, done.stdout
    assert "/dev/shm" in done.stdout
    assert "0.00 GB free: our loader needs none, nor do its workers" in done.stdout
    assert (paths.model / "weights.safetensors").exists()


@pytest.mark.parametrize("flags", TINY.values(), ids=TINY)
def test_a_scripts_loader_has_workers(run: Callable, make_tree: Callable, pictures: dict, flags: tuple) -> None:
    paths = make_tree({"training": pictures}, sagemaker_program="train.py", sagemaker_submit_directory="/opt/ml/code")
    paths.code.mkdir()
    (paths.code / "train.py").write_text(SCRIPT)
    done = run("train", opt_ml=paths.base, flags=flags)
    assert done.returncode == 0, done.stdout
    assert "shared memory 4096" in done.stdout
    for epoch in range(2):
        assert f"epoch {epoch} 40 images" in done.stdout
