"""`deploy`, `invoke`, `shift`, `promote`, `rollback`: models answer."""

import sys
from pathlib import Path

import click

from ...errors import ConfigError
from .. import endpoints, invocation
from ..command import project_verb, result
from ..project import Project
from ..sections import Deploy

MODES = list(Deploy.__annotations__["mode"].__args__)


@click.command()
@click.option("--from", "source", metavar="SOURCE", help="What to deploy.  [default: the newest training job]")
@click.option("--mode", type=click.Choice(MODES), help="How it answers.")
@click.option("--variant", help="Set it beside the variants that there are, under this name.")
@click.option("--weight", type=float, help="Share of the requests of --variant in percent.  [default: 10]")
@click.option("--instance-type", help="Kind of machine.")
@click.option("--instances", type=int, help="Number of machines.")
@click.option("--capture", type=int, help="Percent of the requests that are kept for `twofold monitor`.")
@click.option("--guardrail", type=click.Choice(["all-at-once", "canary", "linear"]), help="How an update arrives.")
@project_verb(
    {
        "mode": "deploy.mode",
        "instance_type": "deploy.instance_type",
        "instances": "deploy.instance_count",
        "capture": "deploy.capture_percent",
        "guardrail": "deploy.guardrail.kind",
    }
)
def deploy(project: Project, *, source: str | None, variant: str | None, weight: float | None) -> None:
    """Make or update the endpoint and print its name.

    SOURCE is a training job, a local model folder or model.tar.gz, an s3:// URI, the ARN of a model package, or
    `approved`, the newest package that is. With --mode batch only the model is made, for `twofold transform`.
    """
    result(project, endpoints.deploy(project, source, variant=variant, weight=weight))


@click.command()
@click.argument("body", required=False)
@click.option("--input", "path", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="File to send.")
@click.option("--content-type", help="Content type.  [default: by the file's name, else application/json]")
@click.option("--accept", help="Content type of the answer.")
@click.option("--variant", help="The variant that answers.")
@click.option("--stream", is_flag=True, help="Take the answer in parts, as they come.")
@project_verb()
def invoke(
    project: Project,
    *,
    body: str | None,
    path: Path | None,
    content_type: str | None,
    accept: str | None,
    variant: str | None,
    stream: bool,
) -> None:
    """Ask the endpoint: BODY, the file of --input, or what comes on stdin; the answer goes to stdout."""
    if body is not None and path is not None:
        raise ConfigError("There are two requests, BODY and --input. Expected one of them.")
    sent = sys.stdin.buffer.read() if body is None and path is None else (body or "").encode()
    if path is not None:
        sent = path.read_bytes()
    kind = invocation.content_type(path, content_type)
    for part in invocation.invoke(project, sent, kind=kind, accept=accept, variant=variant, stream=stream):
        sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()


@click.command()
@click.argument("weights")
@project_verb()
def shift(project: Project, *, weights: str) -> None:
    """Share requests out anew: WEIGHTS is e.g. 90/10, in the order of the variants."""
    try:
        shares = [float(part) for part in weights.split("/")]
    except ValueError as error:
        raise ConfigError(f"{weights!r} is no list of shares. Expected e.g. 90/10.") from error
    endpoints.shift(project, shares)


@click.command()
@click.argument("variant")
@project_verb()
def promote(project: Project, *, variant: str) -> None:
    """Give VARIANT all requests and take the other variants away."""
    endpoints.promote(project, variant)


@click.command()
@project_verb()
def rollback(project: Project) -> None:
    """Go back to what the endpoint was before its last update."""
    result(project, endpoints.rollback(project))
