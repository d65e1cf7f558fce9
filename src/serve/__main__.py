"""Entry point of `serve`: settings, model, server. A start that fails says why in one line and in its exit code."""

import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from itertools import pairwise

import click

from ..contract.endpoint import read_endpoint
from ..contract.logs import configure
from ..contract.paths import Paths, scratch
from ..errors import TwofoldError
from .engine import read_engine_settings
from .own_folder import own_folder
from .settings import read_server_settings

log = logging.getLogger("twofold.serve")


@click.command()
def main() -> None:
    """Serve the model in /opt/ml/model on port 8080: GET /ping and POST /invocations.

    Settings are environment variables: SAGEMAKER_BASE_DIR (in place of /opt/ml), SAGEMAKER_BIND_TO_PORT,
    SAGEMAKER_MODEL_SERVER_WORKERS, SAGEMAKER_MODEL_SERVER_TIMEOUT, SAGEMAKER_MAX_PAYLOAD_IN_MB,
    SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT, SAGEMAKER_CONTAINER_LOG_LEVEL, TWOFOLD_ENGINE, TWOFOLD_DEVICE,
    TWOFOLD_PRECISION, TWOFOLD_COMPILE, TWOFOLD_BATCH_ROWS, TWOFOLD_QUEUE_REQUESTS, TWOFOLD_QUEUE_MB,
    TWOFOLD_ACCESS_LOG, TWOFOLD_METRICS_SECONDS, TWOFOLD_PAGE, TWOFOLD_BAD_ROWS; docs/serving.md
    explains them.
    """
    # As PID 1 a process has no default for SIGTERM: without this, a stop while the model loads would wait for SIGKILL.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # ONNX Runtime would tell its makers how it is used, from threads that no fork takes along, and number the machine.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        with own_folder():
            serve(os.environ)
    except TwofoldError as error:
        click.echo(f"serve: {error}", err=True)
        sys.exit(error.exit_code)


def serve(environ: Mapping[str, str]) -> None:
    """Load the model that the environment names and serve it until SIGTERM; leaves by SystemExit.

    Raises:
        TwofoldError: it cannot be served.
    """
    phases = {"begin": time.perf_counter()}
    endpoint = read_endpoint(environ)
    configure(endpoint.log_level)
    engine = read_engine_settings(environ)
    settings = read_server_settings(environ)
    # Engines and Flask take their time to import: --help, a wrong setting and an early SIGTERM need not wait for them.
    from .app import create_app  # noqa: PLC0415
    from .conversation import talk_with  # noqa: PLC0415
    from .porter import Porter  # noqa: PLC0415
    from .queued import queue_rows  # noqa: PLC0415
    from .server import run  # noqa: PLC0415
    from .services import open_service, preparation  # noqa: PLC0415

    if endpoint.multi_model:
        from .models_app import create_models_app  # noqa: PLC0415
        from .registry import Registry  # noqa: PLC0415

        run(create_models_app(Registry(endpoint, engine, scratch() / "models"), endpoint), endpoint, settings)
    porter = Porter(endpoint.port)
    phases["imports"] = time.perf_counter()
    service = open_service(Paths.from_environ(environ).model, endpoint, engine)
    phases["load"] = time.perf_counter()
    prepare = preparation(service)
    porter.state = "warming"
    rows = queue_rows(service, settings.batch_rows)
    app, talk = create_app(service, endpoint), talk_with(service)
    phases["warm-up"] = time.perf_counter()
    times = ", ".join(f"{name} {after - before:.2f} s" for (_, before), (name, after) in pairwise(phases.items()))
    log.info("Start: %s", times)
    run(app, endpoint, settings, rows=rows, talk=talk, prepare=prepare, listener=porter.hand_over())


if __name__ == "__main__":
    main()
