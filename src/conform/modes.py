"""Serverless, asynchronous and batch: contract 4, 5 and 6, and the images of Studio, 9.2."""

import time

from ..contract.endpoint import BATCH_PAYLOAD_MB
from .check import Check
from .client import Server
from .subject import LINES, Subject
from .verdict import Absent, Failed, expect

SERVERLESS_START_S = 30.0
SERVERLESS_PAYLOAD_MB = 4.0
LINES_SENT = 1000
LARGE_MB, LARGE_MEMORY = 64, "2g"
LARGE_S = 240.0
STUDIO_PORT, STUDIO_STATUS = 8888, "/jupyterlab/default/api/status"
STUDIO_START_S = 60.0


def serverless(subject: Subject) -> str:
    """Nobody's user id, one core, 1 GB, hardly any shared memory, no capabilities, nothing to write but /tmp."""
    began = time.monotonic()
    with subject.serve(
        seconds=SERVERLESS_START_S,
        user="65534:65534",
        read_only=True,
        tmpfs={"/tmp": "size=64m,mode=1777"},  # noqa: S108
        shm_size=1,
        mem_limit="1g",
        memswap_limit="1g",
        nano_cpus=10**9,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
    ) as server:
        started = time.monotonic() - began
        body = subject.megabytes(SERVERLESS_PAYLOAD_MB)
        small = server.ask("POST", "/invocations", subject.request.body, subject.request.headers)
        large = server.ask("POST", "/invocations", body, subject.request.headers)
    found = f"/ping 200 after {started:.1f} s, a request {small.status or small}, 4 MB {large.status or large}"
    expect(
        small.status == 200 and large.status not in (0, 413) and large.status < 500,
        found,
        "Need no rights, no home folder and no shared memory.",
    )
    return found


def batch(subject: Subject) -> str:
    """As many lines out as in, whatever ends them."""
    lines = of_lines(subject)
    with subject.serve(environ={"SAGEMAKER_BATCH": "true"}) as server:
        found = []
        for name, body in (
            ("\\n", lines * LINES_SENT),
            ("no end", (lines * LINES_SENT)[:-1]),
            ("\\r\\n", lines.replace(b"\n", b"\r\n") * LINES_SENT),
        ):
            answer = server.ask("POST", "/invocations", body, accepting(subject))
            got = answer.body.count(b"\n") + (not answer.body.endswith(b"\n"))
            found.append(f"{name}: {got if answer.well else answer}")
            expect(
                answer.well and got == LINES_SENT,
                f"of {LINES_SENT} lines {', '.join(found)}",
                "Answer one line for each line, in order.",
            )
    return f"{LINES_SENT} lines: {', '.join(found)}"


def batch_chunked(subject: Subject) -> str:
    """MaxPayloadInMB=0 sends whole objects without a length."""
    with subject.serve(environ={"SAGEMAKER_BATCH": "true", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "0"}) as server:
        return large_body(subject, server, BATCH_PAYLOAD_MB)


def asynchronous(subject: Subject) -> str:
    """Bodies of up to 1 GB and an hour: tried is a part of that, with the limits raised as the toolkit names them."""
    environ = {"SAGEMAKER_MAX_PAYLOAD_IN_MB": str(LARGE_MB + 1), "SAGEMAKER_MODEL_SERVER_TIMEOUT": "3600"}
    with subject.serve(environ=environ, mem_limit=LARGE_MEMORY, memswap_limit=LARGE_MEMORY) as server:
        return large_body(subject, server, LARGE_MB)


def large_body(subject: Subject, server: Server, megabytes: int) -> str:
    """Send a long body in chunks; Failed unless it is taken."""
    answer = server.ask(
        "POST", "/invocations", subject.megabytes(megabytes), accepting(subject), seconds=LARGE_S, chunked=True
    )
    alive = server.ping()
    found = f"{megabytes} MiB in chunks: {answer}, then /ping {alive.status}"
    expect(
        answer.status not in (0, 413) and answer.status < 500 and alive.status == 200,
        found,
        "Take SAGEMAKER_MAX_PAYLOAD_IN_MB as the limit, and put long bodies on the disk.",
    )
    return found


def studio(subject: Subject) -> str:
    """The user, port and base URL of a Studio image."""
    try:
        container = subject.engine.start("jupyterlab", ports=[STUDIO_PORT], user="1000:100")
    except Failed as error:
        raise Absent("no program `jupyterlab`", "Build a Studio image apart from this one.") from error
    with container:
        server = Server(container=container, port=container.port(STUDIO_PORT))
        up = container.wait_until(lambda: server.ask("GET", STUDIO_STATUS, seconds=5).status == 200, STUDIO_START_S)
        expect(
            up,
            f"{STUDIO_STATUS} on {STUDIO_PORT} is not 200: {container.last_words()}",
            "Start JupyterLab with --ServerApp.base_url=/jupyterlab/default and without a token.",
        )
    return "200"


def of_lines(subject: Subject) -> bytes:
    """One record as a line; Absent where the type has no lines."""
    record = subject.request.large(0)
    if subject.request.media_type.partition(";")[0] not in LINES or record.count(b"\n") != 1:
        raise Absent("no record that is a line", "Pass --body with one line of CSV or JSON Lines.")
    return record


def accepting(subject: Subject) -> dict[str, str]:
    """Ask for answers in the type of the request, as a transform job that assembles lines does."""
    return {**subject.request.headers, "Accept": subject.request.media_type}


CHECKS = (
    Check("4", "serves as nobody with 1 core and 1 GB", serverless),
    Check("5", f"takes {LARGE_MB} MiB with 2 GB of memory", asynchronous),
    Check("6", "answers a line for each line", batch),
    Check("6", f"takes {BATCH_PAYLOAD_MB} MiB without a length", batch_chunked),
    Check("9.2", "starts in Studio", studio),
)
