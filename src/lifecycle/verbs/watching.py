"""`monitor`, `status`, `logs`, `down`: whether it is still good, what there is, what it says, and its end."""

import time

import click

from .. import monitoring, overview, removal
from ..command import project_verb, result
from ..loglines import LogReader, find_logged
from ..progress import BUSY
from ..project import Project
from ..resources import ENDPOINT, NOTEBOOK, TRAINING, describe, owned


@click.command()
@click.option("--now", is_flag=True, help="Look at the last hour, once, and wait for what comes of it.")
@click.option("--instance-type", help="Kind of machine.")
@project_verb({"instance_type": "monitor.instance_type"})
def monitor(project: Project, *, now: bool) -> None:
    """Hold the endpoint's captured requests against the baseline, on a schedule; prints its name."""
    name = monitoring.create(project, now=now)
    if now and not project.aws.dry:
        found = monitoring.wait_execution(project, name)
        place = project.storage.uri("monitoring", project.config.endpoint, name)
        project.say(f"{found['MonitoringExecutionStatus']}: {place}/")
    result(project, name)


@click.command()
@project_verb()
def status(project: Project) -> None:
    """Show what there is of this project as a table, the newest 20 of each kind."""
    found = list(overview.rows(project))
    click.echo(overview.table(found) if found else f"Nothing of {project.name} is in {project.aws.region}.")


@click.command()
@click.argument("name", required=False)
@click.option("--follow", is_flag=True, help="Go on until the job ends; of an endpoint, until Ctrl-C.")
@project_verb()
def logs(project: Project, *, name: str | None, follow: bool) -> None:
    """Print the log of a job or an endpoint; unless one is named, of the newest training job."""
    if name is None:
        name = next((str(job[TRAINING.name]) for job in owned(project.aws, TRAINING, project.name)), project.name)
    kind, found = find_logged(project.aws, name)
    reader = LogReader(project.aws, kind, name)
    while True:
        # Looked at before the log is read, which then has all of what has ended.
        going = kind in (ENDPOINT, NOTEBOOK) or found[kind.status] in BUSY
        for line in reader.lines():
            click.echo(line)
        if not (follow and going):
            return
        time.sleep(project.aws.poll_s)
        found = describe(project.aws, kind, name)


@click.command()
@click.option("--all", "everything", is_flag=True, help="Delete training jobs, packages and all objects as well.")
@project_verb()
def down(project: Project, *, everything: bool) -> None:
    """Stop and delete what costs money by the hour, and list what is left."""
    removal.down(project, everything=everything)
    for line in removal.left(project):
        click.echo(f"left: {line}")
