"""`evaluate`, `register`, `approve`: whether a model is good enough, and who has said so."""

import dataclasses
import json

import click

from ...errors import UserError
from .. import evaluation, registering
from ..command import project_verb, result
from ..project import Project


@click.command()
@click.option("--from", "source", metavar="JOB", help="Training job.  [default: the newest]")
@click.option("--metric", help="Metric that decides.")
@click.option("--threshold", type=float, help="Value that must be reached.")
@click.option("--data", help="CSV, the label first, that both models are asked.")
@project_verb({"metric": "gate.metric", "threshold": "gate.threshold", "data": "gate.data"})
def evaluate(project: Project, *, source: str | None) -> None:
    """Hold a model against the threshold and the model that serves; exit code 1 when it is not good enough."""
    verdict = evaluation.evaluate(project, source)
    click.echo(json.dumps(dataclasses.asdict(verdict)))
    if verdict.reasons:
        raise UserError(f"{'; '.join(verdict.reasons)}. Train a better model, or change gate in twofold.yaml.")


@click.command()
@click.option("--from", "source", metavar="JOB", help="Training job.  [default: the newest]")
@click.option("--commit", help="Revision of the code, for the record.")
@project_verb()
def register(project: Project, *, source: str | None, commit: str | None) -> None:
    """Put a training job's model into the registry, with metrics and baseline, and print the package's ARN."""
    result(project, registering.register(project, source, commit=commit))


@click.command()
@click.argument("package", required=False)
@click.option("--reject", "rejected", is_flag=True, help="Reject it instead.")
@click.option("--reason", help="Why, for the record.")
@project_verb()
def approve(project: Project, *, package: str | None, rejected: bool, reason: str | None) -> None:
    """Approve PACKAGE, an ARN, and print it; unless one is named, the newest."""
    result(project, registering.decide(project, package, rejected=rejected, reason=reason))
