import os
import shutil

import numpy as np
import pytest
from twofold.contract.artifact import read_manifest
from twofold.errors import ModelError
from twofold.serve.onnx_engine import OnnxEngine


def engine(folder):
    manifest = read_manifest(folder)
    return OnnxEngine(folder, manifest, manifest.onnx)


@pytest.fixture
def folder(program, tmp_path):
    """A copy of the artifact that the test may spoil."""
    return shutil.copytree(program.folder, tmp_path / "copy")


def test_rows_of_any_numeric_type_are_answered(program):
    rows = np.arange(12).reshape(3, 4)
    expected = program.answers(rows)
    for dtype in (np.float32, np.float64, np.int64, np.uint8):
        answers = engine(program.folder).run(rows.astype(dtype))
        assert answers.dtype == np.float32
        np.testing.assert_allclose(answers, expected, atol=1e-5)
    np.testing.assert_allclose(engine(program.folder).run(np.asfortranarray(rows)), expected, atol=1e-5)


def test_a_missing_program_is_named(folder):
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"No model.onnx in .*train again, or set TWOFOLD_ENGINE to 'pytorch'"):
        engine(folder)


def test_a_name_that_leads_out_of_the_folder_is_no_program(folder):
    manifest = read_manifest(folder)
    program = manifest.onnx.model_copy(update={"file": "../copy/model.onnx"})
    with pytest.raises(ModelError, match=r"No ../copy/model.onnx in"):
        OnnxEngine(folder, manifest, program)


@pytest.mark.parametrize("data", [b"", b"not an ONNX program"])
def test_a_broken_program_is_named(folder, data):
    (folder / "model.onnx").write_bytes(data)
    with pytest.raises(ModelError, match=r"model.onnx cannot be loaded"):
        engine(folder)


def test_a_truncated_program_is_named(folder):
    data = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match=r"model.onnx cannot be loaded"):
        engine(folder)


def test_a_session_lives_through_a_fork(program):
    made = engine(program.folder)
    rows = np.ones((2, 4), dtype=np.float32)
    expected = made.run(rows)
    child = os.fork()
    if not child:
        os._exit(0 if np.array_equal(made.run(rows), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(made.run(rows), expected)
