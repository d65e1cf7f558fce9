"""Auto-scaling: the law of a policy minute by minute, and real processes that follow one whose minutes are short."""

import pytest
from botocore.exceptions import ClientError
from twofold.rehearse.scaling import Tracker

from .conftest import IMAGE, ROLE, archive, ask, until

BOUNDS = {"MinCapacity": 1, "MaxCapacity": 4}
POLICY = {"TargetValue": 10.0, "ScaleInCooldown": 0, "ScaleOutCooldown": 0}
VARIANT = {"ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}


def minutes(asked, policy=POLICY, count=1, first=0):
    """Instances after each minute of so many invocations."""
    tracker, counts = Tracker(), []
    for minute, invocations in enumerate(asked, first):
        count = tracker.decide(invocations, count, BOUNDS, policy, minute)
        counts.append(count)
    return counts


@pytest.mark.parametrize(
    ("asked", "counts"),
    [
        ([25, 25, 25, 25], [1, 1, 3, 3]),
        ([25, 25, 5, 25, 25], [1, 1, 1, 1, 1]),
        ([99, 99, 99], [1, 1, 4]),
        ([10] * 5, [1] * 5),
    ],
    ids=["more after three minutes", "not after two", "not beyond the bound", "not at the target"],
)
def test_it_scales_out_by_the_target(asked, counts):
    assert minutes(asked) == counts


def test_it_scales_in_after_a_quarter_of_an_hour_and_rests_between():
    assert minutes([9] * 15, count=3) == [3] * 14 + [1]
    assert minutes([28] * 30, count=3) == [3] * 30, "within a tenth of the target"
    assert minutes([0] * 20, POLICY | {"DisableScaleIn": True}, count=3) == [3] * 20
    resting = minutes([25] * 3 + [39] * 4, POLICY | {"ScaleOutCooldown": 300})
    assert resting == [1, 1, 3, 3, 3, 3, 3], "five minutes after the change at the soonest"
    assert minutes([0], count=0) == [1], "never fewer than the bound"


@pytest.fixture(scope="module")
def scaled(rehearse, serve_path):
    """A rehearsal whose minutes are a fifth of a second long, with an endpoint `e`."""
    rehearsal = rehearse("--backend", "process", "--grace", 5, "--minute", 0.2)
    sagemaker, bucket = rehearsal.sagemaker, rehearsal.bucket(**{"m.tar.gz": archive(word_txt="one")})
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{bucket}/m.tar.gz", "Environment": {"PATH": serve_path}}
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="e", WaiterConfig={"Delay": 1})
    yield rehearsal
    assert rehearsal.stop() == 0


@pytest.mark.slow
def test_instances_follow_what_is_asked_of_them(scaled):
    scaling, place = scaled.client("application-autoscaling"), {"ResourceId": "endpoint/e/variant/v", **VARIANT}
    scaling.register_scalable_target(**place, MinCapacity=1, MaxCapacity=2)
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    policy = {"TargetValue": 1.0, "PredefinedMetricSpecification": metric, "ScaleInCooldown": 0, "ScaleOutCooldown": 0}
    scaling.put_scaling_policy(
        **place, PolicyName="p", PolicyType="TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=policy
    )

    def count():
        endpoint = scaled.sagemaker.describe_endpoint(EndpointName="e")
        return endpoint["EndpointStatus"] == "InService" and endpoint["ProductionVariants"][0]["CurrentInstanceCount"]

    answered = set()

    def asked_and_grown():
        """Instances take turns."""
        answered.add(ask(scaled, "e")[0]["pid"])
        return count() == 2 and len(answered) == 2

    until(asked_and_grown, "a second instance answers")
    until(lambda: count() == 1, "it goes when nobody asks")
    scaling.delete_scaling_policy(**place, PolicyName="p")
    scaling.deregister_scalable_target(**place)
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []


def test_what_is_not_rehearsed_is_refused(scaled):
    scaling, place = scaled.client("application-autoscaling"), {"ResourceId": "endpoint/e/variant/v", **VARIANT}
    with pytest.raises(ClientError, match="has no variant 'w' with instances"):
        scaling.register_scalable_target(**place | {"ResourceId": "endpoint/e/variant/w"}, MinCapacity=1, MaxCapacity=2)
    with pytest.raises(ClientError, match="scaling to zero is not rehearsed"):
        scaling.register_scalable_target(**place, MinCapacity=0, MaxCapacity=2)
    with pytest.raises(ClientError, match="Rehearsed is the service 'sagemaker'"):
        scaling.describe_scalable_targets(ServiceNamespace="ecs")
    with pytest.raises(ClientError, match="Rehearsed is the policy type TargetTrackingScaling"):
        scaling.put_scaling_policy(**place, PolicyName="p", PolicyType="StepScaling")
    with pytest.raises(ClientError, match="PutScheduledAction of application-autoscaling is not rehearsed"):
        scaling.put_scheduled_action(**place, ScheduledActionName="a", Schedule="rate(1 hour)")
