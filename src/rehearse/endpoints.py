"""Operations on models, endpoint configs and endpoints."""

from ..errors import ApiError
from . import listing, model_files
from .aws import arn
from .context import Context
from .endpoint_run import KIND, EndpointRun
from .rollout import find_alarms, read_rollout
from .store import Document

MAX_SERVERLESS_MB = 6144
PAIR = 2
"""A production variant and its shadow."""


def create_model(context: Context, request: Document) -> Document:
    """CreateModel: packages that it names are looked up now, its data when it is deployed."""
    model_files.containers(context, request)
    model = {"EnableNetworkIsolation": False, **request}
    model["ModelArn"] = arn("model", request["ModelName"], context.region)
    context.store.create("Model", model)
    return model


def create_config(context: Context, request: Document) -> Document:
    """CreateEndpointConfig: its models exist, its names differ, serverless stands alone."""
    shadows = request.get("ShadowProductionVariants", [])
    if shadows and len(request["ProductionVariants"]) + len(shadows) != PAIR:
        raise _invalid("A shadow variant stands beside exactly one production variant.")
    variants = [*request["ProductionVariants"], *shadows]
    if len({variant["VariantName"] for variant in variants}) < len(variants):
        raise _invalid("Two variants have the same name.")
    for variant in variants:
        if not variant.get("ModelName"):
            raise _invalid(f"Variant {variant['VariantName']!r} names no model.")
        context.store.get("Model", variant["ModelName"])
        if variant.get("ServerlessConfig"):
            _check_serverless(context, request, variant)
        elif not {"InstanceType", "InitialInstanceCount"} <= variant.keys():
            raise _invalid(f"Variant {variant['VariantName']!r} has no InstanceType with InitialInstanceCount.")
        else:
            variant.setdefault("InitialVariantWeight", 1.0)
    config = {**request, "EndpointConfigArn": arn("endpoint-config", request["EndpointConfigName"], context.region)}
    context.store.create("EndpointConfig", config)
    return config


def create(context: Context, request: Document) -> Document:
    """CreateEndpoint: containers are started, and it is in service when all have answered `/ping`."""
    name = request["EndpointName"]
    config = context.store.get("EndpointConfig", request["EndpointConfigName"])
    endpoint = {
        **request,
        "EndpointArn": arn("endpoint", name, context.region),
        "EndpointStatus": "Creating",
        "ProductionVariants": [],
    }
    context.store.create(KIND, endpoint)
    start(context, name, config)
    return endpoint


def start(context: Context, name: str, config: Document) -> None:
    """Run an endpoint."""
    run = EndpointRun(context, name)
    run.deploy(config)
    context.start(KIND, name, run)


def update(context: Context, request: Document) -> Document:
    """UpdateEndpoint: new fleets beside the old ones, which go when the new are healthy."""
    run = _steady(context, request["EndpointName"])
    config = context.store.get("EndpointConfig", request["EndpointConfigName"])
    deployment = request.get("DeploymentConfig")
    instances = sum(item.get("InitialInstanceCount", 1) for item in config["ProductionVariants"])
    rollout = read_rollout(deployment, instances)
    find_alarms(context.clients.cloudwatch, rollout.alarms)
    document = context.store.update(
        KIND,
        request["EndpointName"],
        EndpointStatus="Updating",
        FailureReason=None,
        LastDeploymentConfig=deployment,
    )
    run.deploy(config, rollout)
    return document


def update_weights(context: Context, request: Document) -> Document:
    """UpdateEndpointWeightsAndCapacities."""
    run = _steady(context, request["EndpointName"])
    document = context.store.get(KIND, request["EndpointName"])
    known = {variant["VariantName"] for variant in document["ProductionVariants"]}
    for change in request["DesiredWeightsAndCapacities"]:
        if change["VariantName"] not in known:
            raise _invalid(f"Variant {change['VariantName']!r} is none of {', '.join(sorted(known))}.")
    document = context.store.update(KIND, request["EndpointName"], EndpointStatus="Updating")
    run.resize(request["DesiredWeightsAndCapacities"])
    return document


def delete(context: Context, request: Document) -> Document:
    """DeleteEndpoint: it is gone from the list when its containers have ended."""
    name = request["EndpointName"]
    context.store.update(KIND, name, EndpointStatus="Deleting")
    run = context.run(KIND, name)
    if run is None:
        context.store.delete(KIND, name)
    else:
        run.tell("stopped")
    return {}


def delete_model(context: Context, request: Document) -> Document:
    """DeleteModel."""
    context.store.delete("Model", request["ModelName"])
    return {}


def delete_config(context: Context, request: Document) -> Document:
    """DeleteEndpointConfig."""
    context.store.delete("EndpointConfig", request["EndpointConfigName"])
    return {}


def describe_model(context: Context, request: Document) -> Document:
    """DescribeModel."""
    return context.store.get("Model", request["ModelName"])


def describe_config(context: Context, request: Document) -> Document:
    """DescribeEndpointConfig."""
    return context.store.get("EndpointConfig", request["EndpointConfigName"])


def describe(context: Context, request: Document) -> Document:
    """DescribeEndpoint."""
    return context.store.get(KIND, request["EndpointName"])


def list_models(context: Context, request: Document) -> Document:
    """ListModels."""
    return listing.page("Model", context.store.all("Model"), request, result="Models")


def list_configs(context: Context, request: Document) -> Document:
    """ListEndpointConfigs."""
    return listing.page("EndpointConfig", context.store.all("EndpointConfig"), request, result="EndpointConfigs")


def list_all(context: Context, request: Document) -> Document:
    """ListEndpoints."""
    return listing.page(KIND, context.store.all(KIND), request, result="Endpoints")


def recover(context: Context) -> None:
    """Bring back the endpoints of the rehearsal before; one whose config is gone has failed."""
    for endpoint in context.store.all(KIND):
        name = endpoint["EndpointName"]
        config = context.store.find("EndpointConfig", endpoint["EndpointConfigName"])
        if config is None or endpoint["EndpointStatus"] in ("Failed", "Deleting"):
            reason = endpoint.get("FailureReason") or "Its endpoint config is gone: it cannot be started again."
            context.store.update(KIND, name, EndpointStatus="Failed", FailureReason=reason)
        else:
            context.store.update(KIND, name, EndpointStatus="SystemUpdating")
            start(context, name, config)


def _steady(context: Context, name: str) -> EndpointRun:
    document, run = context.store.get(KIND, name), context.run(KIND, name)
    if not isinstance(run, EndpointRun) or document["EndpointStatus"] not in ("InService", "Failed"):
        raise _invalid(f"Cannot update endpoint {name!r} in status {document['EndpointStatus']}.")
    return run


def _check_serverless(context: Context, request: Document, variant: Document) -> None:
    alone = ("DataCaptureConfig", "AsyncInferenceConfig", "ShadowProductionVariants")
    wrong = [key for key in alone if request.get(key)]
    found = model_files.containers(context, context.store.get("Model", variant["ModelName"]))
    if len(found) > 1 or model_files.multi_model(found[0]):
        raise _invalid("A serverless variant has a model of one container, which is no multi-model one.")
    if wrong or len(request["ProductionVariants"]) > 1:
        raise _invalid(f"A serverless variant stands alone, without {' and '.join(wrong) or 'other variants'}.")
    memory = variant["ServerlessConfig"]["MemorySizeInMB"]
    if memory % 1024 or memory > MAX_SERVERLESS_MB:
        raise _invalid(f"MemorySizeInMB is {memory}, expected 1024, 2048, ... {MAX_SERVERLESS_MB}.")


def _invalid(text: str) -> ApiError:
    return ApiError(text, code="ValidationException")
