"""The environment of a script, held against the SageMaker training toolkit itself on the same tree."""

import json
import os
import subprocess
import sys

import pytest
from twofold.contract.environment import VARIABLE_BYTES, script_arguments, script_environment
from twofold.contract.job import TrainingJob, read_training_job
from twofold.contract.machine import gpu_count
from twofold.contract.paths import Paths
from twofold.errors import ConfigError

ASK_THE_TOOLKIT = """
import json, os
from sagemaker_training.environment import Environment
variables = Environment().to_env_vars()
variables |= {name: os.environ[name] for name in ("CURRENT_HOST", "SAGEMAKER_JOB_NAME", "SAGEMAKER_REGION")}
print(json.dumps(variables))
"""

SINGLE = {
    "current_host": "algo-1",
    "current_instance_type": "ml.c5.xlarge",
    "current_group_name": "homogeneousCluster",
    "hosts": ["algo-1"],
    "instance_groups": [
        {"instance_group_name": "homogeneousCluster", "instance_type": "ml.c5.xlarge", "hosts": ["algo-1"]}
    ],
    "network_interface_name": "eth0",
    "topology": None,
}
TWO_LOCAL = {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"], "network_interface_name": "ethwe"}
HETEROGENEOUS = {
    "current_host": "algo-3",
    "current_instance_type": "ml.c5.9xlarge",
    "current_group_name": "data_group",
    "hosts": ["algo-1", "algo-2", "algo-3"],
    "instance_groups": [
        {"instance_group_name": "dnn_group", "instance_type": "ml.p4d.24xlarge", "hosts": ["algo-1", "algo-2"]},
        {"instance_group_name": "data_group", "instance_type": "ml.c5.9xlarge", "hosts": ["algo-3"]},
    ],
}
ULTRA = SINGLE | {"topology": [{"hostName": "algo-1", "capacityUnitId": "é"}]}

PLAIN = {"epochs": "10", "learning_rate": "0.001", "sagemaker_program": '"train.py"'}
ODD = {
    "none": "null",
    "flag": "true",
    "list": "[64, 32]",
    "object": '{"b": 1, "a": null, "c": [true]}',
    "k": "1",
    "with-dash": "é\n",
    "quoted": '"10"',
    "nan": "NaN",
    "inf": "-Infinity",
    "zeros": "010",
    "empty": "",
    "CamelCase": "x y",
    "real_number": 0.5,
    "_tuning_objective_metric": "validation:loss",
    "default_user_module_name": "module",
    "sagemaker_program": '"nested/train.py"',
    "sagemaker_submit_directory": '"s3://bucket/sourcedir.tar.gz"',
    "sagemaker_container_log_level": "30",
    "sagemaker_region": '"eu-west-1"',
    "sagemaker_enable_cloudwatch_metrics": "false",
    "sagemaker_s3_output": '"s3://bucket/out"',
    "sagemaker_instance_type": '"ml.m5.large"',
}
CHANNELS = {
    "train": {"ContentType": "text/csv", "TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"},
    "my-data.v2": {"TrainingInputMode": "Pipe", "RecordWrapperType": "None"},
}
DDP = PLAIN | {"sagemaker_pytorch_ddp_enabled": "true"}
BOTH_GROUPS = DDP | {"sagemaker_distribution_instance_groups": '["dnn_group", "data_group"]'}


def ours(tree, environ):
    job = read_training_job(tree.paths, environ)
    return script_environment(job, cpus=os.cpu_count(), gpus=gpu_count(os.environ))


def toolkits(tree, environ, tmp_path):
    # HOME, so that no settings file of AWS has a say.
    base = {"PATH": os.environ["PATH"], "SAGEMAKER_BASE_DIR": str(tree.paths.base), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", ASK_THE_TOOLKIT], env=base | environ, capture_output=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def differences(mine, theirs):
    """Name what differs: variables, and below SM_TRAINING_ENV its keys."""
    mine, theirs = dict(mine), dict(theirs)
    inner_mine, inner_theirs = mine.pop("SM_TRAINING_ENV"), theirs.pop("SM_TRAINING_ENV")
    found = {name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)}
    if inner_mine != inner_theirs:
        left, right = json.loads(inner_mine), json.loads(inner_theirs)
        found |= {
            f"SM_TRAINING_ENV.{key}"
            for key in left.keys() | right.keys()
            if json.dumps(left.get(key, "missing")) != json.dumps(right.get(key, "missing"))
        }
        found = found or {"SM_TRAINING_ENV"}
    return found


@pytest.mark.parametrize(
    ("cluster", "hyperparameters", "channels"),
    [
        pytest.param(SINGLE, PLAIN, CHANNELS, id="single-host"),
        pytest.param(TWO_LOCAL, PLAIN, {"training": {"TrainingInputMode": "File"}}, id="two-hosts-local-mode"),
        pytest.param(HETEROGENEOUS, PLAIN, CHANNELS, id="instance-groups"),
        pytest.param(HETEROGENEOUS, DDP, CHANNELS, id="instance-groups-own-one-distributed"),
        pytest.param(HETEROGENEOUS, BOTH_GROUPS, CHANNELS, id="instance-groups-all-distributed"),
        pytest.param(SINGLE, ODD, {}, id="odd-hyperparameters"),
        pytest.param(TWO_LOCAL, DDP, {}, id="two-hosts-distributed"),
        pytest.param(ULTRA, PLAIN, CHANNELS, id="topology"),
    ],
)
def test_same_as_the_toolkit(tree, tmp_path, cluster, hyperparameters, channels):
    tree.cluster(cluster)
    tree.hyperparameters(hyperparameters)
    tree.channels(channels)
    mine, theirs = ours(tree, {}), toolkits(tree, {}, tmp_path)
    assert differences(mine, theirs) == set()
    assert mine == theirs


def test_variables_that_the_toolkit_reads_are_read_alike(tree, tmp_path):
    tree.cluster(SINGLE)
    tree.hyperparameters({"sagemaker_program": "from-hyperparameter.py", "sagemaker_job_name": "the-job"})
    tree.channels({})
    environ = {"SAGEMAKER_PROGRAM": "mine.py", "SAGEMAKER_TRAINING_MODULE": "m:main", "TRAINING_JOB_NAME": "the-job"}
    assert ours(tree, environ) == toolkits(tree, environ, tmp_path)


def test_odd_hyperparameters_as_a_script_sees_them(tree):
    tree.hyperparameters(ODD)
    environment = ours(tree, {})
    assert environment["SM_HP_NONE"] == ""
    assert environment["SM_HP_FLAG"] == "true"
    assert environment["SM_HP_OBJECT"] == '{"a":null,"b":1,"c":[true]}'
    assert environment["SM_HP_WITH-DASH"] == "é\n"
    assert environment["SM_HP_QUOTED"] == "10"
    assert "SM_HP__TUNING_OBJECTIVE_METRIC" not in environment
    assert environment["SM_FRAMEWORK_PARAMS"] == '{"sagemaker_instance_type":"ml.m5.large"}'


# What follows differs from the toolkit on purpose; each test names all that differs.


def test_intended_a_string_encoded_twice_is_unwrapped_twice(tree, tmp_path):
    """Reason: contract 1.17 check 2, the same value however it was encoded; the toolkit leaves quotes in the text."""
    tree.cluster(SINGLE)
    tree.channels({})
    tree.hyperparameters({"optimizer": json.dumps(json.dumps("adam"))})
    mine, theirs = ours(tree, {"SAGEMAKER_PROGRAM": "t.py"}), toolkits(tree, {"SAGEMAKER_PROGRAM": "t.py"}, tmp_path)
    assert mine["SM_HP_OPTIMIZER"] == "adam"
    assert differences(mine, theirs) == {
        "SM_HPS",
        "SM_HP_OPTIMIZER",
        "SM_USER_ARGS",
        "SM_TRAINING_ENV.hyperparameters",
    }


def test_intended_no_script_is_no_name(tree, tmp_path):
    """Reason: the toolkit turns a missing name into the word None, which a script could take for a module."""
    tree.cluster(SINGLE)
    tree.channels({})
    tree.hyperparameters({})
    mine, theirs = ours(tree, {}), toolkits(tree, {}, tmp_path)
    assert (mine["SM_MODULE_NAME"], theirs["SM_MODULE_NAME"]) == ("", "None")
    assert differences(mine, theirs) == {"SM_MODULE_NAME", "SM_TRAINING_ENV.module_name"}


def test_intended_variables_stand_in_for_hyperparameters(tree, tmp_path):
    """Reason: the platform tells job and region by variables; the toolkit reads directory and level, but loses them."""
    tree.cluster(SINGLE)
    tree.channels({})
    tree.hyperparameters(PLAIN)
    environ = {
        "TRAINING_JOB_NAME": "the-job",
        "AWS_REGION": "eu-west-1",
        "SAGEMAKER_SUBMIT_DIRECTORY": "s3://bucket/sourcedir.tar.gz",
        "SAGEMAKER_CONTAINER_LOG_LEVEL": "10",
    }
    mine, theirs = ours(tree, environ), toolkits(tree, environ, tmp_path)
    assert (mine["SAGEMAKER_JOB_NAME"], mine["SAGEMAKER_REGION"]) == ("the-job", "eu-west-1")
    assert (mine["SM_MODULE_DIR"], mine["SM_LOG_LEVEL"]) == ("s3://bucket/sourcedir.tar.gz", "10")
    assert differences(mine, theirs) == {
        "SAGEMAKER_JOB_NAME",
        "SAGEMAKER_REGION",
        "SM_LOG_LEVEL",
        "SM_MODULE_DIR",
        "SM_TRAINING_ENV.log_level",
        "SM_TRAINING_ENV.module_dir",
    }


def test_intended_the_job_name_of_the_sdk_counts_when_the_platform_tells_none(tree, tmp_path):
    """Reason: one name for the job everywhere; the toolkit has it in SAGEMAKER_JOB_NAME but not in SM_TRAINING_ENV."""
    tree.cluster(SINGLE)
    tree.channels({})
    tree.hyperparameters(PLAIN | {"sagemaker_job_name": "the-job"})
    assert differences(ours(tree, {}), toolkits(tree, {}, tmp_path)) == {"SM_TRAINING_ENV.job_name"}


def test_intended_hosts_out_of_order_are_sorted(tree, tmp_path):
    """Reason: contract 1.3, groups may be listed out of order and no master may be taken from them unsorted."""
    groups = [{"instance_group_name": "g", "instance_type": "ml.p4d.24xlarge", "hosts": ["algo-2", "algo-1"]}]
    tree.cluster(SINGLE | {"hosts": ["algo-2", "algo-1"], "current_group_name": "g", "instance_groups": groups})
    tree.channels({})
    tree.hyperparameters(DDP)
    mine, theirs = ours(tree, {}), toolkits(tree, {}, tmp_path)
    assert mine["SM_HOSTS"] == '["algo-1","algo-2"]'
    assert mine["SM_CURRENT_INSTANCE_GROUP_HOSTS"] == '["algo-2","algo-1"]'
    assert json.loads(mine["SM_TRAINING_ENV"])["master_hostname"] == "algo-1"
    assert differences(mine, theirs) == {
        "SM_HOSTS",
        "SM_TRAINING_ENV.distribution_hosts",
        "SM_TRAINING_ENV.hosts",
        "SM_TRAINING_ENV.is_master",
        "SM_TRAINING_ENV.master_hostname",
    }


def test_intended_no_files_are_no_error(tree):
    """Reason: contract 1.2, missing optional files are never fatal; the toolkit ends with FileNotFoundError."""
    (tree.paths.data / "train").mkdir(parents=True)
    environment = ours(tree, {})
    assert environment["SM_HOSTS"] == '["localhost"]'
    assert environment["SM_CHANNELS"] == '["train"]'
    assert environment["SM_RESOURCE_CONFIG"] == '{"current_host":"localhost","hosts":["localhost"]}'
    assert environment["SM_INPUT_DATA_CONFIG"] == '{"train":{"TrainingInputMode":"File"}}'
    assert environment["SM_NETWORK_INTERFACE_NAME"] == "eth0"


def test_cores_and_devices_are_what_the_caller_counted():
    environment = script_environment(TrainingJob(paths=Paths()), cpus=3, gpus=2, neurons=1)
    assert [environment[f"SM_NUM_{kind}"] for kind in ("CPUS", "GPUS", "NEURONS")] == ["3", "2", "1"]


def test_arguments():
    values = {"epochs": 10, "b": True, "n": None, "layers": [64, 32], "object": {"y": 2, "x": "a"}, "": "e", "A": 0.001}
    assert script_arguments(values) == [
        *("", "e"),
        *("-A", "0.001"),
        *("-b", "True"),
        *("--epochs", "10"),
        *("--layers", "[64, 32]"),
        *("-n", ""),
        *("--object", "x=a,y=2"),
    ]


@pytest.mark.parametrize(("key", "value"), [("a=b", "1"), ("a", '"\\u0000"'), ("a", '"\\ud800"'), ("a\0", "1")])
def test_what_cannot_be_a_variable_is_named(tree, key, value):
    tree.hyperparameters({key: value})
    with pytest.raises(ConfigError, match=r"cannot be an environment variable.*change that hyperparameter"):
        ours(tree, {})


def test_a_variable_too_long_for_linux_is_named_before_the_kernel_refuses(tree):
    tree.hyperparameters({"note": "x" * VARIABLE_BYTES})
    with pytest.raises(ConfigError, match=r"would take .* Expected at most 131,072"):
        ours(tree, {})
    longest = {"X": "x" * (VARIABLE_BYTES - len("X=\0"))}
    subprocess.run([sys.executable, "-c", ""], env=longest, check=True)
    with pytest.raises(OSError, match="too long"):
        subprocess.run([sys.executable, "-c", ""], env={"X": longest["X"] + "x"}, check=False)
