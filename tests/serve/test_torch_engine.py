import shutil

import numpy as np
import pytest
import torch
from twofold.contract.artifact import read_manifest
from twofold.errors import ConfigError
from twofold.serve import torch_engine
from twofold.serve.engine import EngineSettings
from twofold.serve.torch_engine import TorchEngine

ROWS = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


def engine(artifact, **settings):
    return TorchEngine(artifact.folder, read_manifest(artifact.folder), EngineSettings(**settings))


def test_rows_of_any_numeric_type_are_answered(classifier):
    rows = np.arange(12).reshape(3, 4)
    for dtype in (np.float32, np.float64, np.int64, np.uint8):
        answers = engine(classifier).run(rows.astype(dtype))
        assert answers.dtype == np.float32
        np.testing.assert_allclose(answers, classifier.answers(rows), atol=1e-6)


def test_bf16_answers_in_float32_and_nearly_the_same(classifier):
    answers = engine(classifier, precision="bf16").run(ROWS)
    assert answers.dtype == np.float32
    assert not np.array_equal(answers, classifier.answers(ROWS))
    np.testing.assert_allclose(answers, classifier.answers(ROWS), atol=0.02)


@pytest.mark.parametrize("device", ["cuda:0", "tpu", "meta", "cpu:x"])
def test_a_device_that_is_not_here_is_named(classifier, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match=f"TWOFOLD_DEVICE is '{device}', and this container has 0 GPUs"):
        engine(classifier, device=device)


def test_weights_go_to_the_gpu_only_after_the_fork(classifier, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    made = engine(classifier)
    assert made._device == torch.device("cuda:0")
    np.testing.assert_allclose(made.run(ROWS), classifier.answers(ROWS), atol=1e-6)
    moved = []
    monkeypatch.setattr(torch_engine.os, "getpid", lambda: -1)
    monkeypatch.setattr(made._module, "to", moved.append)
    with pytest.raises((RuntimeError, AssertionError)):  # there is no GPU here to answer
        made.run(ROWS)
    assert moved == [torch.device("cuda:0")]


def test_compiling_without_a_compiler_is_refused(classifier, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ConfigError, match="TWOFOLD_COMPILE is true, but there is no C\\+\\+ compiler"):
        engine(classifier, compile=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
def test_a_compiled_model_answers_the_same(classifier):
    made = engine(classifier, compile=True)
    np.testing.assert_allclose(made.run(ROWS), classifier.answers(ROWS), atol=1e-5)
    np.testing.assert_allclose(made.run(ROWS[:1]), classifier.answers(ROWS[:1]), atol=1e-5)
