"""buildspec.yml is what CodeBuild takes, calls only verbs that exist, and pushes nothing that has not passed.

The phases are run here as CodeBuild runs them, with stand-ins for `make`, `aws` and `docker` that write down how they
were called. Source: https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
"""

import json
import re
import shlex
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[1]
PHASES = ("install", "pre_build", "build", "post_build")
DIGEST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/twofold@sha256:" + "0" * 64

COMMANDS = {"type": "array", "items": {"type": "string"}, "minItems": 1}
SCHEMA = {
    "type": "object",
    "required": ["version", "phases", "artifacts"],
    "additionalProperties": False,
    "properties": {
        "version": {"const": 0.2},
        "env": {"type": "object", "properties": {"shell": {"enum": ["bash"]}}, "additionalProperties": False},
        "phases": {
            "type": "object",
            "required": list(PHASES),
            "additionalProperties": False,
            "properties": {
                name: {
                    "type": "object",
                    "required": ["on-failure"],
                    "additionalProperties": False,
                    "properties": {
                        "on-failure": {"const": "ABORT"},
                        "commands": COMMANDS,
                        **({"runtime-versions": {"type": "object"}} if name == "install" else {}),
                    },
                }
                for name in PHASES
            },
        },
        "artifacts": {"type": "object", "required": ["files"], "properties": {"files": COMMANDS}},
    },
}

STAND_IN = """#!/bin/bash
echo "$(basename "$0") $*" >>"$CALLS"
[[ $(basename "$0") == docker && $2 == inspect ]] && echo "$DIGEST"
[[ "$(basename "$0") $*" != $FAILING ]]
"""


@pytest.fixture(scope="module")
def spec() -> dict:
    return yaml.safe_load((ROOT / "buildspec.yml").read_text())


def commands(spec: dict) -> list[str]:
    """All commands in the order in which CodeBuild comes to them."""
    return [command for name in PHASES for command in spec["phases"][name].get("commands", [])]


def build(spec: dict, folder: Path, *, failing: str = "") -> list[str]:
    """Run the phases as CodeBuild does and return the calls; `post_build` comes even after a failure."""
    (folder / "bin").mkdir()
    for name in ("make", "aws", "docker"):
        (folder / "bin" / name).write_text(STAND_IN)
        (folder / "bin" / name).chmod(0o755)
    calls = folder / "calls"
    calls.touch()
    environ = {
        "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
        "CALLS": str(calls),
        "DIGEST": DIGEST,
        "FAILING": failing,
        "AWS_ACCOUNT_ID": "123456789012",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "IMAGE_REPO_NAME": "twofold",
        "CODEBUILD_RESOLVED_SOURCE_VERSION": "0123456789abcdef0123456789abcdef01234567",
        "CODEBUILD_BUILD_NUMBER": "17",
    }
    succeeding = True
    for name in PHASES:
        if not succeeding and name != "post_build":
            continue
        script = "\n".join(f"{{ {command}\n}} || exit 1" for command in spec["phases"][name].get("commands", []))
        phase = {**environ, "CODEBUILD_BUILD_SUCCEEDING": str(int(succeeding))}
        done = subprocess.run(["bash", "-c", script], cwd=folder, env=phase, check=False)
        succeeding = succeeding and done.returncode == 0
    return calls.read_text().splitlines()


def test_it_is_what_codebuild_takes(spec: dict) -> None:
    jsonschema.validate(spec, SCHEMA)


def test_every_verb_exists_and_they_come_in_order(spec: dict) -> None:
    called = [verb for line in commands(spec) if line.startswith("make ") for verb in shlex.split(line)[1:]]
    rules = re.findall(r"^([a-z][a-z -]*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}

    assert called == ["lint", "types", "audit", "test", "test-slow", "image", "test-image"]
    assert set(called) <= targets


def test_no_command_hides_a_failure(spec: dict) -> None:
    hiding = re.compile(r"\|\||;|&(?!&)|\bset \+|\btrue\b|\bexit 0|2>")
    assert [line for line in commands(spec) if hiding.search(line)] == []


def test_a_good_build_is_pushed_under_a_new_tag_and_handed_on_by_digest(spec: dict, tmp_path: Path) -> None:
    calls = build(spec, tmp_path)

    tag = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/twofold:0123456789ab-17"
    assert calls[:5] == ["make lint types audit", "make test", "make test-slow", "make image", "make test-image"]
    # The two ends of the login's pipe run at the same time.
    assert sorted(calls[5:7]) == [
        "aws ecr get-login-password --region eu-west-1",
        "docker login --username AWS --password-stdin 123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    ]
    assert calls[7:9] == [f"docker tag twofold:cpu {tag}", f"docker push {tag}"]
    assert json.loads((tmp_path / "imageDetail.json").read_text()) == {"ImageURI": DIGEST}
    assert spec["artifacts"]["files"] == ["imageDetail.json"]


@pytest.mark.parametrize(
    "failing",
    [
        "make lint types audit",
        "make test",
        "make test-slow",
        "make image",
        "make test-image",
        "aws *",
        "docker login *",
        "docker tag *",
    ],
)
def test_a_failure_anywhere_pushes_nothing(spec: dict, tmp_path: Path, failing: str) -> None:
    calls = build(spec, tmp_path, failing=failing)

    assert not [call for call in calls if call.startswith("docker push")]
    assert not (tmp_path / "imageDetail.json").exists()


def test_a_push_that_fails_hands_nothing_on(spec: dict, tmp_path: Path) -> None:
    build(spec, tmp_path, failing="docker push *")

    assert not (tmp_path / "imageDetail.json").exists()
