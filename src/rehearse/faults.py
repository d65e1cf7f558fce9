"""Faults on demand, by a door beside the API: `POST /_rehearsal/faults`."""

import json

from werkzeug.wrappers import Request, Response

from ..errors import ApiError
from . import weather
from .context import Context
from .endpoint_run import EndpointRun
from .training_run import TrainingRun

PATH = "/_rehearsal/faults"
KINDS = ("reclaim", "kill", *weather.KINDS)


def answer(context: Context, request: Request) -> Response:
    """Do what a JSON body asks for: `{"fault": "reclaim", "name": ..., "host": 1}`.

    Of what hits all calls the name is the value: `{"fault": "slow-s3", "name": "0.5"}`.
    """
    if not from_here(request):
        return Response("A page of another origin may not ask for faults.", status=403)
    try:
        body = json.loads(request.get_data())
        done = inject(context, str(body["fault"]), str(body["name"]), int(body.get("host", 1)))
    except (ValueError, KeyError, TypeError) as error:
        return Response(f"The body is broken: {error!r}.", status=400)
    except ApiError as error:
        return Response(str(error), status=error.status)
    return Response(done)


def from_here(request: Request) -> bool:
    """Whether a request was sent by no page of another origin, nor to a name that somebody gave our address."""
    host = request.host.rpartition(":")[0]
    return host in ("127.0.0.1", "localhost") and request.headers.get("Origin", "") in ("", f"http://{request.host}")


def inject(context: Context, fault: str, name: str, host: int) -> str:
    """Let a fault happen; a sentence that says what was done.

    Raises:
        ApiError: nothing of that name runs, or it cannot have that fault.
    """
    if fault in weather.KINDS:
        return context.weather.change(fault, _number(name))
    training, endpoint = context.run("TrainingJob", name), context.run("Endpoint", name)
    if fault == "kill" and isinstance(endpoint, EndpointRun):
        endpoint.kill()
        return f"killed a container of endpoint {name}"
    if not isinstance(training, TrainingRun):
        raise ApiError(f"No training job or endpoint {name!r} runs.", code="ValidationException")
    if fault == "kill":
        training.kill(host)
        return f"killed host {host} of training job {name}"
    if fault != "reclaim":
        raise ApiError(f"The fault {fault!r} is none of {', '.join(KINDS)}.", code="ValidationException")
    if not context.store.get("TrainingJob", name).get("EnableManagedSpotTraining"):
        raise ApiError(
            f"Training job {name!r} has no spot instances: set EnableManagedSpotTraining.", code="ValidationException"
        )
    if not training.tell("reclaimed"):
        raise ApiError(f"Training job {name!r} is ending.", code="ValidationException")
    return f"reclaimed the instances of training job {name}"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ApiError(f"The value is {text!r}, expected a number such as 0.5.", code="ValidationException") from error
