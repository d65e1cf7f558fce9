"""`init` and `notebook`: a project begins."""

import re
from pathlib import Path

import click

from ...errors import UserError
from .. import notebooks
from ..command import project_verb, result
from ..config import FILE
from ..project import Project
from ..sections import MAX_PROJECT
from ..template import write_template


@click.command()
@click.option("--file", default=FILE, show_default=True, type=click.Path(path_type=Path), help="Where to write it.")
@click.option("--project", help="Name of the project.  [default: that of the folder]")
@click.option("--image", default="", help="The image in ECR.")
@click.option("--role", default="", help="Role that SageMaker works under.")
@click.option("--data", multiple=True, metavar="CHANNEL=PLACE", help="A channel: s3://... or a local folder.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def init(*, file: Path, project: str | None, image: str, role: str, data: tuple[str, ...], force: bool) -> None:
    """Write twofold.yaml with every field explained."""
    if file.exists() and not force:
        raise UserError(f"{file} is there. Expected none: change it, or write it anew by --force.")
    values: dict[str, object] = {"image": image, "role": role}
    values["project"] = _project_name(file.absolute().parent.name) if project is None else project
    if data:
        values["train"] = {"data": dict(_channel(text) for text in data)}
    file.write_text(write_template(values), encoding="utf-8")
    click.echo(file)


@click.command()
@project_verb()
def notebook(project: Project) -> None:
    """Make or start the project's notebook instance and print the address that opens it."""
    result(project, notebooks.open_notebook(project))


def _channel(text: str) -> tuple[str, dict[str, str]]:
    name, equals, place = text.partition("=")
    if not (name and equals and place):
        raise UserError(f"--data {text!r} has no form. Expected CHANNEL=PLACE, e.g. training=s3://bucket/training/.")
    return name, {"uri": place}


def _project_name(folder: str) -> str:
    """A name that may be, out of a folder's."""
    words = re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-0123456789")[:MAX_PROJECT].strip("-")
    return words or "project"
