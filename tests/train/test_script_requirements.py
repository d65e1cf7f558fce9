"""pip for real, with a wheel made on the spot, into a folder of the test."""

import logging
import os
import subprocess
import sys

import boto3
import pytest
from twofold.errors import ConfigError, PlatformError
from twofold.train.script_requirements import install

OFFLINE = {"PIP_NO_INDEX": "1"}


@pytest.fixture
def code(tmp_path):
    folder = tmp_path / "code"
    folder.mkdir()
    # What pip itself imports must not be taken from the user's folder.
    (folder / "logging.py").write_text("raise SystemExit('the user's file was imported')\n")
    return folder


@pytest.fixture
def environ(tmp_path):
    """pip finds wheels in this folder only."""
    (tmp_path / "wheels").mkdir()
    return {"PATH": os.environ["PATH"], "PIP_FIND_LINKS": str(tmp_path / "wheels"), **OFFLINE}


def test_nothing_is_asked_for(code, environ, tmp_path):
    assert install(code, environ, tmp_path, package=False) == {}


def test_packages_go_to_a_folder_of_the_run_where_the_image_may_not_be_written(
    code, environ, make_wheel, tmp_path, caplog
):
    make_wheel(tmp_path / "wheels")
    (code / "requirements.txt").write_text("tinywheel==1.0\nnumpy\n")
    with caplog.at_level(logging.INFO):
        found = install(code, environ, tmp_path / "scratch", package=False, library=tmp_path / "no-such")
    assert "Successfully installed tinywheel-1.0" in caplog.text
    assert "Requirement already satisfied: numpy" in caplog.text
    assert found["PATH"] == f"{tmp_path}/scratch/packages/bin:{environ['PATH']}"
    script = "import tinywheel, numpy; print(tinywheel.VERSION, tinywheel.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ | found, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"1.0 {tmp_path}/scratch/packages/lib/")


def test_what_cannot_be_found_is_named(code, environ, tmp_path):
    (code / "requirements.txt").write_text("tinywheel==2.0\n")
    with pytest.raises(
        ConfigError, match=r"cannot be installed: Could not find .* tinywheel==2.0 .*correct requirements.txt"
    ):
        install(code, environ, tmp_path, package=False, library=tmp_path / "no-such")


def test_no_way_to_an_index_is_told(code, environ, tmp_path):
    (code / "requirements.txt").write_text("tinywheel==2.0\n")
    nowhere = {"PATH": environ["PATH"], "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}
    with pytest.raises(ConfigError, match="no way to a package index from here: with network isolation, put wheels"):
        install(code, nowhere | {"PIP_CONFIG_FILE": "/dev/null"}, tmp_path, package=False, library=tmp_path / "no-such")


class FakeCodeArtifact:
    """Answers as boto3's client does."""

    def get_authorization_token(self, **_):
        return {"authorizationToken": "secret-token"}

    def get_repository_endpoint(self, **_):
        return {"repositoryEndpoint": "https://127.0.0.1:9/pypi/repository/"}


ARN = "arn:aws:codeartifact:us-east-1:123456789012:repository/domain/repository"


def test_code_artifact_is_the_index_and_its_token_stays_out_of_the_log(code, environ, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(boto3, "client", lambda *_, **__: FakeCodeArtifact())
    monkeypatch.setenv("CA_REPOSITORY_ARN", ARN)
    (code / "requirements.txt").write_text("tinywheel\n")
    settings = {"PATH": environ["PATH"], "PIP_RETRIES": "1", "PIP_CONFIG_FILE": "/dev/null", "CA_REPOSITORY_ARN": ARN}
    with caplog.at_level(logging.INFO), pytest.raises(ConfigError, match="no way to a package index"):
        install(code, settings, tmp_path, package=False, library=tmp_path / "no-such")
    assert "https://aws:****@127.0.0.1:9/pypi/repository/simple" in caplog.text
    assert "secret-token" not in caplog.text


def test_code_artifact_that_gives_no_access_is_named(code, environ, tmp_path, monkeypatch):
    monkeypatch.setenv("CA_REPOSITORY_ARN", "arn:nothing")
    (code / "requirements.txt").write_text("tinywheel\n")
    with pytest.raises(PlatformError, match="CA_REPOSITORY_ARN is 'arn:nothing', and CodeArtifact gives no access"):
        install(code, environ | {"CA_REPOSITORY_ARN": "arn:nothing"}, tmp_path, package=False)
