"""`docker/audit` accepts what its list names, until the day that it names."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def audit(tmp_path):
    """Run the script in a tree of its own, with a program that prints its arguments in place of pip-audit."""
    (tmp_path / "docker").mkdir()
    shutil.copy(ROOT / "docker" / "audit", tmp_path / "docker")
    stand_in = tmp_path / "pip-audit"

    def run(allowed, more=""):
        stand_in.write_text(f'#!/bin/sh\necho "$@"\n{more}')
        stand_in.chmod(0o755)
        (tmp_path / "docker" / "audit-allowed.txt").write_text(allowed)
        environ = {**os.environ, "PIP_AUDIT": str(stand_in)}
        return subprocess.run([tmp_path / "docker" / "audit"], env=environ, capture_output=True, text=True, check=False)

    return run


def test_it_asks_for_all_that_the_image_holds_and_skips_nothing(audit):
    done = audit("# nothing\n")
    assert done.returncode == 0
    assert "--strict" in done.stdout
    assert "docker/locks/runtime.txt" in done.stdout
    assert "docker/locks/torch.txt" in done.stdout
    assert "--ignore-vuln" not in done.stdout


def test_what_is_accepted_counts_again_after_its_day(audit):
    done = audit("GHSA-aaaa 2999-01-01 no such call here\nGHSA-bbbb 2020-01-01 was fine once\n")
    assert "--ignore-vuln GHSA-aaaa" in done.stdout
    assert "GHSA-bbbb" not in done.stdout
    assert "GHSA-bbbb was accepted until 2020-01-01" in done.stderr


@pytest.mark.parametrize("line", ["GHSA-cccc", "GHSA-cccc soon because", "GHSA-cccc 2999-01-01"])
def test_a_line_without_a_day_or_a_reason_is_refused(audit, line):
    done = audit(line + "\n")
    assert done.returncode == 2
    assert "expected: ID YYYY-MM-DD reason" in done.stderr


def test_the_list_of_this_repository_is_well_formed(audit):
    assert audit((ROOT / "docker" / "audit-allowed.txt").read_text()).returncode == 0


def test_a_service_that_cannot_be_asked_is_no_finding_and_no_traceback(audit):
    said = (
        "echo 'Traceback (most recent call last):' >&2\necho 'requests.ProxyError: no way to index.test' >&2\nexit 1\n"
    )
    done = audit("", said)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "nothing was audited: requests.ProxyError: no way to index.test\nExpected an answer of" in done.stderr


def test_what_is_found_fails_it(audit):
    done = audit("", "echo 'Found 1 known vulnerability in 1 package' >&2\nexit 1\n")
    assert done.returncode == 1
    assert done.stderr == "Found 1 known vulnerability in 1 package\n"
