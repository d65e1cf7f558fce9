"""Data capture: what an endpoint was asked and what it answered, as JSON Lines by the hour."""

import base64
import json
import secrets
import threading
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from .context import Context
from .objects import locate, write
from .store import Document

MODES = {"Input": ("INPUT",), "Output": ("OUTPUT",), "InputAndOutput": ("INPUT", "OUTPUT")}


class Capture:
    """Collects the calls of one endpoint; `flush` writes them to S3."""

    def __init__(self, context: Context, endpoint: str, config: Document | None) -> None:
        self._context, self._endpoint = context, endpoint
        self._config = config if config and config.get("EnableCapture", True) else None
        self._modes = {
            mode for option in (config or {}).get("CaptureOptions", []) for mode in MODES[option["CaptureMode"]]
        }
        self._lines: dict[tuple[str, str], list[str]] = {}
        self._lock = threading.Lock()

    def add(
        self, variant: str, request: tuple[str, bytes], answer: tuple[str, bytes] | None, headers: Mapping[str, str]
    ) -> None:
        """Take note of a call; content types and bodies of both sides, None for an answer that failed."""
        if self._config is None or secrets.randbelow(100) >= self._config["InitialSamplingPercentage"]:
            return
        data = {}
        if "INPUT" in self._modes:
            data["endpointInput"] = self._side("INPUT", *request)
        if "OUTPUT" in self._modes and answer is not None:
            data["endpointOutput"] = self._side("OUTPUT", *answer)
        now = datetime.now(UTC)
        event: Document = {"eventId": str(uuid.uuid4())}
        named = {name.lower(): value for name, value in headers.items()}
        if inference := named.get("x-amzn-sagemaker-inference-id"):
            event["inferenceId"] = inference
        if attributes := named.get("x-amzn-sagemaker-custom-attributes"):
            event["customAttributes"] = [attributes]
        event["inferenceTime"] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        line = json.dumps({"captureData": data, "eventMetadata": event, "eventVersion": "0"})
        with self._lock:
            self._lines.setdefault((variant, now.strftime("%Y/%m/%d/%H")), []).append(line)

    def flush(self) -> None:
        """Write what has come, one object for each variant and hour."""
        with self._lock:
            lines, self._lines = self._lines, {}
        for (variant, hour), found in lines.items():
            place = locate((self._config or {})["DestinationS3Uri"]) / self._endpoint / variant / hour
            name = f"{time.strftime('%M-%S', time.gmtime())}-{uuid.uuid4()}.jsonl"
            write(self._context.clients.s3, place / name, ("\n".join(found) + "\n").encode())

    def _side(self, mode: str, kind: str, body: bytes) -> Document:
        named = (self._config or {}).get("CaptureContentTypeHeader", {})
        bare = kind.partition(";")[0].strip()
        encoding = "CSV" if bare in named.get("CsvContentTypes", []) else "BASE64"
        encoding = "JSON" if bare in named.get("JsonContentTypes", []) else encoding
        text = base64.b64encode(body).decode() if encoding == "BASE64" else body.decode("utf-8", errors="replace")
        return {"observedContentType": kind, "mode": mode, "data": text, "encoding": encoding}
