"""What the server can be asked, as an OpenAPI description: `GET /openapi.json`, for people, clients and fuzzers.

Source: https://spec.openapis.org/oas/v3.1.0
"""

import math
from typing import Any, TypeAlias

from .. import __version__
from ..contract.artifact import Manifest
from ..contract.endpoint import MEGABYTE, Endpoint
from ..formats import json_rows
from ..formats.table import CSV, IMAGE, JSON, JSON_LINES, LIBSVM, MEDIA_TYPES, WRITTEN, Format
from .chat import PATH as CHAT_PATH
from .chat import ChatRequest
from .gateway.reply import CUSTOM_ATTRIBUTES
from .transforms import PATH as TRANSFORMS_PATH

PATH = "/openapi.json"
LARGEST_EXAMPLE = 4096
"""Values of a row beyond which there is no example of one."""
_INFINITE = 2.0**128 - 2.0**103
"""The smallest number that is infinite as float32."""

Node: TypeAlias = dict[str, Any]
"""A part of the description."""

_ERROR = {"$ref": "#/components/schemas/Error"}
_REASONS = {
    400: "The request cannot be read; the message names the place",
    404: "There is none of this name",
    406: "Nothing that Accept asks for can be written",
    408: "The request did not come in time",
    409: "There is one of this name already",
    413: "The body is too large",
    415: "Nothing reads this Content-Type",
    500: "The server failed; the message has an id, under which its log has the cause",
    503: "Not ready, or more requests than can be answered in time",
    504: "The model did not answer in time",
    507: "It does not fit into memory",
}
_ANYTHING: Node = {"*/*": {"schema": {}}}
_NUMBER = {"type": ["number", "null"], "description": "null where it is not finite"}


def describe(endpoint: Endpoint, manifest: Manifest | None, *, chat: bool) -> Node:
    """Describe the server of one model.

    Args:
        endpoint: its settings.
        manifest: what its rows look like; None where a script of the user's reads requests.
        chat: whether it answers conversations.
    """
    asked, told = _rows(manifest) if manifest else (_ANYTHING, _ANYTHING)
    limit = endpoint.max_payload_bytes
    words = f"A body has at most {limit / MEGABYTE:g} MB." if limit else "A body may have any size."
    paths = {"/invocations": {"post": _invoke(words, asked, told)}, TRANSFORMS_PATH: {"get": _transforms()}}
    if chat:
        paths[CHAT_PATH] = {"post": _chat()}
    name = f"{manifest.architecture.name} ({manifest.task})" if manifest else "A model with a script of its own"
    return _document(name, paths)


def describe_models() -> Node:
    """Describe the server of a multi-model endpoint."""
    model = _schema({"modelName": {"type": "string"}, "modelUrl": {"type": "string"}})
    listing = _schema({"models": {"type": "array", "items": model}}, nextPageToken={"type": "string"})
    wish = _schema({"model_name": {"type": "string", "minLength": 1}, "url": {"type": "string", "minLength": 1}})
    load = _operation("Load a model", "", _json(model), 400, 408, 409, 413, 507)
    load["requestBody"] = {"required": True, "content": _json(wish)}
    page = _operation("List the models", "In the order of their names.", _json(listing), 400)
    page["parameters"] = [
        _parameter("next_page_token", "query", {"type": "string"}),
        _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 1000}),
    ]
    name = [_parameter("model_name", "path", {"type": "string", "minLength": 1})]
    get = _operation("Look for a model", "", _json(model), 404)
    unload = _operation("Unload a model", "Its memory is free when this answers.", _json(_schema({"status": {}})), 404)
    invoke = _invoke("", _ANYTHING, _ANYTHING, 404, 507)
    return _document(
        "Many models",
        {
            "/models": {"post": load, "get": page},
            "/models/{model_name}": {"parameters": name, "get": get, "delete": unload},
            "/models/{model_name}/invoke": {"parameters": name, "post": invoke},
        },
    )


def row_shape_of(manifest: Manifest) -> Node:
    """Describe one row: lists of lists of numbers."""
    top = manifest.highest
    bound = {"exclusiveMinimum": -_INFINITE, "exclusiveMaximum": _INFINITE}
    node: Node = {"type": "number", **bound} if top is None else {"type": "integer", "minimum": 0, "maximum": top}
    for size in reversed(manifest.input.shape):
        node = {"type": "array", "items": node, "minItems": size, "maxItems": size}
    return node


def example_rows(manifest: Manifest) -> list[Any] | None:
    """Return a row of zeros in a list; None where it would be too long to look at."""
    if math.prod(manifest.input.shape) > LARGEST_EXAMPLE:
        return None
    row: Any = 0
    for size in reversed(manifest.input.shape):
        row = [row] * size
    return [row]


def _rows(manifest: Manifest) -> tuple[Node, Node]:
    """Content that is read, and that is written, for a model of rows."""
    pixels = manifest.input.dtype == "uint8"
    read = {name: _read(name, entry, manifest) for name, entry in MEDIA_TYPES.items() if entry is not IMAGE or pixels}
    width = {"minItems": len(manifest.classes), "maxItems": len(manifest.classes)} if manifest.classes else {}
    one = _NUMBER if manifest.task == "regression" else {"type": "array", "items": _NUMBER, **width}
    labels = {"labels": {"type": "array", "items": {"enum": manifest.classes}}} if manifest.classes else {}
    whole = _schema({"predictions": {"type": "array", "items": one}, **labels})
    return read, {name: {"schema": whole} if name in JSON.media_types else _bytes_or_text(name) for name in WRITTEN}


def _read(name: str, entry: Format, manifest: Manifest) -> Node:
    rows, example = {"type": "array", "minItems": 1, "items": row_shape_of(manifest)}, example_rows(manifest)
    if entry is not JSON:
        return _bytes_or_text(name, _lines(entry, example))
    named = [_schema({key: rows}) for key in json_rows.KEYS]
    node: Node = {"schema": {"anyOf": [*named, rows]}}
    return node | ({"example": {json_rows.KEYS[0]: example}} if example else {})


def _lines(entry: Format, example: list[Any] | None) -> str | None:
    """Write the example as lines of text; None for what has none."""
    if example is None:
        return None
    values = [str(value) for value in _flat(example)]
    return {
        CSV: ",".join(values),
        JSON_LINES: str(example[0]),
        LIBSVM: " ".join(f"{place}:{value}" for place, value in enumerate(values, start=1)),
    }.get(entry)


def _flat(values: Any) -> list[Any]:  # noqa: ANN401  lists of lists of numbers
    return [number for value in values for number in _flat(value)] if isinstance(values, list) else [values]


def _bytes_or_text(name: str, example: str | None = None) -> Node:
    text = name.startswith("text/") or name.endswith("jsonlines")
    return {"schema": {"type": "string"} if text else {}} | ({"example": f"{example}\n"} if example else {})


def _invoke(words: str, asked: Node, told: Node, *statuses: int) -> Node:
    """Describe a request to a model: types that are read, types that are written, errors beside the usual ones."""
    node = _operation("Ask the model", words, told, 400, 406, 408, 413, 415, 503, 504, *statuses)
    names = (CUSTOM_ATTRIBUTES, "X-Amzn-SageMaker-Inference-Id")
    headers = [_parameter(name, "header", {"type": "string"}) for name in names]
    return node | {"requestBody": {"required": True, "content": asked}, "parameters": headers}


def _chat() -> Node:
    schema = ChatRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    told = _json({"type": "object", "required": ["choices"]}) | {"text/event-stream": {"schema": {}}}
    node = _operation("Go on with a conversation", "As OpenAI's chat completions.", told, 400, 408, 413, 503)
    example = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}
    node["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}
    return node


def _transforms() -> Node:
    number = {"type": "integer", "minimum": 1}
    fields = {"MaxConcurrentTransforms": number, "BatchStrategy": {"type": "string"}, "MaxPayloadInMB": number}
    return _operation("What a batch transform is to send", "", _json(_schema(fields)))


def _document(name: str, paths: Node) -> Node:
    ping: Node = _operation("Whether the server can answer", "", None, 503)
    metrics = _operation("Numbers of all workers", "Prometheus text.", {"text/plain": {"schema": {"type": "string"}}})
    itself = _operation("This description", "", _json({"type": "object"}))
    error = _schema({"error": _schema({"code": {"type": "integer"}, "message": {"type": "string"}})})
    parts = ChatRequest.model_json_schema(ref_template="#/components/schemas/{model}").get("$defs", {})
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": __version__, "description": "Served by Twofold."},
        "paths": {"/ping": {"get": ping, "post": ping}, **paths, "/metrics": {"get": metrics}, PATH: {"get": itself}},
        "components": {"schemas": {"Error": error, **(parts if CHAT_PATH in paths else {})}},
    }


def _operation(summary: str, description: str, told: Node | None, *statuses: int) -> Node:
    """Describe a call: what it answers with 200, and the errors that it may have beside 500."""
    good: Node = {"description": "Done"}
    if told is not None:
        good["content"] = told
    answers: Node = {"200": good}
    for status in (*statuses, 500):
        answers[str(status)] = {"description": _REASONS[status], "content": _json(_ERROR)}
    return {"summary": summary, "responses": answers} | ({"description": description} if description else {})


def _parameter(name: str, place: str, schema: Node) -> Node:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _schema(fields: Node, **optional: Node) -> Node:
    return {"type": "object", "required": list(fields), "properties": fields | optional}


def _json(schema: Node) -> Node:
    return {"application/json": {"schema": schema}}
