"""Endpoints: deployed, given a second variant, shifted, promoted, rolled back.

deploy --> main 100 --deploy --variant new --weight 10--> main 90, new 10 --shift 50/50--> ... --promote new--> new 100
   ^                                                                                                               |
   +------------------------------------------------- rollback ----------------------------------------------------+
"""

from collections.abc import Sequence

from ..errors import UserError
from . import guardrails, models
from .aws import Document
from .names import digest
from .progress import demand, wait, wait_gone
from .project import Project
from .resources import CONFIG, ENDPOINT, describe, find, tags

PREVIOUS_TAG = "twofold:previous"
"""Tag of an endpoint: the config that it had before, which `rollback` goes back to."""
SETTINGS = ("AsyncInferenceConfig", "DataCaptureConfig", "KmsKeyId", "VpcConfig", "ExecutionRoleArn")
"""What an endpoint config has beside its variants, and keeps when one is added or promoted."""
WHOLE = 100.0
"""Weight of all variants together."""


def deploy(project: Project, source: str | None, *, variant: str | None, weight: float | None) -> str:
    """Deploy a model; returns the name of the endpoint, or of the model where the mode is batch.

    Args:
        project: the project.
        source: what `models.container` takes.
        variant: variant that is set beside those that there are; None replaces them all.
        weight: its share of the requests in percent.

    Raises:
        UserError: there is no such model, or the endpoint does not become healthy.
    """
    found = models.container(project, source)
    model = models.create(project, found)
    if project.config.deploy.mode == "batch":
        return model
    endpoint = _current(project)
    mine = variant or project.config.deploy.variant
    variants = [_variant(project, mine, model, models.checked_percent(WHOLE if weight is None else weight))]
    settings = _settings(project)
    if variant is not None and endpoint is not None:
        variants = _beside(project, endpoint, variants[0], WHOLE / 10 if weight is None else weight)
        settings = {**_kept(project, endpoint), **settings}
    config = _config(project, variants, settings)
    _bring(project, endpoint, config, [item["VariantName"] for item in variants])
    verify(project, mine, models.image(project, found))
    guardrails.scale(project, mine)
    return project.config.endpoint


def shift(project: Project, weights: Sequence[float]) -> None:
    """Give the variants other shares of the requests, in their order; UserError when they do not fit."""
    variants = _variants(project)
    if len(weights) != len(variants) or sum(weights) <= 0:
        names = "/".join(item["VariantName"] for item in variants)
        raise UserError(
            f"{'/'.join(f'{weight:g}' for weight in weights)} does not fit the variants {names}. Expected a share for "
            f"each of them, e.g. {'/'.join(['90', *['10'] * (len(variants) - 1)])}."
        )
    wanted = [
        {"VariantName": item["VariantName"], "DesiredWeight": weight}
        for item, weight in zip(variants, weights, strict=True)
    ]
    project.aws.do(
        "sagemaker",
        "UpdateEndpointWeightsAndCapacities",
        EndpointName=project.config.endpoint,
        DesiredWeightsAndCapacities=wanted,
    )
    demand(ENDPOINT, wait(project, ENDPOINT, project.config.endpoint), "InService")


def promote(project: Project, variant: str) -> None:
    """Give one variant all requests and take the others away; UserError when there is none of that name."""
    endpoint = existing(project)
    kept = [item for item in _described(project, endpoint) if item["VariantName"] == variant]
    if not kept:
        names = ", ".join(item["VariantName"] for item in endpoint["ProductionVariants"])
        raise UserError(f"Endpoint {project.config.endpoint} has no variant {variant!r}. Expected one of {names}.")
    kept[0]["InitialVariantWeight"] = WHOLE
    _bring(project, endpoint, _config(project, kept, _kept(project, endpoint)), [variant])


def rollback(project: Project) -> str:
    """Go back to the endpoint config before; returns its name. UserError when there is none."""
    endpoint = existing(project)
    previous = tags(project.aws, endpoint["EndpointArn"]).get(PREVIOUS_TAG)
    if previous is None or find(project.aws, CONFIG, previous) is None:
        raise UserError(
            f"Endpoint {project.config.endpoint} has no config before its present one. Expected an update by "
            f"`twofold deploy` or `promote`: deploy what you want by --from."
        )
    variants = describe(project.aws, CONFIG, previous)["ProductionVariants"]
    _bring(project, endpoint, previous, [item["VariantName"] for item in variants])
    return previous


def verify(project: Project, variant: str, image: str) -> None:
    """See that a variant runs the very image that was asked for by digest, and roll back when it does not.

    Raises:
        UserError: it runs another one.
    """
    _, at, wanted = image.partition("@")
    if not at or project.aws.dry:
        return
    endpoint = existing(project)
    (mine,) = [item for item in endpoint["ProductionVariants"] if item["VariantName"] == variant]
    # A rehearsal has no registry that could resolve anything: it says what was specified.
    running = [item.get("ResolvedImage") or item["SpecifiedImage"] for item in mine.get("DeployedImages", [])]
    if all(name.endswith(f"@{wanted}") for name in running):
        project.say(f"endpoint {project.config.endpoint} runs {wanted}")
        return
    back = "it was deployed for the first time, so it stays: `twofold down` deletes it"
    if tags(project.aws, endpoint["EndpointArn"]).get(PREVIOUS_TAG):
        back = f"rolled back to {rollback(project)}"
    raise UserError(f"Variant {variant} runs {', '.join(running)}. Expected the image with {wanted}: {back}.")


def existing(project: Project) -> Document:
    """Describe the endpoint; UserError when there is none."""
    found = find(project.aws, ENDPOINT, project.config.endpoint)
    if found is None:
        raise UserError(f"There is no endpoint {project.config.endpoint}. Expected one: run `twofold deploy`.")
    return found


def _current(project: Project) -> Document | None:
    """Describe the endpoint as it is when it is steady; one that has failed is deleted, since AWS updates none."""
    name = project.config.endpoint
    if find(project.aws, ENDPOINT, name) is None:
        return None
    found = wait(project, ENDPOINT, name) if not project.aws.dry else existing(project)
    if found[ENDPOINT.status] != "Failed":
        return found
    project.say(f"endpoint {name} has failed and is made anew")
    project.aws.do("sagemaker", "DeleteEndpoint", EndpointName=name)
    wait_gone(project, ENDPOINT, name)
    return None


def _bring(project: Project, endpoint: Document | None, config: str, variants: Sequence[str]) -> None:
    """Have the endpoint take a config, and see that it did; UserError when it does not become healthy."""
    name = project.config.endpoint
    request = {"EndpointName": name, "EndpointConfigName": config}
    if endpoint is None:
        project.aws.do("sagemaker", "CreateEndpoint", **request, Tags=project.tags)
    elif endpoint["EndpointConfigName"] == config:
        project.say(f"endpoint {name} has this config already")
        return
    else:
        before = [item["VariantName"] for item in endpoint["ProductionVariants"]]
        guardrails.unscale(project, [item for item in before if item not in variants])
        guarded = guardrails.deployment(project, [item for item in variants if item in before] or variants)
        project.aws.do("sagemaker", "UpdateEndpoint", **request, **guarded)
    found = demand(ENDPOINT, wait(project, ENDPOINT, name), "InService")
    if found.get("EndpointConfigName", config) != config:
        reason = " ".join(str(found.get("FailureReason") or "no reason given").split()).rstrip(".")
        raise UserError(
            f"The update of endpoint {name} was rolled back: {reason}. It serves {found['EndpointConfigName']} as "
            f"before. See `twofold logs {name}`."
        )
    if endpoint is not None:
        previous = [{"Key": PREVIOUS_TAG, "Value": endpoint["EndpointConfigName"]}]
        project.aws.do("sagemaker", "AddTags", ResourceArn=endpoint["EndpointArn"], Tags=previous)


def _variant(project: Project, name: str, model: str, weight: float) -> Document:
    deploy = project.config.deploy
    found: Document = {"VariantName": name, "ModelName": model}
    if deploy.mode == "serverless":
        limits = {"MemorySizeInMB": deploy.memory_mb, "MaxConcurrency": deploy.max_concurrency}
        return {**found, "ServerlessConfig": limits}
    return {
        **found,
        "InstanceType": deploy.instance_type,
        "InitialInstanceCount": deploy.instance_count,
        "InitialVariantWeight": weight,
    }


def _beside(project: Project, endpoint: Document, mine: Document, weight: float) -> list[Document]:
    """A variant beside the others, which share what it leaves."""
    if "ServerlessConfig" in mine:
        raise UserError("A serverless endpoint has one variant. Expected mode realtime or async for --variant.")
    others = [item for item in _described(project, endpoint) if item["VariantName"] != mine["VariantName"]]
    total = sum(item["InitialVariantWeight"] for item in others) or 1.0
    for item in others:
        item["InitialVariantWeight"] *= (WHOLE - weight) / total
    return [*others, {**mine, "InitialVariantWeight": weight if others else WHOLE}]


def _described(project: Project, endpoint: Document) -> list[Document]:
    """The variants of an endpoint as a config has them, with the weights and instances of now."""
    now = {item["VariantName"]: item for item in endpoint["ProductionVariants"]}
    found = describe(project.aws, CONFIG, endpoint["EndpointConfigName"])["ProductionVariants"]
    for item in found:
        if "ServerlessConfig" not in item:
            item["InitialVariantWeight"] = now[item["VariantName"]]["CurrentWeight"]
            item["InitialInstanceCount"] = max(1, now[item["VariantName"]]["CurrentInstanceCount"])
    return list(found)


def _variants(project: Project) -> list[Document]:
    return list(existing(project)["ProductionVariants"])


def _settings(project: Project) -> Document:
    """What an endpoint config has beside its variants, as the file says."""
    deploy, found = project.config.deploy, {}
    if deploy.mode == "async":
        topics = {"SuccessTopic": deploy.success_topic, "ErrorTopic": deploy.error_topic}
        told = {key: value for key, value in topics.items() if value}
        found["AsyncInferenceConfig"] = {
            "ClientConfig": {"MaxConcurrentInvocationsPerInstance": deploy.max_concurrency},
            "OutputConfig": {
                "S3OutputPath": project.storage.uri("async", "answers"),
                "S3FailurePath": project.storage.uri("async", "failures"),
                **({"NotificationConfig": told} if told else {}),
            },
        }
    if deploy.capture_percent and deploy.mode in ("realtime", "async"):
        found["DataCaptureConfig"] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": deploy.capture_percent,
            "DestinationS3Uri": project.storage.uri("captured"),
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {
                "CsvContentTypes": ["text/csv"],
                "JsonContentTypes": ["application/json", "application/jsonlines"],
            },
        }
    if found:
        project.storage.make_bucket()
    return found


def _kept(project: Project, endpoint: Document) -> Document:
    """What the endpoint's present config has beside its variants."""
    found = describe(project.aws, CONFIG, endpoint["EndpointConfigName"])
    return {name: found[name] for name in SETTINGS if found.get(name)}


def _config(project: Project, variants: Sequence[Document], settings: Document) -> str:
    """Create the endpoint config of some variants, unless there is one; returns its name."""
    request: Document = {"ProductionVariants": list(variants), "Tags": project.tags, **settings}
    name = f"{project.name}-{digest(request)}"
    if find(project.aws, CONFIG, name) is None:
        project.aws.do("sagemaker", "CreateEndpointConfig", EndpointConfigName=name, **request)
    return name
