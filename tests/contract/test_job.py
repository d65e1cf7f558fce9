import pytest
from twofold.contract.hyperparameters import Hyperparameters
from twofold.contract.job import TrainingJob, read_training_job
from twofold.contract.paths import Paths
from twofold.errors import ConfigError


def test_everything_may_be_missing(tmp_path):
    job = read_training_job(Paths(tmp_path / "nowhere"), {})
    assert job == TrainingJob(paths=Paths(tmp_path / "nowhere"))
    assert job.hyperparameters == Hyperparameters()
    assert (job.cluster.size, job.channels, job.name, job.region, job.log_level) == (1, {}, None, None, 20)


def test_files_and_variables_come_together(tree):
    tree.hyperparameters(
        {
            "epochs": "10",
            "sagemaker_program": '"train.py"',
            "sagemaker_submit_directory": '"s3://bucket/sourcedir.tar.gz"',
            "sagemaker_job_name": '"from-the-sdk"',
            "sagemaker_region": '"eu-west-1"',
            "sagemaker_container_log_level": "10",
        }
    )
    tree.channels({"train": {"TrainingInputMode": "File"}})
    tree.cluster({"current_host": "algo-2", "hosts": ["algo-1", "algo-2"], "network_interface_name": "eth0"})
    job = read_training_job(tree.paths, {}, interfaces=["eth0"])
    assert (job.name, job.region, job.log_level) == ("from-the-sdk", "eu-west-1", 10)
    assert (job.program, job.submit_directory) == ("train.py", "s3://bucket/sourcedir.tar.gz")
    assert (job.cluster.rank, job.cluster.interface) == (1, "eth0")
    assert list(job.channels) == ["train"]
    assert job.hyperparameters.user == {"epochs": 10}
    assert job.resource_config["current_host"] == "algo-2"
    assert job.input_data_config == {"train": {"TrainingInputMode": "File"}}


def test_the_platforms_name_and_the_users_program_win(tree):
    tree.hyperparameters({"sagemaker_job_name": "sdk", "sagemaker_program": "sdk.py", "sagemaker_region": "eu-west-1"})
    environ = {"TRAINING_JOB_NAME": "platform", "SAGEMAKER_PROGRAM": "mine.py", "AWS_REGION": "us-east-1"}
    job = read_training_job(tree.paths, environ)
    assert (job.name, job.program, job.region) == ("platform", "mine.py", "eu-west-1")


def test_variables_stand_in_for_hyperparameters(tree):
    environ = {
        "AWS_DEFAULT_REGION": "us-west-2",
        "SAGEMAKER_SUBMIT_DIRECTORY": "s3://b/s.tar.gz",
        "SAGEMAKER_CONTAINER_LOG_LEVEL": "30",
        "SAGEMAKER_TRAINING_MODULE": "framework:main",
    }
    job = read_training_job(tree.paths, environ)
    assert (job.region, job.submit_directory, job.log_level) == ("us-west-2", "s3://b/s.tar.gz", 30)
    assert job.framework_module == "framework:main"


@pytest.mark.parametrize("level", ["debug", "-1", "2.5"])
def test_broken_log_level_names_where_it_stands(tree, level):
    with pytest.raises(ConfigError, match=rf"^SAGEMAKER_CONTAINER_LOG_LEVEL is '{level}'. Expected"):
        read_training_job(tree.paths, {"SAGEMAKER_CONTAINER_LOG_LEVEL": level})
    tree.hyperparameters({"sagemaker_container_log_level": level})
    with pytest.raises(ConfigError, match=rf"^hyperparameter sagemaker_container_log_level is '{level}'"):
        read_training_job(tree.paths, {})
