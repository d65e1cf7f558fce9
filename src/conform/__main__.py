"""Entry point of `twofold conform`: try an image, print a table or JSON, and end with 0 only if nothing has failed."""

import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import ConfigError, PlatformError, TwofoldError

if TYPE_CHECKING:
    from .verdict import Finding

NOT_CONFORMING = 1
"""Exit code when a check has failed."""
TITLES = ("contract", "the image", "result", "found", "change")


def table(findings: Sequence["Finding"]) -> Table:
    """One line a check, for a terminal; failures in bold."""
    drawn = Table(*TITLES)
    for finding in findings:
        drawn.add_row(*map(Text, texts(finding)), style="bold" if finding.result == "failed" else "")
    return drawn


def markdown(findings: Sequence["Finding"]) -> str:
    """The same in Markdown, for files."""
    rows = [TITLES, ["---"] * len(TITLES), *(texts(finding) for finding in findings)]
    return "\n".join(f"| {' | '.join(text.replace('|', '&#124;') for text in row)} |" for row in rows)


def texts(finding: "Finding") -> list[str]:
    """What the columns say of a finding."""
    return [finding.section, finding.check, finding.result, finding.found, finding.change]


@click.command()
@click.argument("image")
@click.option(
    "--model",
    type=click.Path(exists=True, path_type=Path),
    help="Folder or model.tar.gz to serve.  [default: what `train` leaves]",
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the channel `training`.  [default: 60 rows of CSV, the class first]",
)
@click.option(
    "--body",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with one record to ask about.  [default: a row of CSV with four numbers]",
)
@click.option("--content-type", default="text/csv", show_default=True, help="Type of --body.")
@click.option(
    "--hyperparameter", "hyperparameters", multiple=True, metavar="NAME=VALUE", help="For every job; may be repeated."
)
@click.option(
    "--long",
    default="epochs=1000000",
    show_default=True,
    metavar="NAME=VALUE",
    help="Hyperparameter that makes training take minutes.",
)
@click.option(
    "--env",
    "environ",
    multiple=True,
    metavar="NAME=VALUE",
    help="Variable of every container that serves; may be repeated.",
)
@click.option(
    "--only", multiple=True, metavar="SECTION", help="Checks of this section of the contract; may be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead.")
def main(
    image: str,
    *,
    model: Path | None,
    data: Path | None,
    body: Path | None,
    content_type: str,
    hyperparameters: tuple[str, ...],
    long: str,
    environ: tuple[str, ...],
    only: tuple[str, ...],
    as_json: bool,
) -> None:
    """Try what SageMaker asks of IMAGE, on the Docker engine of this machine; takes minutes.

    Ends with 0 if no check has failed, else with 1. What an image need not have is `absent`, which fails nothing.
    """
    # What was started has to be taken away however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        findings = examine(
            image,
            request=(b"", "") if body is None else (body.read_bytes(), content_type),
            model=model,
            data=data,
            hyperparameters=pairs(hyperparameters),
            long=pairs((long,)),
            environ=pairs(environ),
            only=only,
        )
    except TwofoldError as error:
        click.echo(f"conform: {error}", err=True)
        sys.exit(error.exit_code)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        if sys.stdout.isatty():
            Console().print(table(findings))
        else:
            click.echo(markdown(findings))
        click.echo(f"\n{verdict(findings)}")
    sys.exit(NOT_CONFORMING if any(finding.result == "failed" for finding in findings) else 0)


def examine(
    image: str,
    *,
    request: tuple[bytes, str],
    model: Path | None,
    only: Sequence[str],
    **given: Any,  # noqa: ANN401
) -> list["Finding"]:
    """Try the image, a line a check on stderr; `given` are fields of the Subject.

    Raises:
        TwofoldError: it cannot be tried.
    """
    try:
        # The extra is not in the image.
        from docker.errors import DockerException  # noqa: PLC0415

        from .engine import Engine  # noqa: PLC0415
        from .subject import Request, Subject, unpacked  # noqa: PLC0415
        from .suite import chosen, findings  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(f"{error}. Expected the extra: pip install 'twofold[conform]'.") from error
    checks = chosen(only, has_model=model is not None)
    body, media_type = request
    asked = Request(body=body, media_type=media_type) if body else Request()
    try:
        with tempfile.TemporaryDirectory(prefix="twofold-conform-") as scratch:
            folder = Path(scratch)
            served = None if model is None else unpacked(model, folder)
            with Subject(engine=Engine(image), folder=folder, request=asked, model=served, **given) as subject:
                return list(map(_told, findings(subject, checks)))
    except DockerException as error:
        raise PlatformError(f"The engine has failed: {error}.") from error


def _told(finding: "Finding") -> "Finding":
    click.echo(f"{finding.result:6} {finding.section:6} {finding.check} ({finding.seconds} s)", err=True)
    return finding


def verdict(findings: Sequence["Finding"]) -> str:
    """The last line."""
    counts = {result: sum(finding.result == result for finding in findings) for result in ("ok", "failed", "absent")}
    return f"{len(findings)} checks: {counts['ok']} ok, {counts['failed']} failed, {counts['absent']} absent"


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """Read options of the form NAME=VALUE; ConfigError for any other."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not (name and separator):
            raise ConfigError(f"Found {text!r}, expected NAME=VALUE.")
        pairs[name] = value
    return pairs


if __name__ == "__main__":
    main(prog_name="twofold conform")
