"""What all verbs of the command share: the file, flags over it, AWS or a rehearsal, errors without a traceback."""

import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import click

from ..errors import TwofoldError
from .aws import connect
from .config import FILE, read_config
from .project import Project

ADDRESS_VARIABLE = "AWS_ENDPOINT_URL"
"""Where a rehearsal answers; boto3 knows it too."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts of an address that is a rehearsal's, --local or not: AWS is elsewhere."""


class Guarded(click.Group):
    """Verbs whose errors are a line on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except TwofoldError as error:
            click.echo(f"twofold: {error}", err=True)
            sys.exit(error.exit_code)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Verbs in the order of a model's life, as they were added."""
        del ctx
        return list(self.commands)


def project_verb(
    flags: Mapping[str, str] = {}, pairs: Mapping[str, str] = {}
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb the flags that all have, and its first parameter, the project.

    Args:
        flags: parameters of the verb that go before the file, with the dotted name of the field that each is.
        pairs: the same for parameters that are several NAME=VALUE of a section.
    """

    def wrap(verb: Callable[..., None]) -> Callable[..., None]:
        @click.option("--file", default=FILE, type=click.Path(path_type=Path), help="The project's file.")
        @click.option("--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Any field of the file.")
        @click.option("--image", help="The image in ECR.")
        @click.option("--role", help="Role that SageMaker works under.")
        @click.option("--region", help="AWS region.")
        @click.option("--local", is_flag=True, help="Ask `twofold rehearse` instead of AWS.")
        @click.option("--dry-run", is_flag=True, help="Print the requests that would change something; send none.")
        @click.pass_obj
        @functools.wraps(verb)
        def run(
            environ: Mapping[str, str],
            /,
            *,
            file: Path,
            overrides: tuple[str, ...],
            local: bool,
            dry_run: bool,
            **given: object,
        ) -> None:
            fields = {"image": "image", "role": "role", "region": "region", **flags}
            values = {field: given.pop(flag) for flag, field in fields.items()}
            texts = [f"{section}.{text}" for flag, section in pairs.items() for text in _texts(given.pop(flag))]
            config = read_config(file, [*texts, *overrides], values)
            address = environ.get(ADDRESS_VARIABLE)
            rehearsed = local or urlsplit(address or "").hostname in LOOPBACK
            aws = connect(region=config.region, local=rehearsed, address=address, dry=dry_run, show=click.echo)
            verb(Project(config, aws, file.parent, functools.partial(click.echo, err=True)), **given)

        return run

    return wrap


def result(project: Project, text: str) -> None:
    """Print what a verb has made, for a script to take; a dry run has requests on stdout and nothing else."""
    click.echo(text, err=project.aws.dry)


def _texts(given: object) -> tuple[str, ...]:
    """Values of an option that may be given several times."""
    return tuple(map(str, given)) if isinstance(given, tuple) else ()
