import pytest
from twofold.errors import ConfigError
from twofold.serve.engine import EngineSettings, read_engine_settings


def test_nothing_set_leaves_the_choice_to_the_artifact():
    assert read_engine_settings({}) == EngineSettings()
    names = ("TWOFOLD_ENGINE", "TWOFOLD_DEVICE", "TWOFOLD_PRECISION", "TWOFOLD_COMPILE")
    assert read_engine_settings(dict.fromkeys(names, "")) == EngineSettings()


def test_all_settings():
    environ = {
        "TWOFOLD_ENGINE": "PyTorch",
        "TWOFOLD_DEVICE": "cuda:1",
        "TWOFOLD_PRECISION": "bf16",
        "TWOFOLD_COMPILE": "true",
    }
    assert read_engine_settings(environ) == EngineSettings(
        engine="pytorch", device="cuda:1", precision="bf16", compile=True
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("TWOFOLD_ENGINE", "tensorrt", "auto, onnx, pytorch"),
        ("TWOFOLD_PRECISION", "int8", "fp32, bf16"),
        ("TWOFOLD_COMPILE", "maybe", "true, 1, false, 0"),
    ],
)
def test_other_words_are_refused(name, value, expected):
    with pytest.raises(ConfigError, match=f"{name} is '{value}'. Expected one of: {expected}"):
        read_engine_settings({name: value})


@pytest.mark.parametrize("other", [{"TWOFOLD_DEVICE": "cpu"}, {"TWOFOLD_PRECISION": "bf16"}, {"TWOFOLD_COMPILE": "1"}])
def test_onnx_runtime_has_no_settings_of_pytorch(other):
    with pytest.raises(ConfigError, match="TWOFOLD_ENGINE is 'onnx' together with"):
        read_engine_settings({"TWOFOLD_ENGINE": "onnx"} | other)
