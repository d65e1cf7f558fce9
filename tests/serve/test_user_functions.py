import pytest
from twofold.errors import ModelError
from twofold.serve.context import Context
from twofold.serve.user_functions import call, program_path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "inference.py").write_text("")
    (tmp_path / "code" / "other.py").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("program", "file"),
    [(None, "inference.py"), ("inference.py", "inference.py"), ("other.py", "other.py"), ("other", "other.py")],
)
def test_the_script_is_found(folder, program, file):
    assert program_path(folder, program) == folder / "code" / file


def test_without_a_script_the_artifact_serves(tmp_path):
    assert program_path(tmp_path, None) is None
    assert program_path(tmp_path, "inference.py") is None


@pytest.mark.parametrize("program", ["../inference.py", "/etc/passwd", "train.py"])
def test_a_script_that_is_asked_for_must_be_in_the_code_folder(folder, program):
    (folder / "inference.py").write_text("")
    with pytest.raises(ModelError, match=r"Python files there: inference.py, other.py"):
        program_path(folder, program)


def test_the_context_is_passed_to_those_who_take_it():
    context = Context("/opt/ml/model")
    assert call(lambda a, b: (a, b), (1, 2), context) == (1, 2)
    assert call(lambda a, b, c: c, (1, 2), context) is context
