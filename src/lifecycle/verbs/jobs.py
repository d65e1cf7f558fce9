"""`train`, `tune`, `transform`: jobs, each once for one request, waited for to a good end."""

import click

from .. import training, transforms, tuning
from ..command import project_verb, result
from ..loglines import LogReader
from ..progress import demand, wait
from ..project import Project
from ..resources import TRAINING, TRANSFORM, TUNING, Kind

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


@click.command()
@click.option("--jobs", type=int, help="Training jobs in all.")
@click.option("--parallel", type=int, help="Training jobs at a time.")
@click.option("-p", "--hyperparameter", "given", multiple=True, metavar="NAME=VALUE", help="One that stays as it is.")
@click.option("--again", is_flag=True, help="Run once more what has completed.")
@click.option("--wait/--no-wait", "waits", default=True, help="Wait for the end.")
@project_verb({"jobs": "tune.jobs", "parallel": "tune.parallel"}, pairs={"given": "train.hyperparameters"})
def tune(project: Project, *, again: bool, waits: bool) -> None:
    """Run a tuning job around the section train and print its best training job, which `deploy --from` takes."""
    name = tuning.create(project, again=again)
    if waits:
        demand(TUNING, wait(project, TUNING, name), "Completed")
        best = tuning.best(project, name)
        if best is not None:
            metric = best["FinalHyperParameterTuningJobObjectiveMetric"]
            values = " ".join(f"{key}={value}" for key, value in best["TunedHyperParameters"].items())
            project.say(f"{metric['MetricName']}={metric['Value']:.6g} with {values}")
            name = str(best["TrainingJobName"])
    result(project, name)


@click.command()
@click.argument("place", metavar="INPUT", required=False)
@click.option("--from", "source", metavar="SOURCE", help="As of `deploy`.  [default: the newest training job]")
@click.option("--content-type", help="Content type of the input.")
@click.option("--accept", help="Content type of the answers.")
@click.option("--again", is_flag=True, help="Run once more what has completed.")
@click.option("--wait/--no-wait", "waits", default=True, help="Wait for the end.")
@project_verb({"place": "transform.input", "content_type": "transform.content_type", "accept": "transform.accept"})
def transform(project: Project, *, source: str | None, again: bool, waits: bool) -> None:
    """Have a model answer a whole file or folder, INPUT, and print where in the bucket the answers are."""
    name, answers = transforms.create(project, source, again=again)
    if waits:
        finish(project, TRANSFORM, name, follow=False)
    result(project, answers)


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
