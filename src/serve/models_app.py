"""The web application of a multi-model endpoint: `/models`, and `/ping` with or without any.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html
"""

import base64
from typing import Any

import orjson
from flask import Flask, Response, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..contract.endpoint import Endpoint
from ..errors import InsufficientMemory, ModelError, RequestError
from .app import bare_app, read_invocation
from .body import read_body
from .openapi import PATH as OPENAPI_PATH
from .openapi import describe_models
from .registry import Entry, Registry
from .replies import error_reply

_PAGE = 100
_LARGEST_PAGE = 1000


class _Load(BaseModel):
    """Body of a request to load a model; what else it says is ignored."""

    # The platform's name for it is not pydantic's own.
    model_config = ConfigDict(protected_namespaces=())

    model_name: str = Field(min_length=1)
    url: str = Field(min_length=1)


def create_models_app(registry: Registry, endpoint: Endpoint) -> Flask:
    """Put a registry of models behind HTTP."""
    app = bare_app()

    @app.get(OPENAPI_PATH)
    def openapi() -> dict[str, Any]:
        return describe_models()

    @app.post("/models")
    def load() -> Response:
        wish = _read_load(read_body(request, endpoint.max_payload_bytes))
        try:
            registry.load(wish.model_name, wish.url)
        except (InsufficientMemory, ModelError) as error:
            # Only the platform asks for this, and it has to learn why.
            return error_reply(error.status, str(error))
        return _json({"modelName": wish.model_name, "modelUrl": wish.url})

    @app.get("/models")
    def listing() -> Response:
        limit = _read_limit(request.args.get("limit", str(_PAGE)))
        found = registry.names_after(_from_token(request.args.get("next_page_token", "")), limit + 1)
        answer: dict[str, Any] = {"models": [_describe(entry) for entry in found[:limit]]}
        if len(found) > limit:
            answer["nextPageToken"] = _to_token(found[limit - 1].name)
        return _json(answer)

    @app.get("/models/<path:name>")
    def get(name: str) -> Response:
        return _json(_describe(registry.get(name)))

    @app.delete("/models/<path:name>")
    def unload(name: str) -> Response:
        registry.unload(name)
        return _json({"status": f"Model {name!r} unloaded"})

    @app.post("/models/<path:name>/invoke")
    def invoke(name: str) -> Response:
        reply = registry.invoke(name, read_invocation(endpoint))
        return Response(reply.body, reply.status, dict(reply.headers), content_type=reply.content_type)

    return app


def _read_limit(text: str) -> int:
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else 0
    if not 1 <= limit <= _LARGEST_PAGE:
        raise RequestError(f"limit is {text[:80]!r}, expected 1 to {_LARGEST_PAGE}. Correct it, or leave it out.")
    return limit


def _read_load(body: bytes) -> _Load:
    try:
        return _Load.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise RequestError(
            f'{where}: {first["msg"]}. Expected {{"model_name": "...", "url": "..."}}. Correct the body.'
        ) from error


def _describe(entry: Entry) -> dict[str, str]:
    return {"modelName": entry.name, "modelUrl": entry.url}


def _to_token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _from_token(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise RequestError(
            f"next_page_token is {token[:80]!r}, expected one that an earlier page gave. Leave it out to begin anew."
        ) from error


def _json(content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), content_type="application/json")
