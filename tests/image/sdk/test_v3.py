import tarfile

import pytest

pytestmark = [pytest.mark.image, pytest.mark.timeout(1500)]


@pytest.mark.parametrize(
    ("what", "hosts", "printed", "files"),
    [
        ("image", 2, "train:loss=", {"twofold.json", "weights.safetensors"}),
        ("source", 1, "own script: epoch=10 world=1", {"own.safetensors"}),
        ("torchrun", 2, "own script: epoch=10 world=4", {"own.safetensors"}),
    ],
    ids=["no source code, two hosts", "own script", "own script with torchrun, two hosts"],
)
def test_model_trainer_writes_a_model(image, digits, make_sdk, what, hosts, printed, files):
    sdk = make_sdk("sdk3")

    log = sdk.run("flow_v3.py", image, digits.channels["training"], sdk.work, hosts, what)

    assert printed in log
    with tarfile.open(sdk.work / "compressed_artifacts" / "model.tar.gz") as archive:
        assert files <= set(archive.getnames())
    assert sdk.containers(running=True) == []
