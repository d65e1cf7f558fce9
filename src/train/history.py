"""Records of a run in output data, one JSON object a line, which a resumed run goes on with.

metrics.jsonl    one record an epoch: its metrics
steps.jsonl      up to 200 a run: the loss of one batch, speed, share of time waited for data
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HISTORY = "metrics.jsonl"
STEPS = "steps.jsonl"


def start(folder: Path, step: int) -> None:
    """Forget what an earlier run in the same folder recorded after the step that this one goes on from."""
    for name in (HISTORY, STEPS):
        path = folder / name
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            path.write_text("".join(line for line in lines if json.loads(line)["step"] <= step), encoding="utf-8")


def append(folder: Path, name: str, record: Mapping[str, float]) -> None:
    """Add a record to one of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the records of one of the files, oldest first; none where there is no file."""
    path = folder / name
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
