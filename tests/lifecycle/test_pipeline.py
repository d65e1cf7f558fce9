"""examples/pipeline: rules that fire on AWS's events, builds that run, as CodeBuild runs them, against a rehearsal.

Events are those of AWS's documentation: ECR (https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html),
SageMaker (https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "examples" / "pipeline"
DIGEST = "sha256:" + "7f" * 32
REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms: `!Ref X` as {"Ref": "X"}."""


Loader.add_multi_constructor(
    "!",
    lambda loader, name, node: {name: node.value if isinstance(node.value, str) else loader.construct_sequence(node)},
)


@pytest.fixture(scope="module")
def template():
    return yaml.load((FOLDER / "pipeline.yaml").read_text(), Loader)


def pushed(repository="digits", action="PUSH"):
    detail = {
        "action-type": action,
        "image-digest": DIGEST,
        "image-tag": "0123abc-17",
        "repository-name": repository,
        "result": "SUCCESS",
    }
    return {"source": "aws.ecr", "detail-type": "ECR Image Action", "detail": detail}


def decided(status, group="digits"):
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:model-package/{group}/1"
    detail = {"ModelPackageGroupName": group, "ModelPackageArn": arn, "ModelApprovalStatus": status}
    return {"source": "aws.sagemaker", "detail-type": "SageMaker Model Package State Change", "detail": detail}


def failed(status, project="digits-train"):
    detail = {
        "project-name": project,
        "build-status": status,
        "additional-information": {"logs": {"deep-link": "https://example.com/log"}},
    }
    return {"source": "aws.codebuild", "detail-type": "CodeBuild Build State Change", "detail": detail}


REFERENCES = {
    "Project": "digits",
    "Images": "digits",
    "BuildImage": "digits-image",
    "Train": "digits-train",
    "Deploy": "digits-deploy",
}


def fits(pattern, event):
    """Whether a pattern of EventBridge, of lists of values alone, fits an event."""
    if isinstance(pattern, list):
        values = [REFERENCES[item["Ref"]] if isinstance(item, dict) else item for item in pattern]
        return event in values
    return all(key in event and fits(part, event[key]) for key, part in pattern.items())


def rules(template):
    return {name: item["Properties"] for name, item in template["Resources"].items() if item["Type"].endswith("::Rule")}


@pytest.mark.parametrize(
    ("event", "fires"),
    [
        (pushed(), ["WhenPushed"]),
        (pushed("other"), []),
        (pushed(action="DELETE"), []),
        (decided("Approved"), ["WhenDecided"]),
        (decided("Rejected"), ["WhenDecided"]),
        (decided("PendingManualApproval"), ["WhenWaiting"]),
        (decided("Approved", "other"), []),
        (failed("FAILED"), ["WhenFailed"]),
        (failed("SUCCEEDED"), []),
        (failed("FAILED", "other"), []),
    ],
)
def test_rules_fire_on_what_they_are_for(template, event, fires):
    fired = [name for name, rule in rules(template).items() if fits(rule.get("EventPattern", {"source": []}), event)]
    assert fired == fires


def value(event, path):
    """What a path such as $.detail.image-digest means in an event."""
    for name in path.removeprefix("$.").split("."):
        event = event[name]
    return event


def transformed(target, event):
    """What EventBridge hands to a target."""
    text = target.get("Input") or target["InputTransformer"]["InputTemplate"]
    for name, path in target.get("InputTransformer", {}).get("InputPathsMap", {}).items():
        text = text.replace(f"<{name}>", value(event, path))
    return json.loads(text)


def variables(template, rule, event=None):
    """Variables that a rule gives to a build."""
    (target,) = rules(template)[rule]["Targets"]
    given = transformed(target, event)["environmentVariablesOverride"]
    return {item["name"]: item["value"] for item in given}


def test_builds_and_people_are_told_what_they_need(template):
    assert variables(template, "WhenPushed", pushed()) == {"DIGEST": DIGEST}
    assert variables(template, "WhenItIsTime") == {"AGAIN": "--again"}
    (target,) = rules(template)["WhenWaiting"]["Targets"]
    assert transformed(target, decided("PendingManualApproval")).endswith("model-package/digits/1")
    (target,) = rules(template)["WhenFailed"]["Targets"]
    assert transformed(target, failed("FAILED")) == "The build of digits-train failed: https://example.com/log"


def test_builds_have_the_variables_that_their_commands_use(template):
    for name, file in (("Train", "train.buildspec.yml"), ("Deploy", "deploy.buildspec.yml")):
        project = template["Resources"][name]["Properties"]
        assert project["Source"]["BuildSpec"] == file
        given = {item["Name"] for item in project["Environment"]["EnvironmentVariables"]}
        text = (FOLDER / file).read_text()
        used = {word for word in ("TWOFOLD", "ROLE", "IMAGES", "REGISTRY") if f"${word}" in text}
        assert used == given
        spec = yaml.safe_load(text)
        assert all(phase["on-failure"] == "ABORT" for phase in spec["phases"].values())


STAND_IN = f"""#!/bin/bash
echo "$(basename "$0") $*" >>"$CALLS"
[[ $(basename "$0") == twofold ]] && exec {sys.executable} -P -m twofold "$@"
[[ $(basename "$0") == aws ]] && echo {DIGEST}
exit 0
"""


@pytest.fixture
def build(project):
    """Run a build as CodeBuild does, in the project's folder; returns its exit code and its output."""
    folder = project.folder / "bin"
    folder.mkdir()
    for name in ("pip", "aws", "twofold"):
        (folder / name).write_text(STAND_IN)
        (folder / name).chmod(0o755)

    def run(file, **environ):
        phases = yaml.safe_load((FOLDER / file).read_text())["phases"]
        commands = [command for phase in phases.values() for command in phase["commands"]]
        script = "\n".join(f"{{ {command}\n}} || exit 1" for command in commands)
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=project.folder,
            env={
                "PATH": f"{folder}:/usr/bin:/bin",
                "HOME": os.environ.get("HOME", "/"),
                "CALLS": str(project.folder / "calls"),
                "AWS_ENDPOINT_URL": project.rehearsal.address,
                "TWOFOLD": "git+https://example.com/twofold.git",
                "ROLE": "arn:aws:iam::123456789012:role/of-the-template",
                "IMAGES": "digits",
                "REGISTRY": REGISTRY,
                "CODEBUILD_RESOLVED_SOURCE_VERSION": "0123abc",
                **environ,
            },
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_a_push_to_an_endpoint_that_runs_it(project, build, template):
    (project.folder / "data").mkdir()
    rows = "".join(f"{number % 2},{number % 2}.5,1\n" for number in range(64))
    (project.folder / "data" / "a.csv").write_text(rows)
    project.run("init", "--project", project.name, "--data", "training=data", "--data", "validation=data")
    more = "epochs: 30, batch_size: 8, hidden: [4], learning_rate: 0.05, export_onnx: false, baseline: true"
    text = (project.folder / "twofold.yaml").read_text().replace("hyperparameters: {}", f"hyperparameters: {{{more}}}")
    (project.folder / "twofold.yaml").write_text(text.replace("threshold: null", "threshold: 0.5"))

    code, said = build("train.buildspec.yml", **variables(template, "WhenPushed", pushed()))
    assert code == 0, said
    assert "aws ecr" not in (project.folder / "calls").read_text(), "the event names the digest"
    sagemaker = project.rehearsal.sagemaker
    (package,) = sagemaker.list_model_packages(ModelPackageGroupName=project.name)["ModelPackageSummaryList"]
    found = sagemaker.describe_model_package(ModelPackageName=package["ModelPackageArn"])
    assert found["InferenceSpecification"]["Containers"][0]["Image"] == f"{REGISTRY}/digits@{DIGEST}"
    assert found["MetadataProperties"]["CommitId"] == "0123abc"
    assert "DriftCheckBaselines" in found

    # Nobody has approved: the build says so. Then somebody does, by any client.
    code, said = build("deploy.buildspec.yml")
    assert code == 1
    assert "is approved. Expected one" in said
    sagemaker.update_model_package(ModelPackageArn=package["ModelPackageArn"], ModelApprovalStatus="Approved")
    code, said = build("deploy.buildspec.yml")
    assert code == 0, said
    assert f"endpoint {project.name} runs {DIGEST}" in said
    assert project.endpoint()["EndpointStatus"] == "InService"
    # The event of a rejection deploys as well, which changes nothing while the newest approved one serves.
    code, said = build("deploy.buildspec.yml")
    assert "has this config already" in said

    # By the clock: the newest image, once more, against the model that serves; a worse one goes no further.
    again = variables(template, "WhenItIsTime")
    code, said = build("train.buildspec.yml", **again)
    assert code == 0, said
    assert "aws ecr describe-images --repository-name digits" in (project.folder / "calls").read_text()
    (project.folder / "data" / "a.csv").write_text(rows.replace("1,1.5", "1,0.5"))
    code, said = build("train.buildspec.yml", **again)
    assert code == 1
    assert "since the model that serves has" in said
    assert len(sagemaker.list_model_packages(ModelPackageGroupName=project.name)["ModelPackageSummaryList"]) == 2
