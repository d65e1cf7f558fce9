"""Entry point of `twofold rehearse`."""

import http.client
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import click

from ..contract import logs
from ..errors import ConfigError, TwofoldError

DEFAULT_PORT = 8055

log = logging.getLogger("twofold.rehearse")


@click.group(name="rehearse", invoke_without_command=True)
@click.option("--port", default=DEFAULT_PORT, show_default=True, help="Port of 127.0.0.1; 0 takes any that is free.")
@click.option(
    "--backend",
    type=click.Choice(["auto", "docker", "process"]),
    default="auto",
    show_default=True,
    help="What runs instances; auto takes Docker where an engine answers.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="Folder that outlives the rehearsal.  [default: ~/.local/state/twofold/rehearse]",
)
@click.option("--region", default="us-east-1", show_default=True, help="AWS region that ARNs name.")
@click.option(
    "--grace",
    type=float,
    help="Seconds from SIGTERM to SIGKILL.  [default: the platform's 120 for training, 30 for serving]",
)
@click.option(
    "--minute", type=float, help="Seconds that auto-scaling takes for a minute, to see it sooner.  [default: 60]"
)
@click.pass_context
def main(
    context: click.Context,
    *,
    port: int,
    backend: str,
    state: Path | None,
    region: str,
    grace: float | None,
    minute: float | None,
) -> None:
    """Run a local SageMaker that runs what is created: point AWS_ENDPOINT_URL at it.

    Answers on 127.0.0.1 only, asks nobody for credentials, and ends everything that it started when it is stopped.
    """
    if context.invoked_subcommand is not None:
        return
    logs.configure(logging.INFO, stream=sys.stderr)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    times = {"training_grace_s": grace, "serving_grace_s": grace, "minute_s": minute}
    given = {name: value for name, value in times.items() if value is not None}
    try:
        rehearse(os.environ, port=port, backend=backend, state=state, region=region, times=given, stop=stop)
    except TwofoldError as error:
        click.echo(f"rehearse: {error}", err=True)
        sys.exit(error.exit_code)


@main.command()
@click.argument("kind", type=click.Choice(["reclaim", "kill", "slow-s3", "s3-errors", "throttle", "small-disk"]))
@click.argument("name")
@click.option("--host", default=1, show_default=True, help="Which host of a training job, counted from 1.")
@click.option("--address", default=f"http://127.0.0.1:{DEFAULT_PORT}", show_default=True, help="Where it rehearses.")
def fault(kind: str, name: str, host: int, address: str) -> None:
    r"""Let something go wrong: with a training job or an endpoint NAME, or with all of them by the value in its place.

    \b
    reclaim JOB       take the spot instances of a training job away
    kill NAME         kill a host of a training job, or a container of an endpoint
    slow-s3 0.5       let each call of S3 wait half a second
    s3-errors 0.1     answer a tenth of the calls of S3 with 503
    throttle 0.1      refuse a tenth of the calls of SageMaker with ThrottlingException
    small-disk 64     give hosts of training jobs that start from now on a disk of 64 MB, data included (needs root)
    Zero ends one of the last four.
    """
    scheme, _, place = address.partition("://")
    if scheme != "http":
        raise click.UsageError(f"--address is {address!r}, expected http://127.0.0.1:PORT.")
    connection = http.client.HTTPConnection(place.rstrip("/"), timeout=30)
    try:
        connection.request("POST", "/_rehearsal/faults", json.dumps({"fault": kind, "name": name, "host": host}))
        answer = connection.getresponse()
        text = answer.read().decode()
    except OSError as error:
        raise click.ClickException(f"No rehearsal answers on {address}: {error}.") from error
    if answer.status != 200:
        raise click.ClickException(text)
    click.echo(text)


@main.command()
def fidelity() -> None:
    """Print the page that says how a rehearsal differs from AWS."""
    from .fidelity import page  # noqa: PLC0415

    click.echo(page(), nl=False)


def rehearse(
    environ: Mapping[str, str],
    *,
    port: int,
    backend: str,
    state: Path | None,
    region: str,
    times: Mapping[str, float],
    stop: threading.Event,
) -> None:
    """Run until told to stop.

    Args:
        environ: variables of this process.
        port: port of the loopback.
        backend: `auto`, `docker` or `process`.
        state: folder that outlives it, or None for the user's own.
        region: region of ARNs.
        times: those of `Settings` that are not the platform's.
        stop: set to end it.

    Raises:
        TwofoldError: it cannot start.
    """
    try:
        # The extra is not in the image, and moto takes a second to import: --help need not wait for it.
        from .choice import choose  # noqa: PLC0415
        from .rehearsal import rehearsal  # noqa: PLC0415
        from .settings import Settings  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(f"{error}. Expected the extra: pip install 'twofold[rehearse]'.") from error
    home = Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    folder = state or home / "twofold" / "rehearse"
    with rehearsal(
        folder, lambda mark: choose(backend, mark, environ), port=port, region=region, settings=Settings(**times)
    ) as context:
        if context.backend.stands_in:
            log.warning("NO CONTAINERS: %s", context.backend.stands_in)
        log.info("rehearsing on %s, which a browser shows too; state in %s", context.address, folder)
        click.echo(
            f"export AWS_ENDPOINT_URL={context.address} AWS_ACCESS_KEY_ID=rehearse AWS_SECRET_ACCESS_KEY=rehearse "
            f"AWS_DEFAULT_REGION={region}"
        )
        stop.wait()
        log.info("stopping")


if __name__ == "__main__":
    main(prog_name="twofold rehearse")
