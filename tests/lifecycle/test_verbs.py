"""Each verb on a rehearsal, with a small server for a model: what is asked, what comes of it, what is refused."""

import base64
import json
import threading
import urllib.request

import pytest
from twofold.errors import UserError
from twofold.lifecycle import endpoints
from twofold.lifecycle.aws import connect
from twofold.lifecycle.config import read_config
from twofold.lifecycle.project import Project

from ..rehearse.conftest import until


def requests(said):
    """The requests that a dry run has shown."""
    decoder, text, found = json.JSONDecoder(), said.out, []
    while text.strip():
        request, end = decoder.raw_decode(text.lstrip())
        found.append(request)
        text = text.lstrip()[end:]
    return found


def asked(said, operation):
    (found,) = [request["request"] for request in requests(said) if request["operation"] == operation]
    return found


def answer(project, *arguments):
    return json.loads(project.run("invoke", "hello", *arguments).out)


def test_a_training_request_is_what_the_file_says(project):
    project.init("--data", "training=s3://b/training/", "--data", "validation=s3://b/validation/")
    (project.folder / "code").mkdir()
    (project.folder / "code" / "net.py").write_text("")
    said = project.run(
        "train",
        "--dry-run",
        "--instances=2",
        "--spot",
        "-p",
        "model=net:build",
        "-p",
        "hidden=[8, 4]",
        "--set",
        "train.source_dir=code",
        "--set",
        "tags={team: blue}",
        "--set",
        "subnets=[subnet-1]",
        "--set",
        "security_groups=[sg-1]",
    )
    asked_for = asked(said, "CreateTrainingJob")
    name = said.err.splitlines()[-1]
    assert asked_for["TrainingJobName"] == name
    assert name.startswith(f"{project.name}-train-")
    place = asked_for["HyperParameters"].pop("sagemaker_submit_directory")
    assert place.startswith('"s3://sagemaker-us-east-1-123456789012/')
    assert place.endswith('/sourcedir.tar.gz"')
    assert asked_for["HyperParameters"] == {"model": "net:build", "hidden": "[8, 4]"}
    assert [channel["ChannelName"] for channel in asked_for["InputDataConfig"]] == ["training", "validation"]
    assert asked_for["ResourceConfig"]["InstanceCount"] == 2
    assert asked_for["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400, "MaxWaitTimeInSeconds": 172800}
    assert asked_for["CheckpointConfig"]["S3Uri"].endswith(f"/checkpoints/{name}")
    assert asked_for["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    assert asked_for["Tags"] == [
        {"Key": "twofold:project", "Value": project.name},
        {"Key": "team", "Value": "blue"},
    ]
    assert not project.rehearsal.sagemaker.list_training_jobs(NameContains=project.name)["TrainingJobSummaries"]


def test_a_script_gets_its_arguments_as_the_sdk_sends_them(project):
    project.init("--data", "training=s3://b/training/")
    (project.folder / "code").mkdir()
    (project.folder / "code" / "train.py").write_text("")
    values = ["-p", "name=a", "-p", "epochs=3", "--set", "train.source_dir=code", "--set", "train.entry_point=train.py"]
    given = asked(project.run("train", "--dry-run", *values), "CreateTrainingJob")["HyperParameters"]
    assert (given["name"], given["epochs"], given["sagemaker_program"]) == ('"a"', "3", '"train.py"')


def test_a_training_job_that_fails_says_why_with_its_log_and_is_tried_under_the_next_number(project):
    project.init("--data", "training=data")
    (project.folder / "data").mkdir()
    (project.folder / "data" / "a.csv").write_text("0,1\n1,2\n")
    first = project.run("train", "-p", "epochs=0", fails=True)
    assert "is Failed: " in first.err
    assert "Hyperparameter 'epochs' is 0" in first.err
    assert "Traceback" not in first.err
    second = project.run("train", "-p", "epochs=0", fails=True)
    (line,) = [line for line in second.err.splitlines() if line.startswith("twofold: training job ")]
    name = line.split()[3]
    assert name.endswith("-2")
    assert "Hyperparameter 'epochs' is 0" in project.run("logs", name).out
    assert "Hyperparameter 'epochs' is 0" in project.run("logs", "--follow").out


def test_a_tuning_request_has_ranges_and_leaves_them_out_of_what_is_fixed(project):
    project.init("--data", "training=s3://b/training/")
    rate = "{min: 0.001, max: 0.1, scale: Logarithmic}"
    ranges = f"{{learning_rate: {rate}, layers: {{min: 1, max: 4}}, norm: {{values: [a, b]}}}}"
    said = project.run("tune", "--dry-run", "-p", "layers=2", "-p", "epochs=3", "--set", f"tune.ranges={ranges}")
    request = asked(said, "CreateHyperParameterTuningJob")
    found = request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    (rate,) = found["ContinuousParameterRanges"]
    assert (rate["MinValue"], rate["MaxValue"], rate["ScalingType"]) == ("0.001", "0.1", "Logarithmic")
    assert found["IntegerParameterRanges"][0]["MaxValue"] == "4"
    assert found["CategoricalParameterRanges"] == [{"Name": "norm", "Values": ["a", "b"]}]
    assert request["TrainingJobDefinition"]["StaticHyperParameters"] == {"epochs": "3"}
    assert len(request["HyperParameterTuningJobName"]) <= 32


def test_a_notebook_is_asked_for_with_its_script(project):
    project.init()
    (project.folder / "start.sh").write_text("#!/bin/bash\n")
    more = ["--set", "notebook.on_start=start.sh", "--set", "notebook.repository=https://example.com/a.git"]
    said = project.run("notebook", "--dry-run", *more)
    script = asked(said, "CreateNotebookInstanceLifecycleConfig")
    assert base64.b64decode(script["OnStart"][0]["Content"]) == b"#!/bin/bash\n"
    request = asked(said, "CreateNotebookInstance")
    assert request["LifecycleConfigName"] == script["NotebookInstanceLifecycleConfigName"]
    assert request["DefaultCodeRepository"] == "https://example.com/a.git"


def test_a_notebook_opens_opens_again_and_is_taken_down(project):
    project.init()
    (project.folder / "start.sh").write_text("echo begun > begun.txt\n")
    script = ["--set", "notebook.on_start=start.sh"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(2):
        with opener.open(project.run("notebook", *script).last, timeout=30) as answer:
            assert answer.status == 200
    shown = project.run("status").out
    assert "notebook instance" in shown
    assert "InService" in shown
    said = project.run("down")
    assert f"notebook instance {project.name}: deleted" in said.err
    sagemaker = project.rehearsal.sagemaker
    assert not sagemaker.list_notebook_instances(NameContains=project.name)["NotebookInstances"]
    scripts = sagemaker.list_notebook_instance_lifecycle_configs(NameContains=project.name)
    assert not scripts["NotebookInstanceLifecycleConfigs"]


def test_an_endpoint_is_deployed_shifted_promoted_and_rolled_back(project):
    project.init()
    one, two = project.model("one"), project.model("two")
    assert project.run("deploy", "--from", one, "--capture", "50").last == project.name
    assert answer(project)["word"] == "one"
    assert "has this config already" in project.run("deploy", "--from", one, "--capture", "50").err

    project.run("deploy", "--from", two, "--variant", "new", "--weight", "25")
    shown = project.endpoint()["ProductionVariants"]
    assert [(item["VariantName"], item["CurrentWeight"]) for item in shown] == [("main", 75), ("new", 25)]
    assert answer(project, "--variant", "new")["word"] == "two"
    project.run("shift", "0/100")
    assert answer(project)["word"] == "two"
    assert "main 0 on 1, new 100 on 1" in project.run("status").out

    project.run("promote", "new")
    assert [item["VariantName"] for item in project.endpoint()["ProductionVariants"]] == ["new"]
    assert project.endpoint()["DataCaptureConfig"]["EnableCapture"], "what else it has stays"
    project.run("rollback")
    assert [item["VariantName"] for item in project.endpoint()["ProductionVariants"]] == ["main", "new"]


@pytest.mark.slow
def test_an_update_that_does_not_become_healthy_leaves_what_was(project):
    project.init()
    project.run("deploy", "--from", project.model("one"))
    said = project.run("deploy", "--from", project.model("dies"), fails=True)
    assert f"The update of endpoint {project.name} was rolled back: " in said.err
    assert answer(project)["word"] == "one"


@pytest.mark.slow
def test_an_endpoint_that_never_was_healthy_is_made_anew(project):
    project.init()
    said = project.run("deploy", "--from", project.model("dies"), fails=True)
    assert f"endpoint {project.name} is Failed: " in said.err
    assert "twofold logs" in said.err
    said = project.run("deploy", "--from", project.model("one"))
    assert "has failed and is made anew" in said.err
    assert answer(project)["word"] == "one"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shift", "90/10"], "There is no endpoint"),
        (["shift", "a/b"], "'a/b' is no list of shares. Expected e.g. 90/10."),
        (["promote", "new"], "run `twofold deploy`"),
        (["rollback"], "There is no endpoint"),
        (["deploy"], "There is no completed training job of this project"),
        (["deploy", "--from", "nothing"], "There is no model in 'nothing'"),
        (["deploy", "--from", "approved"], "is approved. Expected one: `twofold register`"),
        (["invoke", "a", "--input", "twofold.yaml"], "There are two requests"),
        (["logs", "nothing"], "There is nothing called 'nothing' in us-east-1"),
        (["train", "--set", "train.data={}", "--set", "train.source_dir=nowhere"], "nowhere is no folder"),
        (["init"], "twofold.yaml is there"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(project, arguments, said):
    project.init()
    refused = project.run(*arguments, fails=True)
    assert said in refused.err
    assert refused.err.startswith("twofold: ")
    assert refused.out == ""


def test_shares_are_one_for_each_variant(project):
    project.init()
    project.run("deploy", "--from", project.model("one"))
    assert "Expected a share for each of them" in project.run("shift", "50/50", fails=True).err
    assert "Expected one of main" in project.run("promote", "other", fails=True).err
    assert "no config before its present one" in project.run("rollback", fails=True).err


@pytest.mark.slow
def test_serverless_async_and_batch(project):
    project.init()
    model = project.model("one")
    project.run("deploy", "--from", model, "--mode", "serverless", "--set", "deploy.memory_mb=1024")
    assert answer(project)["word"] == "one"
    assert (
        "has one variant"
        in project.run("deploy", "--from", model, "--mode", "serverless", "--variant", "b", fails=True).err
    )
    other = ["--mode", "async", "--set", f"deploy.name={project.name}-async"]
    project.run("deploy", "--from", model, *other)
    assert answer(project, "--set", f"deploy.name={project.name}-async")["word"] == "one"
    assert "failed" in project.run("invoke", "bad", "--set", f"deploy.name={project.name}-async", fails=True).err
    name = project.run("deploy", "--from", model, "--mode", "batch").last
    assert project.rehearsal.sagemaker.describe_model(ModelName=name)["ModelName"] == name


def test_an_answer_may_come_in_parts(project):
    project.init()
    project.run("deploy", "--from", project.model("one"))
    assert project.run("invoke", "stream", "--stream").out == "one two three"


def test_guardrails_and_scaling_are_asked_for_as_the_file_says(project):
    project.init()
    project.run("deploy", "--from", project.model("one"))
    said = project.run(
        "deploy",
        "--from",
        project.model("two"),
        "--dry-run",
        "--guardrail",
        "canary",
        "--set",
        "deploy.guardrail.alarms=true",
        "--set",
        "deploy.scaling={min: 2, max: 6, invocations: 100}",
    )
    update = asked(said, "UpdateEndpoint")
    policy = update["DeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert policy["CanarySize"] == {"Type": "CAPACITY_PERCENT", "Value": 10}
    names = [alarm["AlarmName"] for alarm in update["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]]
    alarms = [request["request"] for request in requests(said) if request["operation"] == "PutMetricAlarm"]
    assert [alarm["AlarmName"] for alarm in alarms] == names
    assert asked(said, "RegisterScalableTarget")["MaxCapacity"] == 6
    tracking = asked(said, "PutScalingPolicy")["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["TargetValue"] == 100
    assert answer(project)["word"] == "one", "a dry run changes nothing"


def test_an_alarm_that_rings_takes_an_update_back(project):
    project.init()
    project.run("deploy", "--from", project.model("one"))
    cloudwatch = project.rehearsal.client("cloudwatch")
    alarm = f"{project.name}/{project.name}/main-5xx"

    def ring():
        until(lambda: project.endpoint()["EndpointStatus"] == "Updating", "the update has begun")
        cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="test")

    ringer = threading.Thread(target=ring)
    ringer.start()
    guarded = ["--guardrail", "canary", "--set", "deploy.guardrail.alarms=true"]
    said = project.run("deploy", "--from", project.model("two"), *guarded, fails=True)
    ringer.join()
    assert f"was rolled back: Alarm {alarm} rang" in said.err
    assert answer(project)["word"] == "one"


def test_an_endpoint_that_runs_another_image_than_was_pushed_is_rolled_back(project):
    project.init("--image", f"r/twofold@sha256:{'a' * 64}")
    assert f"runs sha256:{'a' * 64}" in project.run("deploy", "--from", project.model("one")).err
    project.run("deploy", "--from", project.model("two"))
    aws = connect(region="", local=True, address=project.rehearsal.address, dry=False, show=print)
    of_code = Project(read_config(project.folder / "twofold.yaml"), aws, project.folder, print)
    with pytest.raises(UserError, match=f"Expected the image with sha256:{'b' * 64}: rolled back to {project.name}-"):
        endpoints.verify(of_code, "main", f"r/twofold@sha256:{'b' * 64}")
    assert answer(project)["word"] == "one"


def test_load_scales_instances_and_nothing_of_it_is_left(project):
    project.init()
    scaling = ["--set", "deploy.scaling={min: 1, max: 3, invocations: 50}"]
    project.run("deploy", "--from", project.model("one"), *scaling)
    scaler = project.rehearsal.client("application-autoscaling")

    def targets():
        place = [f"endpoint/{project.name}/variant/main"]
        found = scaler.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=place)["ScalableTargets"]
        return [(target["MinCapacity"], target["MaxCapacity"]) for target in found]

    assert targets() == [(1, 3)]
    project.run("down")
    assert targets() == []


def test_down_deletes_what_costs_money_and_lists_what_is_left(project):
    project.init()
    project.run("deploy", "--from", project.model("one"))
    shown = project.run("down", "--dry-run")
    assert f'"EndpointName": "{project.name}"' in shown.out
    assert project.endpoint()["EndpointStatus"] == "InService"
    said = project.run("down")
    assert f"endpoint {project.name}: deleted" in said.err
    assert "left: 1 objects of" in said.out
    assert project.run("status").out == f"Nothing of {project.name} is in us-east-1.\n"
    assert "left" not in project.run("down", "--all").out
    sagemaker = project.rehearsal.sagemaker
    assert not sagemaker.list_endpoint_configs(NameContains=project.name)["EndpointConfigs"]
    assert not sagemaker.list_models(NameContains=project.name)["Models"]


def test_what_others_have_is_not_touched(project):
    """A resource whose name begins the same but that has another project's tag, or none."""
    project.init()
    image = {"Image": "x"}
    role = "arn:aws:iam::123456789012:role/x"
    sagemaker = project.rehearsal.sagemaker
    name = f"{project.name}-of-others"
    sagemaker.create_model(ModelName=name, PrimaryContainer=image, ExecutionRoleArn=role)
    project.run("down", "--all")
    sagemaker.delete_model(ModelName=name)


@pytest.mark.parametrize(
    ("environ", "arguments", "said", "code"),
    [
        ({}, [], "No AWS region is set", 2),
        ({"AWS_EC2_METADATA_DISABLED": "true"}, ["--region", "us-east-1"], "no credentials that work", 2),
    ],
)
def test_without_aws_it_says_what_is_missing(project, tmp_path, environ, arguments, said, code):
    project.init()
    alone = {"AWS_CONFIG_FILE": str(tmp_path / "no"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no"), **environ}
    refused = project.run("status", *arguments, "--image", "x", fails=True, local=False, environ=alone)
    assert said in refused.err
    assert refused.code == code


def test_where_nothing_is_rehearsed_it_says_so(project):
    project.init()
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    refused = project.run("status", fails=True, environ=nowhere)
    assert "start `twofold rehearse`" in refused.err
    assert refused.code == 5
