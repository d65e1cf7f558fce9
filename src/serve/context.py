"""What a user's function sees of its request, under the names that the multi-model server has given it.

Source: https://github.com/awslabs/multi-model-server/blob/master/mms/context.py; `sagemaker-inference` hands it on.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from .invocation import Invocation


class RequestProcessor:
    """The headers of a request, and what a function wants of its answer."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)
        self._folded = {name.lower(): value for name, value in headers.items()}
        self.status, self.phrase = 200, ""
        self.response_headers: dict[str, str] = {}

    def get_request_properties(self) -> dict[str, str]:
        """Return all headers of the request."""
        return self._headers

    def get_request_property(self, key: str) -> str | None:
        """Return one header of the request, whatever its case."""
        return self._folded.get(key.lower())

    def report_status(self, code: int, reason_phrase: str | None = None) -> None:
        """Set the status of the answer."""
        self.status, self.phrase = int(code), reason_phrase or ""

    def add_response_property(self, key: str, value: str) -> None:
        """Set a header of the answer."""
        self.response_headers[key] = str(value)


class Context:
    """One per request; while a model is being loaded, one without a request."""

    def __init__(self, model_dir: str, invocation: Invocation | None = None) -> None:
        headers = dict(invocation.headers) if invocation else {}
        self.system_properties: dict[str, Any] = {"model_dir": model_dir, "gpu_id": None, "batch_size": 1}
        self.request_processor = [RequestProcessor(headers)]
        self.session_dir: str | None = str(invocation.session) if invocation and invocation.session else None
        """Folder for what is kept of the client's session; None outside of one."""
        self.chat_request: dict[str, Any] = {}
        """All that the client of `/v1/chat/completions` has sent; empty elsewhere."""
        self._id = self.get_request_header(0, "X-Amzn-SageMaker-Inference-Id") or uuid.uuid4().hex

    def get_request_id(self, idx: int = 0) -> str:  # noqa: ARG002 - the interface has it
        """Return the client's inference id, or one made up."""
        return self._id

    def get_request_header(self, idx: int, key: str) -> str | None:
        """Return one header of the request, whatever its case."""
        return self.request_processor[idx].get_request_property(key)

    def get_all_request_header(self, idx: int) -> dict[str, str]:
        """Return all headers of the request."""
        return self.request_processor[idx].get_request_properties()

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        """Set the status of the answer."""
        self.request_processor[idx].report_status(code, phrase)

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        """Set a header of the answer."""
        self.request_processor[idx].add_response_property(key, value)

    def set_response_content_type(self, idx: int, value: str) -> None:
        """Set the type of the answer; what a function returns beside the answer wins."""
        self.request_processor[idx].add_response_property("content-type", value)
