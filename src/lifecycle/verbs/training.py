"""`train`: models are made."""

import click

from .. import training
from ..command import project_verb, result
from ..loglines import LogReader
from ..progress import demand, wait
from ..project import Project
from ..resources import TRAINING, Kind

FAILED_LINES = 20
"""Last lines of the log that are shown of a job that failed."""


@click.command()
@click.option("--instance-type", help="Kind of machine.")
@click.option("--instances", type=int, help="Number of machines.")
@click.option("--spot/--no-spot", default=None, help="Whether to take spot instances.")
@click.option("-p", "--hyperparameter", "given", multiple=True, metavar="NAME=VALUE", help="A hyperparameter.")
@click.option("--again", is_flag=True, help="Run once more what has completed, e.g. on new data in the same place.")
@click.option("--wait/--no-wait", "waits", default=True, help="Wait for the end.")
@click.option("--follow", is_flag=True, help="Show the log as it comes.")
@project_verb(
    {
        "instance_type": "train.instance_type",
        "instances": "train.instance_count",
        "spot": "train.spot",
    },
    pairs={"given": "train.hyperparameters"},
)
def train(project: Project, *, again: bool, waits: bool, follow: bool) -> None:
    """Run a training job and print its name; the same request is one job, however often it is made."""
    name = training.create(project, again=again)
    if waits:
        finish(project, TRAINING, name, follow=follow)
        for metric in training.metrics(project, name):
            project.say(metric)
    result(project, name)


def finish(project: Project, kind: Kind, name: str, *, follow: bool) -> None:
    """Wait for the end of a job, which has to be a good one; the last lines of the log tell of a bad one."""
    reader = LogReader(project.aws, kind, name)
    last: list[str] = []

    def look() -> None:
        for line in reader.lines():
            last.append(line)
            if follow:
                project.say(line)
        del last[:-FAILED_LINES]

    found = wait(project, kind, name, look if follow else None)
    if found[kind.status] == "Failed" and not follow:
        look()
        for line in last:
            project.say(line)
    demand(kind, found, "Completed")
