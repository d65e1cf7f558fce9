"""One line of JSON for each request, by the setting TWOFOLD_ACCESS_LOG, as CloudWatch's Logs Insights reads it."""

import time
import uuid
from typing import Any

import orjson

from .gateway.connection import Exchange
from .gateway.head import Head
from .meter import STAGES

_IDS = ("x-amzn-sagemaker-inference-id", "x-amzn-requestid", "x-request-id")


def access_line(exchange: Exchange, seconds: tuple[float, ...]) -> bytes:
    """Write the line of a request that was answered."""
    head = exchange.request.head
    line: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "request_id": request_id(head) or uuid.uuid4().hex,
        "method": head.method if head else None,
        "path": head.path if head else None,
        "status": exchange.status,
        "bytes_in": exchange.request.size,
        "bytes_out": exchange.sent,
        "rows": exchange.rows,
        "milliseconds": {name: round(1000 * value, 3) for name, value in zip(STAGES, seconds, strict=True)},
        "custom_attributes": head.custom_attributes if head else "",
        "client": exchange.connection.address,
    }
    return orjson.dumps(line) + b"\n"


def request_id(head: Head | None) -> str:
    """Name that a request came with; empty without one."""
    return next((value for name in _IDS if head and (value := head.get(name))), "")


def named(head: Head) -> str:
    """Words that find a request again in the log: its name and the client's attributes, where it has them."""
    words = [request_id(head), head.custom_attributes]
    return " ".join(word for word in words if word)
