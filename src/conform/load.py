"""What shows only while the container computes: `/ping` under load, answers beside one another, SIGTERM in between."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from .check import Check
from .client import PING_LIMIT_S, Answer, Server, tally
from .subject import Subject
from .verdict import expect

LOAD_S = 10.0
EVERY_S = 0.25
"""How long the load lasts, and how often `/ping` is asked meanwhile."""
LOAD_MB, FLIGHT_MB = 4.0, 1.0
TOGETHER = 32
IN_FLIGHT = 16
STOP_S = 30
"""Seconds that the platform leaves after SIGTERM."""


def concurrent(subject: Subject) -> str:
    """No request may get another one's answer, or none."""
    plain, _ = subject.ask()
    answers = subject.server().ask_together(TOGETHER, subject.request.body, subject.request.headers)
    expect(all(answer.status == 200 for answer in answers), tally(answers), "Queue what cannot be answered at once.")
    expect(all(answer.body == plain for answer in answers), "answers that differ", "Keep requests apart.")
    return f"{tally(answers)}, all the same"


def ping_beside_load(subject: Subject) -> str:
    """Four times as many large requests as there are cores, without a pause: a queue that workers need a while for."""
    with subject.serve() as server:
        pings, requests = _under_load(subject, server)
    slowest = max(ping.seconds for ping in pings)
    longest = max((answer.seconds for answer in requests), default=0.0)
    found = f"{len(pings)} pings: {tally(pings)}, slowest {slowest:.2f} s, beside requests of up to {longest:.1f} s"
    expect(
        all(ping.status == 200 for ping in pings) and slowest < PING_LIMIT_S,
        found,
        "Answer /ping without a worker that predicts: in a thread of its own, or by another process.",
    )
    return found


def stop_in_flight(subject: Subject) -> str:
    """Scaling in and updating end containers that still compute."""
    body = subject.megabytes(FLIGHT_MB)
    with subject.serve() as server, ThreadPoolExecutor(IN_FLIGHT) as pool:
        asked = [
            pool.submit(server.ask, "POST", "/invocations", body, subject.request.headers) for _ in range(IN_FLIGHT)
        ]
        # Long enough for all to be sent, short enough for some to be unanswered.
        time.sleep(0.5)
        told = time.monotonic()
        code, seconds = server.container.stop(STOP_S)
        answers = [future.result() for future in asked]
    late = sum(answer.ended > told for answer in answers)
    found = f"{late} of {IN_FLIGHT} in flight: {tally(answers)}; exit {code} after {seconds:.1f} s"
    expect(all(answer.well for answer in answers), found, "Answer what was accepted, then end.")
    expect(code == 0 and seconds < STOP_S, found, "End with exit code 0 within 25 s.")
    return found


def _under_load(subject: Subject, server: Server) -> tuple[list[Answer], list[Answer]]:
    """Answers of /ping and of large requests that were asked at the same time."""
    body, ended = subject.megabytes(LOAD_MB), threading.Event()
    requests: list[Answer] = []

    def ask_on() -> None:
        while not ended.is_set():
            requests.append(server.ask("POST", "/invocations", body, subject.request.headers))

    threads = [threading.Thread(target=ask_on) for _ in range(4 * subject.engine.cores)]
    for thread in threads:
        thread.start()
    pings, deadline = [], time.monotonic() + LOAD_S
    while time.monotonic() < deadline:
        time.sleep(EVERY_S)
        pings.append(server.ping())
    ended.set()
    for thread in threads:
        thread.join()
    return pings, requests


CHECKS = (
    Check("2.4", f"answers {TOGETHER} requests at once", concurrent),
    Check("2.15.2", "answers /ping within 2 s under load", ping_beside_load),
    Check("2.15.4", "answers what is in flight at SIGTERM", stop_in_flight),
)
