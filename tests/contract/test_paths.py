from pathlib import Path

import pytest
from twofold.contract.paths import Paths, scratch

PATHS = Paths.from_environ({})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (PATHS.hyperparameters, "/opt/ml/input/config/hyperparameters.json"),
        (PATHS.input_data_config, "/opt/ml/input/config/inputdataconfig.json"),
        (PATHS.resource_config, "/opt/ml/input/config/resourceconfig.json"),
        (PATHS.processing_resource_config, "/opt/ml/config/resourceconfig.json"),
        (PATHS.channel("train"), "/opt/ml/input/data/train"),
        (PATHS.fifo("train", 3), "/opt/ml/input/data/train_3"),
        (PATHS.model, "/opt/ml/model"),
        (PATHS.models, "/opt/ml/models"),
        (PATHS.output_data, "/opt/ml/output/data"),
        (PATHS.output_intermediate, "/opt/ml/output/intermediate"),
        (PATHS.tensorboard, "/opt/ml/output/tensorboard"),
        (PATHS.failure, "/opt/ml/output/failure"),
        (PATHS.success, "/opt/ml/output/success"),
        (PATHS.message, "/opt/ml/output/message"),
        (PATHS.cloudwatch_metrics, "/opt/ml/output/metrics/cloudwatch"),
        (PATHS.checkpoints, "/opt/ml/checkpoints"),
        (PATHS.code, "/opt/ml/code"),
        (PATHS.warm_pool_cache, "/opt/ml/sagemaker/warmpoolcache"),
    ],
)
def test_the_tree_is_where_the_platform_has_it(path, expected):
    assert path == Path(expected)


def test_the_root_can_be_moved(tmp_path, monkeypatch):
    assert Paths.from_environ({"SAGEMAKER_BASE_DIR": str(tmp_path)}).model == tmp_path / "model"
    monkeypatch.chdir(tmp_path)
    assert Paths.from_environ({"SAGEMAKER_BASE_DIR": "job"}).model == tmp_path / "job" / "model"
    assert Paths.from_environ({"SAGEMAKER_BASE_DIR": ""}).base == Path("/opt/ml")


def test_scratch_can_be_written_and_is_not_in_the_tree():
    assert scratch().is_dir()
    assert not scratch().is_relative_to(Paths().base)
