"""Captured traffic: JSON Lines of data capture, many lines at once, gathered into bodies that are alike.

    <folder>/<endpoint>/<variant>/yyyy/mm/dd/hh/<name>.jsonl
    {"captureData": {"endpointInput": {"data": "1,2", "encoding": "CSV", "observedContentType": "text/csv"},
                     "endpointOutput": {...}}, "groundTruthData": {...},
     "eventMetadata": {"eventId": "...", "inferenceTime": "2022-02-14T17:25:49Z"}, "eventVersion": "0"}

A line that is broken is left out and counted. Lines outside the window are left out: a folder may hold more hours.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from ..errors import ConfigError, DataError
from ..stream.files import File, gone, list_files

_BLOCK_BYTES = 4 << 20
_LINES_AT_ONCE = 200
"""Lines that are parsed as one list: more, and their objects no longer stay in the processor's cache."""
_OF_THE_HOUR = re.compile(r"(?:^|/)(\d{4})/(\d\d)/(\d\d)/(\d\d)/[^/]*$")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d) *: *(\d\d)(?: *: *(\d\d)(?:\.\d+)?)? *(?:Z|\+00:?00)?")
UNKNOWN_HOUR = "unknown"
"""Hour of what says no time, neither in its line nor by its folder."""
_TYPES = {"CSV": "text/csv", "JSON": "application/json", "BASE64": ""}


class Kind(NamedTuple):
    """What bodies have in common."""

    content_type: str
    encoding: str
    """CSV or JSON: text as it is; BASE64."""


class Group(NamedTuple):
    """Bodies that are read at once."""

    hour: str
    """E.g. `2022-02-14T17`, UTC."""
    side: str
    """`input` or `output`."""
    kind: Kind


@dataclass(frozen=True, slots=True)
class Labelled:
    """A request with its answer and what was true."""

    hour: str
    output: str
    output_kind: Kind
    truth: str
    truth_kind: Kind


@dataclass(slots=True)
class Captured:
    """What some lines hold."""

    bodies: dict[Group, list[str]] = field(default_factory=dict)
    labelled: list[Labelled] = field(default_factory=list)
    lines: int = 0
    """Lines that are whole and inside the window."""
    malformed: int = 0
    first_malformed: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when, as `2022-02-14T17:00:00`; the end is outside, and an empty text is no bound."""

    start: str = ""
    end: str = ""

    def has(self, time: str) -> bool:
        """Whether a time is inside; one that is not known is."""
        return not time or ((not self.start or time >= self.start) and (not self.end or time < self.end))

    def may_have_hour(self, hour: str) -> bool:
        """Whether lines in the folder of an hour can be inside."""
        return (not self.start or hour >= self.start[:13]) and (not self.end or hour <= self.end[:13])


def read_time(name: str, text: str | None) -> str:
    """Read a bound of the window; stray blanks in it are the platform's.

    Raises:
        ConfigError: it is no time.
    """
    if not text:
        return ""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"{name} is {text!r}. Expected a time in UTC such as 2026-09-01T15:00:00Z: correct it.")
    day, hour, minute, second = found.groups()
    return f"{day}T{hour}:{minute}:{second or '00'}"


def read_captured(folder: Path, window: Window, *, part: int = 0, parts: int = 1) -> Iterator[Captured]:
    """Read all files below a folder, or those that are this host's.

    Args:
        folder: the folder, or one file.
        window: lines outside are left out.
        part: number of this host where several share the files.
        parts: how many do.

    Raises:
        DataError: the folder is not there.
    """
    if not folder.exists():
        raise DataError(f"{folder} does not exist. Expected the folder with captured traffic: correct the path.")
    files = [file for file in list_files(folder) if window.may_have_hour(_hour(file) or window.start[:13])]
    for file in files[part::parts]:
        yield from _read_file(file, window)


def _hour(file: File) -> str:
    """Hour of a file by its folder; empty where that says none."""
    found = _OF_THE_HOUR.search(file.path.as_posix())
    return "{}-{}-{}T{}".format(*found.groups()) if found else ""


def _read_file(file: File, window: Window) -> Iterator[Captured]:
    hour = _hour(file)
    try:
        with file.path.open("rb") as handle:
            while lines := handle.readlines(_BLOCK_BYTES):
                captured = Captured()
                for first in range(0, len(lines), _LINES_AT_ONCE):
                    _gather(captured, lines[first : first + _LINES_AT_ONCE], hour, window, file)
                yield captured
    except OSError as error:
        raise gone(file.name, error) from error


def _gather(captured: Captured, lines: Sequence[bytes], hour: str, window: Window, file: File) -> None:
    events = _parse(captured, lines, file)
    if _gather_alike(captured, events, window):
        return
    for event in events:
        try:
            _gather_event(captured, event, hour, window)
        except (KeyError, TypeError, AttributeError) as error:
            _malformed(captured, file, f"{type(error).__name__} {error}")


def _gather_alike(captured: Captured, events: Sequence[Any], window: Window) -> bool:
    """Gather lines of one hour and one kind, which most are, column by column; False for all others.

    Looking at each line by itself takes twice the time of parsing it.
    """
    try:
        times = [event["eventMetadata"]["inferenceTime"] for event in events]
        data = [event["captureData"] for event in events]
        sent = [one["endpointInput"] for one in data]
        answers = [one["endpointOutput"] for one in data]
        kinds = {(one["observedContentType"], one["encoding"]) for one in sent}
        answer_kinds = {(one["observedContentType"], one["encoding"]) for one in answers}
        first, last = min(times), max(times)
        bodies = [one["data"] for one in sent], [one["data"] for one in answers]
    except (KeyError, TypeError, ValueError):
        return False
    hour = first[:13]
    alike = len(kinds) == len(answer_kinds) == 1 and last[:13] == hour
    labelled = any("groundTruthData" in event for event in events) or any("groundTruthData" in one for one in data)
    if not alike or labelled or not (window.has(first[:19]) and window.has(last[:19])):
        return False
    for side, kind, found in zip(("input", "output"), (kinds, answer_kinds), bodies, strict=True):
        captured.bodies.setdefault(Group(hour, side, Kind(*kind.pop())), []).extend(found)
    captured.lines += len(events)
    return True


def _parse(captured: Captured, lines: Sequence[bytes], file: File) -> list[Any]:
    """Parse lines as one list, or, where one of them is broken, one by one."""
    try:
        events: list[Any] = orjson.loads(b"[" + b",".join(lines) + b"]")
    except orjson.JSONDecodeError:
        events = []
    # Two objects in one line would pass for two lines.
    if len(events) == len(lines):
        return events
    events = []
    for line in lines:
        if line.strip():
            try:
                events.append(orjson.loads(line))
            except orjson.JSONDecodeError as error:
                _malformed(captured, file, f"{error}")
    return events


def _malformed(captured: Captured, file: File, reason: str) -> None:
    captured.malformed += 1
    captured.first_malformed = captured.first_malformed or f"File {file.name}: {reason}"


def _gather_event(captured: Captured, event: Any, folder_hour: str, window: Window) -> None:  # noqa: ANN401 - JSON
    data = event["captureData"]
    time = (event.get("eventMetadata") or {}).get("inferenceTime") or ""
    if time and not window.has(time[:19]):
        return
    hour = time[:13] or folder_hour or UNKNOWN_HOUR
    sent = data.get("endpointInput") or data.get("batchTransformInput")
    answer = data.get("endpointOutput") or data.get("batchTransformOutput")
    truth = event.get("groundTruthData") or data.get("groundTruthData")
    bodies = captured.bodies
    if sent:
        group = Group(hour, "input", Kind(sent.get("observedContentType") or "", sent["encoding"]))
        bodies.setdefault(group, []).append(sent["data"])
    if answer:
        kind = Kind(answer.get("observedContentType") or "", answer["encoding"])
        bodies.setdefault(Group(hour, "output", kind), []).append(answer["data"])
        if truth:
            known = truth.get("observedContentType") or _TYPES.get(truth["encoding"], "")
            truth_kind = Kind(known, truth["encoding"])
            captured.labelled.append(Labelled(hour, answer["data"], kind, truth["data"], truth_kind))
    captured.lines += 1
