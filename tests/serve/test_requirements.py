import base64
import hashlib
import os
import sys
import zipfile

import pytest
from twofold.errors import ConfigError
from twofold.serve import requirements
from twofold.serve.requirements import install


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A code folder; whatever is installed from it is gone after the test."""
    monkeypatch.setattr(requirements, "scratch", lambda: tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("PIP_EXTRA_INDEX_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "code"
    folder.mkdir()
    return folder


def add_wheel(folder, name, requires=""):
    """Write a wheel of one module that knows its name."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}"
    files = {
        f"{name}.py": f"NAME = {name!r}\n",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [f"{path},sha256={digest(text)},{len(text)}" for path, text in files.items()]
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        wheel.writestr(f"{info}/RECORD", "\n".join([*lines, f"{info}/RECORD,,"]) + "\n")


def digest(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def test_without_a_file_nothing_happens(code, monkeypatch):
    monkeypatch.setattr(requirements.subprocess, "run", None)
    install(code)


def test_wheels_beside_the_file_need_no_index(code):
    add_wheel(code / "wheels", "twofold_test_first", "Requires-Dist: twofold_test_second\n")
    add_wheel(code / "wheels", "twofold_test_second")
    (code / "requirements.txt").write_text("twofold_test_first==1.0\n")
    install(code)
    import twofold_test_first
    import twofold_test_second

    assert twofold_test_first.NAME == "twofold_test_first"
    assert twofold_test_second.__file__.startswith(str(code.parent / "requirements-"))


def test_a_wheel_that_is_missing_is_asked_for(code):
    add_wheel(code / "wheels", "twofold_test_third", "Requires-Dist: twofold_test_missing\n")
    (code / "requirements.txt").write_text("twofold_test_third\n")
    with pytest.raises(ConfigError, match=r"twofold[_-]test[_-]missing.*Put the wheels that are missing"):
        install(code)


def test_what_the_image_has_is_not_fetched(code):
    (code / "requirements.txt").write_text("numpy>=1\nflask\n")
    install(code)


def test_without_a_network_the_way_out_is_named(code):
    (code / "requirements.txt").write_text("twofold-test-nowhere==3\n")
    with pytest.raises(ConfigError, match=r"requirements.txt cannot be installed: .*There is no network .*wheels/"):
        install(code)
