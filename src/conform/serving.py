"""The verb `serve` on a real-time endpoint: contract 2.3, 2.4 and 2.15, asked from the loopback."""

import http.client
import time

from ..contract.endpoint import BATCH_PAYLOAD_MB, DEFAULT_PORT, REALTIME_PAYLOAD_MB
from .check import Check
from .client import PING_LIMIT_S, Answer, Server, exchange
from .subject import Subject
from .verdict import Absent, expect

HEADER = "X-Amzn-SageMaker-"
OTHER_PORT = 9090
WAIT_S = 10.0
"""How long a server without a model is watched."""
IDLE_S = 6.0
"""Longer than the keep-alive of servers that close early: gunicorn's 2 s, 5 s of AWS's old template."""
NO_TYPE = "application/x-conform-unknown"
# The limits of InvokeEndpoint, all at once.
LARGEST = {
    HEADER + "Custom-Attributes": "a" * 1024,
    HEADER + "Target-Variant": "v" * 63,
    HEADER + "Target-Model": "m" * 1024,
    HEADER + "Inference-Id": "i" * 64,
    HEADER + "Inference-Component": "c" * 63,
    HEADER + "Some-Header-To-Come": "x" * 2048,
    "X-Forwarded-For": "10.0.0.1",
}
ROUTES = ("/metrics", "/v1/chat/completions", "/execution-parameters", "/models")


def read_only(subject: Subject) -> str:
    """Nothing but /tmp can be written; the model neither."""
    with subject.serve(read_only=True, tmpfs={"/tmp": "mode=1777"}) as server:  # noqa: S108 - in the container
        answer = server.ask("POST", "/invocations", subject.request.body, subject.request.headers)
    expect(answer.status == 200, f"{answer}: {answer.body[:200]!r}", "Write to /tmp only, if at all.")
    return str(answer)


def ping(subject: Subject) -> str:
    """GET is what the platform asks; one page of its guide says POST."""
    server = subject.server()
    answers = {method: server.ask(method, "/ping", seconds=PING_LIMIT_S) for method in ("GET", "HEAD", "POST")}
    found = ", ".join(f"{method} {answer.status}" for method, answer in answers.items())
    expect(answers["GET"].status == 200, found, "Answer GET /ping with 200.")
    if any(answer.status != 200 for answer in answers.values()):
        raise Absent(found, "Answer HEAD and POST on /ping too.")
    host = server.ask("GET", "/ping", headers={"Host": "169.254.255.131:8080"})
    expect(host.status == 200, f"Host: 169.254.255.131:8080 is answered with {host}", "Do not check Host.")
    return found


def typed(subject: Subject) -> str:
    """A pipeline hands the type of an answer on to the next container."""
    _, media_type = subject.ask()
    expect(media_type, "no Content-Type in the answer", "Send Content-Type with each answer.")
    return media_type


def sizes(subject: Subject) -> str:
    """6 MiB is what botocore lets through, 25 MB what the guide says."""
    found = []
    for megabytes in (5, 6, REALTIME_PAYLOAD_MB):
        answer = subject.server().ask("POST", "/invocations", subject.megabytes(megabytes), subject.request.headers)
        found.append(f"{megabytes} MiB: {answer.status or answer}")
        expect(
            answer.status not in (0, 413) and answer.status < 500,
            ", ".join(found),
            "Raise the largest body of every server in the container (nginx: client_max_body_size).",
        )
    return ", ".join(found)


def too_large(subject: Subject) -> str:
    """A reset connection tells the client nothing."""
    body = subject.megabytes(REALTIME_PAYLOAD_MB + 1)
    answer = subject.server().ask("POST", "/invocations", body, subject.request.headers)
    found = f"{REALTIME_PAYLOAD_MB + 1} MiB: {answer}"
    expect(answer.well or answer.status == 413, found, "Answer 413, or take it.")
    return found


def own_port(subject: Subject) -> str:
    """Containers of a pipeline share their ports."""
    if not subject.claims("accept-bind-to-port"):
        raise Absent("not labelled", "Listen on SAGEMAKER_BIND_TO_PORT only.")
    environ = {"SAGEMAKER_BIND_TO_PORT": str(OTHER_PORT)}
    with subject.serve(port=OTHER_PORT, environ=environ, also=[DEFAULT_PORT]) as server:
        beside = Server(container=server.container, port=server.container.port(DEFAULT_PORT)).ping()
    expect(not beside.status, f"{DEFAULT_PORT} answers beside {OTHER_PORT}", "Open no other port.")
    return f"only {OTHER_PORT} answers"


def headers(subject: Subject) -> str:
    """Headers of the API at their longest, and one that nobody knows."""
    server, request = subject.server(), subject.request
    answer = server.ask("POST", "/invocations", request.body, {**request.headers, **LARGEST})
    expect(
        answer.status == 200,
        f"{answer} for {sum(map(len, LARGEST.values()))} bytes of headers",
        "Allow headers of 8 KB, and ignore those that are not known.",
    )
    echo = answer.headers.get((HEADER + "Custom-Attributes").lower())
    return "taken, custom attributes " + ("echoed" if echo else "not echoed")


def untyped(subject: Subject) -> str:
    """Content-Type is optional in InvokeEndpoint."""
    return clean(subject.server().ask("POST", "/invocations", subject.request.body), "Take it, or answer 4xx.")


def chunked(subject: Subject) -> str:
    """Large and unlimited bodies come without a length."""
    plain, _ = subject.ask()
    sent, _ = subject.ask(chunked=True)
    expect(sent == plain, f"{sent[:60]!r} instead of {plain[:60]!r}", "Read bodies with Transfer-Encoding: chunked.")
    return "the same answer"


def idle(subject: Subject) -> str:
    """The platform's proxy keeps connections; one that is closed under a request costs the client a 5xx."""
    connection = http.client.HTTPConnection("127.0.0.1", subject.server().port, timeout=PING_LIMIT_S)
    try:
        first = exchange(connection, "GET", "/ping")
        kept = connection.sock is not None
        time.sleep(IDLE_S)
        # Without `auto_open` a connection that was closed is not made anew behind our back.
        connection.auto_open = 0
        second = exchange(connection, "GET", "/ping") if kept else first
    finally:
        connection.close()
    found = f"{first.status}, after {IDLE_S:.0f} s idle: {second.status or second.error}"
    if not kept or second.status != 200:
        raise Absent(found, "Keep idle connections for 75 s: a request that meets the end of one is lost.")
    return found


def unknown_type(subject: Subject) -> str:
    """415, as the toolkit and everybody else has it."""
    answer = subject.server().ask("POST", "/invocations", subject.request.body, {"Content-Type": NO_TYPE})
    expect(answer.status == 415, str(answer), "Answer 415 and name the types that are taken.")
    return str(answer)


def unacceptable(subject: Subject) -> str:
    """An answer in another type than was asked for breaks the client, or the next container."""
    asked = {**subject.request.headers, "Accept": NO_TYPE}
    answer = subject.server().ask("POST", "/invocations", subject.request.body, asked)
    expect(
        answer.status == 406,
        f"{answer} of type {answer.headers.get('content-type')}",
        "Answer 406 where Accept names no type that can be written.",
    )
    return str(answer)


def malformed(subject: Subject) -> str:
    """A client's mistake must not look like a fault of the model, which alarms count."""
    server, found = subject.server(), []
    for name, body in (("garbage", b"\xff\xfe{[\x00not,a\nrecord"), ("empty", b"")):
        answer = server.ask("POST", "/invocations", body, subject.request.headers)
        found.append(f"{name}: {clean(answer, 'Answer 4xx, with what is wrong and no traceback.', name)}")
    return ", ".join(found)


def routes(subject: Subject) -> str:
    """The platform asks for some of these on its own."""
    found = []
    for path in ROUTES:
        answer = subject.server().ask("GET", path)
        found.append(f"{path} {answer.status}")
        expect(answer.well or answer.status in (404, 405), ", ".join(found), "Answer 200 or 404.")
    return ", ".join(found)


def batch_parameters(subject: Subject) -> str:
    """Without them a batch transform sends one request at a time."""
    answer = subject.server().ask("GET", "/execution-parameters")
    if answer.status == 404:
        raise Absent("404", "Answer /execution-parameters, or batch transforms send one request at a time.")
    told = answer.document()
    at_once, megabytes = told.get("MaxConcurrentTransforms"), told.get("MaxPayloadInMB")
    fits = isinstance(at_once, int) and isinstance(megabytes, int) and at_once * megabytes <= BATCH_PAYLOAD_MB
    expect(fits, f"{told}", "Answer both numbers; MaxConcurrentTransforms x MaxPayloadInMB is at most 100.")
    expect(told.get("BatchStrategy") in ("MULTI_RECORD", "SINGLE_RECORD"), f"{told}", "MULTI_RECORD or SINGLE_RECORD.")
    return f"{at_once} x {megabytes} MB, {told['BatchStrategy']}"


def no_model(subject: Subject) -> str:
    """A container that ends without a word is started again and again."""
    empty = subject.folder / "no-model"
    empty.mkdir()
    with subject.engine.start("serve", mounts={empty: "/opt/ml/model:ro"}, ports=[DEFAULT_PORT]) as container:
        container.wait_until(lambda: False, WAIT_S)
        state, log = "runs on" if container.running else "ends", container.log().strip()
    last = log.rpartition("\n")[2][:200]
    expect(
        log and "Traceback" not in log, f"{state}: {last}", "Say that there is no model, and where it was looked for."
    )
    return f"{state}: {last}"


def clean(answer: Answer, change: str, name: str = "the request") -> str:
    """Text of an answer that is well or blames the client in few words; Failed for any other."""
    expect(answer.well or answer.status // 100 == 4, f"{name} is answered with {answer}", change)
    expect(b"Traceback" not in answer.body, f"{name} is answered with a traceback", change)
    return str(answer.status)


CHECKS = (
    Check("2.15.1", "serves with a root that is read-only", read_only),
    Check("2.3", "answers /ping", ping),
    Check("2.4", "says of what type an answer is", typed),
    Check("2.4", "keeps idle connections", idle),
    Check("2.4", "refuses an unknown Content-Type with 415", unknown_type),
    Check("2.4", "refuses an Accept that it cannot write with 406", unacceptable),
    Check("2.4", "answers a broken body with 4xx", malformed),
    Check("2.2", "says that it has no model", no_model),
    Check("2.15.3", "takes bodies of 5, 6 and 25 MiB", sizes),
    Check("2.15.3", "answers one that is too large", too_large),
    Check("2.15.5", "listens on SAGEMAKER_BIND_TO_PORT only", own_port),
    Check("2.15.6", "takes the longest headers", headers),
    Check("2.15.6", "answers without a Content-Type", untyped),
    Check("2.15.7", "takes chunked bodies", chunked),
    Check("2.15.8", "answers or knows nothing of the platform's other routes", routes),
    Check("6", "tells how much it takes at once", batch_parameters),
)
