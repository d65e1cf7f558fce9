"""A worker process of `prepare`: takes units from stdin, one a line, and answers on stdout with lines of JSON.

in    {"options", "files", "learned", "scratch"}            once
      {"number", "start", "stop"}                         a unit
out   {"progress": n}   {"done": {...}}   {"error": text, "code": n}
"""

import json
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from ..contract import outcome
from ..formats.sniff import Kind
from ..stream.files import File
from . import convert, text
from .options import Options
from .source import Learned, open_source
from .units import Unit

_TELL_S = 0.25


def main() -> None:
    """Work until stdin ends."""
    # Whoever presses Ctrl-C means the parent, which ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    first = json.loads(sys.stdin.readline())
    units: queue.SimpleQueue[Unit] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(units,), daemon=True).start()
    try:
        _work(first, units)
    except Exception as error:  # noqa: BLE001 - it is the parent who reports, whatever it was
        _say({"error": outcome.failure_text(error), "code": outcome.exit_code(error)})
        sys.exit(outcome.exit_code(error))


def _work(first: dict[str, Any], units: "queue.SimpleQueue[Unit]") -> None:
    options = Options.model_validate(first["options"])
    files = [File(name, Path(path), size) for name, path, size in first["files"]]
    opened = open_source(options, files, Path(first["scratch"]), _learned(first["learned"]))
    while True:
        unit = units.get()
        done = convert.convert(options, unit, opened.source, opened.bad, _Progress())
        _say({"done": done.to_json()})


class _Progress:
    """Tells the parent how far a unit is, now and then."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def __call__(self, place: int) -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_S:
            self._told = now
            _say({"progress": place})


def _listen(units: "queue.SimpleQueue[Unit]") -> None:
    for line in sys.stdin:
        units.put(Unit(**json.loads(line)))
    # The parent has no more use for this process, or is no more: nothing half done may appear after that.
    os._exit(0)


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _learned(content: dict[str, Any]) -> Learned:
    kind = None if content["kind"] is None else Kind(content["kind"])
    if content["facts"] is None:
        return Learned(kind)
    facts = content["facts"]
    names, words = tuple(facts["names"]), tuple(facts["text"])
    return Learned(kind, text.Facts(Kind(facts["kind"]), names, words, facts["width"], facts["label"]))


if __name__ == "__main__":
    main()
