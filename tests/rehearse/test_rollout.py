"""Updates of endpoints in steps: shares, alarms that ring, and the way back."""

import pytest
from botocore.exceptions import ClientError
from twofold.errors import ApiError
from twofold.rehearse.rollout import Rollout, read_rollout

from .conftest import NUMBERS, ask, until


def deployment(kind, wait=0, alarms=(), **size):
    routing = {"Type": kind, "WaitIntervalInSeconds": wait, **size}
    rollback = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]}} if alarms else {}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}, **rollback}


def percent(value, kind="CAPACITY_PERCENT"):
    return {"Type": kind, "Value": value}


def test_steps_are_those_of_the_request():
    assert read_rollout(None, 1) == Rollout((1.0,), 0.0, 0.0, ())
    assert read_rollout(deployment("ALL_AT_ONCE", 9), 1).steps == (1.0,)
    found = read_rollout(deployment("CANARY", 30, ["a"], CanarySize=percent(10)), 1)
    assert (found.steps, found.wait_s, found.alarms) == ((0.1, 1.0), 30.0, ("a",))
    assert read_rollout(deployment("LINEAR", LinearStepSize=percent(40)), 1).steps == (0.4, 0.8, 1.0)
    assert read_rollout(deployment("CANARY", CanarySize=percent(1, "INSTANCE_COUNT")), 4).steps == (0.25, 1.0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (deployment("CANARY", CanarySize=percent(60)), "CanarySize is 60% of all, expected 1 to 50"),
        (deployment("LINEAR", LinearStepSize=percent(5)), "LinearStepSize is 5% of all, expected 10 to 50"),
        (deployment("LINEAR", CanarySize=percent(5)), "LINEAR needs LinearStepSize"),
    ],
)
def test_a_size_that_is_none_is_refused(given, said):
    with pytest.raises(ApiError, match=said):
        read_rollout(given, 1)


@pytest.mark.slow
def test_a_canary_has_its_share_and_then_everything(shared, make):
    name, config = make.endpoint("old"), make.config("new")
    shared.sagemaker.update_endpoint(
        EndpointName=name,
        EndpointConfigName=config,
        DeploymentConfig=deployment("CANARY", 5, CanarySize=percent(50)),
    )
    seen = set()

    def both():
        seen.add(ask(shared, name)[0]["word"])
        return seen == {"old", "new"}

    until(both, "both fleets answer")
    assert shared.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Updating"
    found = make.wait(name)
    assert (found["EndpointConfigName"], ask(shared, name)[0]["word"]) == (config, "new")
    assert found["LastDeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == "CANARY"


def test_an_alarm_takes_the_update_back(shared, make):
    name, config, alarm = make.endpoint("old"), make.config("new"), f"alarm-{next(NUMBERS)}"
    before = shared.sagemaker.describe_endpoint(EndpointName=name)["EndpointConfigName"]
    update = {
        "EndpointName": name,
        "EndpointConfigName": config,
        "DeploymentConfig": deployment("CANARY", 600, [alarm], CanarySize=percent(50)),
    }
    with pytest.raises(ClientError, match="There is no alarm"):
        shared.sagemaker.update_endpoint(**update)
    shared.client("cloudwatch").put_metric_alarm(
        AlarmName=alarm,
        Namespace="AWS/SageMaker",
        MetricName="Invocation4XXErrors",
        Dimensions=[{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": "v0"}],
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=2.0,
        ComparisonOperator="GreaterThanThreshold",
    )
    shared.sagemaker.update_endpoint(**update)

    def steady():
        with pytest.raises(ClientError, match="no such thing"):
            ask(shared, name, b"bad")
        found = shared.sagemaker.describe_endpoint(EndpointName=name)
        return found["EndpointStatus"] != "Updating" and found

    found = until(steady, "the alarm rang")
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", before)
    assert f"Alarm {alarm} rang while the new fleet had 50% of the requests" in found["FailureReason"]
    assert {ask(shared, name)[0]["word"] for _ in range(20)} == {"old"}
