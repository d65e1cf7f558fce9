"""What a script's last lines say about its failure: the exception, and the line of the user's own code.

    Traceback (most recent call last):
      File "/opt/ml/code/train.py", line 3, in main    ->  user code: ValueError: boom (at .../train.py:3 in main: ...)
        step()
      File "/opt/venv/.../torch/nn.py", line 9, in step
        raise ValueError("boom")
    ValueError: boom

torch puts `[rank0]: ` before every line of a traceback. The last traceback counts, but for those that Python prints
while it is being taken down.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..contract.causes import PLATFORM, USER_CODE, cause_of_text
from ..contract.outcome import signal_exit

TAIL_LINES = 400
"""Last lines of a script's output that are looked at."""

_RANK = re.compile(r"^\[rank\d+\]:\s?")
_HEADER = re.compile(r"^\s*(Original )?Traceback \(most recent call last\):\s*$")
_FRAME = re.compile(r'^\s+File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<name>.+))?$')
_ASIDE = ("Exception ignored in", "--- Logging error ---")
_WITHOUT_HEADER = re.compile(r"^(SyntaxError|IndentationError|TabError): ")
_PEER = re.compile(r"^\S*(DistNetworkError|DistBackendError|DistStoreError)|gloo/|by peer|ncclRemoteError")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a script ended."""

    text: str
    """As the failure file has it."""
    exit_code: int
    """The script's own; 128 + n where signal n killed it."""
    peer: bool = False
    """Whether it looks like the consequence of another process failing."""
    traceback: str = ""
    """The last traceback, for the full report; empty where there is none."""


def find_fault(lines: Sequence[str], returncode: int, *, name: str, folder: Path, who: str = "") -> Fault:
    """Find the cause of a failure.

    Args:
        lines: last lines of the script's output.
        returncode: its exit code, or minus the signal that killed it.
        name: what to call it, e.g. `train.py`.
        folder: the user's code.
        who: the process, e.g. `rank 1`; empty where there is one only.
    """
    speaker = f"{who}: " if who else ""
    code, sentence = signal_exit(returncode)
    if returncode < 0:
        return Fault(f"{PLATFORM.name}: {speaker}{name} {sentence}", code)
    lines = [_RANK.sub("", line) for line in lines]
    block = _last_traceback(lines)
    exception, rest = _exception(block)
    if not exception:
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return Fault(f"{USER_CODE.name}: {speaker}{name} {sentence}{f': {last}' if last else ''}", code)
    text = " ".join([exception, *rest])
    cause = cause_of_text(text)
    hint = f". {cause.hint}" if cause.hint else ""
    return Fault(
        f"{cause.name}: {speaker}{text}{_place(block, folder)}{hint}",
        code,
        peer=bool(_PEER.search(text)),
        traceback="\n".join(block),
    )


def _last_traceback(lines: list[str]) -> list[str]:
    for start in range(len(lines) - 1, -1, -1):
        if _HEADER.match(lines[start]) and not (start and lines[start - 1].startswith(_ASIDE)):
            return lines[start + 1 :]
        if _WITHOUT_HEADER.match(lines[start]):
            first = max(start - 3, 0)
            return lines[first:] if _FRAME.match(lines[first]) else lines[max(start - 4, 0) :]
    return []


def _exception(block: list[str]) -> tuple[str, list[str]]:
    """First line of the exception after the frames, and those that belong to it by their indent."""
    for index, line in enumerate(block):
        if line and not line[0].isspace():
            rest: list[str] = []
            for more in block[index + 1 :]:
                if not more[:1].isspace() or not more.strip():
                    break
                rest.append(more.strip())
            return line.strip(), rest[:5]
    return "", []


def _place(block: list[str], folder: Path) -> str:
    """The last line of the user's own code that the exception came through, else the last of all."""
    frames: list[tuple[re.Match[str], str]] = []
    for index, line in enumerate(block):
        if line and not line[0].isspace():
            break
        if found := _FRAME.match(line):
            source = block[index + 1].strip() if index + 1 < len(block) else ""
            frames.append((found, source))
    if not frames:
        return ""
    own = [frame for frame in frames if Path(frame[0]["file"]).is_relative_to(folder)]
    found, source = (own or frames)[-1]
    within = f" in {found['name']}" if found["name"] else ""
    return f" (at {found['file']}:{found['line']}{within}{f': {source}' if source else ''})"
