"""The command `twofold`: what is not a verb of the platform, and `auto`, the image's default command."""

import json
import os
import sys
from collections.abc import Mapping, Sequence

import click

from . import __version__
from .contract import outcome
from .contract.artifact import Task
from .contract.metrics import TASKS, definitions
from .contract.paths import Paths
from .errors import ConfigError

PREPARE_VARIABLE = "PREPARE_FORMAT"
"""Variable of a processing job that asks for `prepare` and says which format it shall write."""
MONITOR_VARIABLE = "dataset_source"
"""Variable by which the platform tells a monitoring job where its data is."""

LIFECYCLE = {
    "init": "Write twofold.yaml, which the verbs from here to `down` read.",
    "notebook": "Open a notebook instance.",
    "train": "Run a training job on SageMaker.",
    "tune": "Look for the best hyperparameters.",
    "deploy": "Make or update an endpoint.",
    "invoke": "Ask the endpoint.",
    "shift": "Share requests out between variants.",
    "promote": "Give one variant all requests.",
    "rollback": "Go back to what the endpoint was before.",
    "transform": "Have a model answer a whole file.",
    "evaluate": "Hold a model against a threshold and the one that serves.",
    "register": "Put a model into the registry.",
    "approve": "Approve a model of the registry.",
    "monitor": "Hold captured requests against the baseline.",
    "status": "Show everything of the project.",
    "logs": "Print the log of a job or an endpoint.",
    "down": "Delete what costs money, list what is left.",
}
"""Verbs of a model's life, in its order; each says more by --help."""
PROGRAMS = {
    "rehearse": ("rehearse", "Run a local SageMaker behind AWS_ENDPOINT_URL (on a laptop; not in the image)."),
    "conform": ("conform", "Try what SageMaker asks of an image, on any image (on a laptop; not in the image)."),
    "doctor": ("doctor", "Say what this machine offers, what the job asks, and whether it can work."),
    "ledger": ("train.ledger_proof", "Prove that a run lost and repeated no sample, or that two runs saw the same."),
}
"""Other commands that are programs of their own, by their modules."""


class InOrder(click.Group):
    """Commands in the order in which they were added, not in that of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        del ctx
        return list(self.commands)


def asked_for(paths: Paths, environ: Mapping[str, str]) -> str | None:
    """Find out from the mounted tree which verb is asked for; None where nothing is mounted.

    SDK v3 starts a training container in local mode without a command, and processing jobs have none by design.

    Raises:
        ConfigError: a processing job that names no command of its own and has no variable for `prepare`.
    """
    if paths.config.is_dir():
        return "train"
    if paths.processing_config.is_dir():
        if environ.get(PREPARE_VARIABLE):
            return "prepare"
        if environ.get(MONITOR_VARIABLE):
            return "monitor"
        raise ConfigError(
            "This is a processing job without a command. Expected ContainerEntrypoint, e.g. ['python3', "
            "'/opt/ml/processing/input/code/script.py'], or PREPARE_FORMAT=recordio in Environment to have the input "
            "prepared: name one in the job."
        )
    if paths.model.is_dir() and any(paths.model.iterdir()):
        return "serve"
    return None


@click.group(cls=InOrder, invoke_without_command=True)
@click.version_option(__version__, prog_name="twofold")
@click.pass_context
def main(context: click.Context) -> None:
    """Train and serve PyTorch models on Amazon SageMaker and on a laptop.

    \b
    The verbs of the platform are commands of their own:
      train    run the training job under /opt/ml
      serve    answer /ping and /invocations for the model under /opt/ml/model
      prepare  turn a table, a folder of images or a dataset into shards for training
      monitor  hold captured traffic against the training data
    """  # noqa: D301 - the escape is click's mark for lines that stay as they are
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@main.command()
@click.option("--task", "tasks", type=click.Choice(list(TASKS)), multiple=True, help="Only the metrics of this task.")
def metrics(tasks: tuple[Task, ...]) -> None:
    """Print what to pass as `metric_definitions`: a JSON list of each metric's name and regular expression."""
    click.echo(json.dumps(definitions(*tasks), indent=2))


@main.command()
@click.pass_context
def auto(context: click.Context) -> None:
    """Do what the tree under /opt/ml asks for: train, serve, prepare, monitor, or say how to ask."""
    paths = Paths.from_environ(os.environ)
    try:
        verb = asked_for(paths, os.environ)
    except ConfigError as error:
        text = outcome.failure_text(error)
        outcome.write_message(paths, text)
        click.echo(text, err=True)
        sys.exit(outcome.exit_code(error))
    if verb is None:
        click.echo(f"Nothing is mounted under {paths.base}, so there is nothing to train or to serve.\n")
        click.echo(context.find_root().get_help())
        return
    become(verb, os.environ)


def _pass_on(name: str, module: str, text: str) -> None:
    """Add a command that is a program of its own, with arguments of its own."""

    @main.command(name, help=text, add_help_option=False, context_settings={"ignore_unknown_options": True})
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def run(arguments: tuple[str, ...]) -> None:
        become(module, os.environ, arguments if module != "lifecycle" else (name, *arguments))


for _name, _text in LIFECYCLE.items():
    _pass_on(_name, "lifecycle", _text)
for _name, (_module, _text) in PROGRAMS.items():
    _pass_on(_name, _module, _text)


def become(verb: str, environ: Mapping[str, str], arguments: Sequence[str] = ()) -> None:
    """Turn this process, which may be PID 1 and must hear SIGTERM, into a verb."""
    sys.stdout.flush()
    argv = [sys.executable, "-P", "-m", f"twofold.{verb}", *arguments]
    os.execve(sys.executable, argv, dict(environ))  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
