"""Multi-model endpoints: contract 3, where a label says that the image holds many models."""

import contextlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .check import Check
from .client import Answer, Server, tally
from .subject import Subject
from .verdict import Absent, Failed, expect

ENVIRON = {"SAGEMAKER_MULTI_MODEL": "true"}
URL = "/opt/ml/models/{}/model"
LISTED = 12
MOST = 64
MEMORY = "768m"
"""Memory of the container that is filled."""


@contextlib.contextmanager
def endpoint(subject: Subject, **settings: Any) -> Iterator[Server]:  # noqa: ANN401 - of docker-py
    """A multi-model container, with the one model under the URL of m0."""
    if not subject.claims("multi-models"):
        raise Absent("not labelled", "Answer /models as the platform's guide says.")
    mounts: dict[Path, str] = {subject.the_model(): URL.format("m0") + ":ro"}
    with subject.serve(mounts=mounts, environ=ENVIRON, **settings) as server:
        yield server


def empty(subject: Subject) -> str:
    """The platform loads models only after /ping."""
    with endpoint(subject) as server:
        listed = server.ask("GET", "/models")
    expect(
        listed.status == 200 and listed.document().get("models") == [],
        f"/models: {listed}",
        'Answer {"models": []}.',
    )
    return "200, no models"


def life(subject: Subject) -> str:
    """Load, load again, get, invoke, unload, and what is not there."""
    with endpoint(subject) as server:
        request, path = subject.request, "/models/m%201"
        steps: tuple[tuple[str, Callable[[], Answer], int], ...] = (
            ("load", lambda: load(server, "m 1"), 200),
            ("load again", lambda: load(server, "m 1"), 409),
            ("get", lambda: server.ask("GET", path), 200),
            ("invoke", lambda: server.ask("POST", f"{path}/invoke", request.body, request.headers), 200),
            ("unload", lambda: server.ask("DELETE", path), 200),
            ("unload again", lambda: server.ask("DELETE", path), 404),
            ("invoke then", lambda: server.ask("POST", f"{path}/invoke", request.body, request.headers), 404),
            ("get then", lambda: server.ask("GET", path), 404),
        )
        found = []
        for name, step, wanted in steps:
            answer = step()
            found.append(f"{name} {answer.status}")
            expect(answer.status == wanted, ", ".join(found), f"Answer {name!r} with {wanted}.")
            expect(server.ping().status == 200, f"/ping is not 200 after {name}", "Keep /ping at 200 throughout.")
    return ", ".join(found)


def listing(subject: Subject) -> str:
    """Pages have no model twice and leave none out."""
    with endpoint(subject) as server:
        wanted = sorted(f"m{number}" for number in range(LISTED))
        with ThreadPoolExecutor(2) as pool:
            loads = list(pool.map(lambda name: load(server, name), wanted))
        expect(all(answer.status == 200 for answer in loads), tally(loads), "Load models beside one another.")
        names: list[str] = []
        pages, token = 0, ""
        while pages == 0 or (token and pages <= LISTED):
            page = server.ask("GET", f"/models?next_page_token={token}" if token else "/models").document()
            names += [str(model.get("modelName")) for model in page.get("models", [])]
            pages, token = pages + 1, page.get("nextPageToken", "")
    found = f"{len(names)} names of {LISTED} models on {pages} page(s)"
    expect(sorted(names) == wanted, found, "List each model once, in an order that stays.")
    return found


def full(subject: Subject) -> str:
    """The platform unloads others when it hears 507; a container that is killed loses all."""
    with endpoint(subject, mem_limit=MEMORY, memswap_limit=MEMORY) as server:
        answers: list[Answer] = []
        while len(answers) < MOST and (not answers or answers[-1].status == 200):
            answers.append(load(server, f"m{len(answers)}"))
        alive = server.ping()
        found = f"{tally(answers)} in {MEMORY}, /ping {alive.status}"
        expect(answers[-1].status in (200, 507), found, "Answer 507 before memory is full.")
        if not server.container.running or alive.status != 200:
            raise Failed(found, "Measure what a model takes, and refuse with 507.")
    return found


def load(server: Server, name: str) -> Answer:
    """Load the model under another name."""
    body = json.dumps({"model_name": name, "url": URL.format("m0")}).encode()
    return server.ask("POST", "/models", body, {"Content-Type": "application/json"})


CHECKS = (
    Check("3", "is well without a model", empty),
    Check("3", "loads, invokes and unloads", life),
    Check("3", "lists each model once", listing),
    Check("3", "answers 507 when memory is full", full),
)
