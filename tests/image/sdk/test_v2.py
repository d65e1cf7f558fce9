import json
import tarfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
pytestmark = [pytest.mark.image, pytest.mark.timeout(1500)]


def test_classic_flow_trains_deploys_and_predicts(image, digits, make_sdk, tmp_path):
    sdk = make_sdk("sdk2")
    rows, answer = tmp_path / "rows.json", tmp_path / "answer.json"
    rows.write_text(json.dumps(digits.rows))

    log = sdk.run("flow_v2.py", image, digits.channels["training"], rows, answer)

    result = json.loads(answer.read_text())
    assert digits.accuracy(result["labels"]) >= 0.9
    assert log.count("train:loss=") == 10, "one line of metrics an epoch, from one of the two hosts"
    with tarfile.open(result["model_data"].removeprefix("file://")) as archive:
        assert {"twofold.json", "weights.safetensors"} <= set(archive.getnames())
    assert sdk.containers(running=True) == []
    sdk.sweep()
    assert sdk.containers() == []


def test_own_script_runs_on_two_hosts(image, digits, make_sdk):
    """The very script that SDK v3's own launcher runs in test_v3.py."""
    sdk = make_sdk("sdk2")

    log = sdk.run("flow_v2_script.py", image, digits.channels["training"], HERE / "v3_source")

    assert "own script: epoch=10 world=2" in log
    with tarfile.open(log.split("model_data=file://")[1].split()[0]) as archive:
        assert "own.safetensors" in archive.getnames()
    assert sdk.containers(running=True) == []
    sdk.sweep()
    assert sdk.containers() == []
