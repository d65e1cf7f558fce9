"""Data formats: contract 10, through requests in other types than the one that was given."""

import csv
import json

import numpy as np
from numpy.typing import NDArray

from ..formats import aialgs, npy, recordio, wire
from .check import Check
from .client import Answer
from .serving import clean
from .subject import Subject
from .verdict import Absent, expect

RECORDIO = "application/x-recordio-protobuf"
MAGIC = np.frombuffer(b"\x0a\x23\xd7\xce", dtype="<f4")[0]
"""RecordIO's magic number, as a value of a row."""
FEATURES, UID, FLOAT32 = 1, 3, 2
"""Numbers of protobuf fields: of a Record, and of a Value."""


def row(subject: Subject) -> NDArray[np.float32]:
    """The request's first row as numbers; Absent where it is no CSV of numbers."""
    lines = subject.request.body.decode(errors="replace").splitlines() if is_csv(subject) else []
    try:
        return np.array([float(value) for value in next(csv.reader(lines))], dtype=np.float32)
    except (ValueError, StopIteration) as error:
        raise Absent("the request is no row of numbers", "Pass --body with a row of CSV.") from error


def is_csv(subject: Subject) -> bool:
    """Whether the request is CSV."""
    return subject.request.media_type.partition(";")[0] == "text/csv"


def as_csv(values: NDArray[np.float32]) -> bytes:
    """A row as CSV, every value as it is."""
    return (",".join(repr(float(value)) for value in values) + "\n").encode()


def others(subject: Subject) -> str:
    """Each other type of the same row is answered, or refused with 415."""
    values = row(subject)
    bodies = {
        "application/json": json.dumps({"instances": [values.tolist()]}).encode(),
        "application/jsonlines": json.dumps(values.tolist()).encode() + b"\n",
        "application/x-npy": npy.encode(values[np.newaxis]),
        RECORDIO: aialgs.encode({"values": values}),
        "image/png": b"\x89PNG\r\n\x1a\n",
    }
    found = []
    for media_type, body in bodies.items():
        answer = subject.server().ask("POST", "/invocations", body, {"Content-Type": media_type})
        found.append(f"{media_type} {clean(answer, 'Answer it, or 415.', media_type)}")
    return ", ".join(found)


def magic(subject: Subject) -> str:
    """Values that look like the head of a record, at every distance from a multiple of four."""
    values = np.full_like(row(subject), MAGIC)
    needs_recordio(subject)
    message = recordio.payload(memoryview(aialgs.encode({"values": values})))
    records = b"".join(recordio.frame(wire.field(UID, b"u" * pad) + message) for pad in range(4))
    wanted = post(subject, as_csv(values) * 4, "text/csv")
    got = post(subject, records, RECORDIO)
    expect(
        got.status == wanted.status == 200 and got.body == wanted.body,
        f"{got.status} {got.body[:60]!r}, as CSV {wanted.status} {wanted.body[:60]!r}",
        "Put the parts of a record together, with the magic number in between.",
    )
    return "answered as the same rows in CSV"


def broken(subject: Subject) -> str:
    """Cut short, no frame, and sparse without a shape."""
    needs_recordio(subject)
    record = aialgs.encode({"values": row(subject)})
    sparse = wire.field(1, np.ones(1, "<f4").tobytes()) + wire.field(2, wire.pack((0,)))
    entry = wire.field(1, b"values") + wire.field(2, wire.field(FLOAT32, sparse))
    bodies = {
        "cut short": record[:-4],
        "no frame": record[8:],
        "sparse without a shape": recordio.frame(wire.field(FEATURES, entry)),
    }
    found = []
    for name, body in bodies.items():
        answer = post(subject, body, RECORDIO)
        found.append(f"{name} {answer.status}")
        expect(
            answer.status // 100 == 4, f"{', '.join(found)}: {answer.body[:100]!r}", "Answer 4xx to a broken record."
        )
    return ", ".join(found)


def needs_recordio(subject: Subject) -> None:
    """Absent where the image does not take that type."""
    if post(subject, aialgs.encode({"values": row(subject)}), RECORDIO).status != 200:
        raise Absent(f"{RECORDIO} is not taken", "Take it, if pipelines or built-in algorithms send it.")


def post(subject: Subject, body: bytes, media_type: str) -> Answer:
    """Ask for CSV."""
    return subject.server().ask("POST", "/invocations", body, {"Content-Type": media_type, "Accept": "text/csv"})


CHECKS = (
    Check("10", "answers other types, or 415", others),
    Check("10.1", "reads RecordIO whose data has the magic number", magic),
    Check("10.2", "refuses broken RecordIO-protobuf", broken),
)
