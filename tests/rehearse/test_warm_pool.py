"""Warm pools: statuses by the clock, jobs that match and those that do not."""

import pytest
from botocore.exceptions import ClientError

from .conftest import NUMBERS, ended, job_request, until

QUICK = "print('done')"


def create(rehearsal, keep=None, **fields):
    """A job of its own that keeps its instances, and the name that it has."""
    name = f"warm-{next(NUMBERS)}"
    request = job_request(rehearsal, rehearsal.bucket(), name, QUICK, **fields)
    if keep is not None:
        request["ResourceConfig"]["KeepAlivePeriodInSeconds"] = keep
    rehearsal.sagemaker.create_training_job(**request)
    return name


def pool(rehearsal, name):
    return rehearsal.sagemaker.describe_training_job(TrainingJobName=name).get("WarmPoolStatus")


def run(rehearsal, keep=None, **fields):
    name = create(rehearsal, keep, **fields)
    assert ended(rehearsal, name)["TrainingJobStatus"] == "Completed"
    return name


def vpc(name):
    """Tests share a rehearsal: what each keeps matches no job of another one."""
    return {"Subnets": [f"subnet-{name}"], "SecurityGroupIds": ["sg-1"]}


def test_a_job_that_matches_takes_the_pool_and_others_do_not(shared):
    first = run(shared, 3600, VpcConfig=vpc("match"))
    assert pool(shared, first)["Status"] == "Available"
    other = run(shared, VpcConfig=vpc("other"))
    assert pool(shared, other) is None
    run(shared, 3600, VpcConfig=vpc("match"), EnableNetworkIsolation=True)
    assert pool(shared, first)["Status"] == "Available"
    second = create(shared, 3600, VpcConfig=vpc("match"))
    found = pool(shared, first)
    assert (found["Status"], found["ReusedByJob"]) == ("Reused", second)
    assert found["ResourceRetainedBillableTimeInSeconds"] >= 0
    ended(shared, second)
    assert pool(shared, second)["Status"] == "Available"
    third = create(shared, VpcConfig=vpc("match"))
    assert pool(shared, second)["ReusedByJob"] == third, "the newest one: the first was taken before"
    assert pool(shared, first)["ReusedByJob"] == second
    ended(shared, third)


def test_a_pool_is_in_use_then_available_until_its_time_is_over(shared):
    name = create(shared, 2, VpcConfig=vpc("short"))
    seen = []

    def over():
        status = pool(shared, name)["Status"]
        seen.extend([status] if status not in seen[-1:] else [])
        return status == "Terminated"

    until(over, "the pool is terminated")
    assert seen in (["InUse", "Available", "Terminated"], ["InUse", "Terminated"])
    assert pool(shared, name)["ResourceRetainedBillableTimeInSeconds"] == 2
    found = shared.sagemaker.list_training_jobs(WarmPoolStatusEquals="Terminated", NameContains=name)
    (summary,) = found["TrainingJobSummaries"]
    assert summary["WarmPoolStatus"]["Status"] == "Terminated"
    assert not shared.sagemaker.list_training_jobs(WarmPoolStatusEquals="Reused", NameContains=name)[
        "TrainingJobSummaries"
    ]


def test_its_time_can_be_changed_and_zero_ends_it(shared):
    name, plain = run(shared, 3600, VpcConfig=vpc("update")), run(shared)
    change = shared.sagemaker.update_training_job
    change(TrainingJobName=name, ResourceConfig={"KeepAlivePeriodInSeconds": 1800})
    job = shared.sagemaker.describe_training_job(TrainingJobName=name)
    assert (job["ResourceConfig"]["KeepAlivePeriodInSeconds"], job["WarmPoolStatus"]["Status"]) == (1800, "Available")
    change(TrainingJobName=name, ResourceConfig={"KeepAlivePeriodInSeconds": 0})
    assert pool(shared, name)["Status"] == "Terminated"
    for gone, status in ((name, "Terminated"), (plain, "none")):
        with pytest.raises(ClientError, match=f"is {status}. Expected Available or InUse"):
            change(TrainingJobName=gone, ResourceConfig={"KeepAlivePeriodInSeconds": 60})
    with pytest.raises(ClientError, match="rehearsed without RemoteDebugConfig"):
        change(TrainingJobName=name, RemoteDebugConfig={"EnableRemoteDebug": True})


def test_spot_and_instance_groups_keep_nothing(shared):
    spot = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}
    with pytest.raises(ClientError, match="leave it or EnableManagedSpotTraining out"):
        create(shared, 60, EnableManagedSpotTraining=True, StoppingCondition=spot)
    group = {"InstanceGroupName": "g", "InstanceType": "ml.m5.large", "InstanceCount": 1}
    resources = {"InstanceGroups": [group], "VolumeSizeInGB": 1}
    with pytest.raises(ClientError, match="leave it or InstanceGroups out"):
        create(shared, 60, ResourceConfig=resources)
