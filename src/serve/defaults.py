"""What stands in for functions that a user's `inference.py` does not define.

Beside an artifact of `train`, the artifact's own parts do; else those of `sagemaker-inference`, without unpickling.
"""

import io
from typing import Any, Protocol

import numpy as np
import orjson

from ..contract.endpoint import Endpoint
from ..errors import FormatError, ModelError, NotAcceptable, UnsupportedMediaType
from ..formats import npy
from ..formats.table import media_type
from .codecs import choose_answer, default_answer, read_rows
from .model import Model

JSON_LINES = "application/jsonlines"
_NPY = "application/x-npy"
_UNTYPED = {"": "application/json", "application/octet-stream": "application/json"}
_DECODED = ("application/json", "text/csv", _NPY, "application/x-npz")
_ENCODED = ("application/json", "text/csv", _NPY)


class Defaults(Protocol):
    """The parts of a handler, in the toolkit's terms."""

    def load(self) -> Any:  # noqa: ANN401 - whatever a model is
        """Return the model."""
        ...

    def decode(self, body: str | bytes, content_type: str) -> Any:  # noqa: ANN401
        """Turn a body into data."""
        ...

    def predict(self, data: Any, model: Any) -> Any:  # noqa: ANN401
        """Turn data into a prediction."""
        ...

    def encode(self, prediction: Any, accept: str) -> tuple[bytes | str, str]:  # noqa: ANN401
        """Turn a prediction into a body and its type."""
        ...


class ToolkitDefaults:
    """Arrays in JSON, CSV, NPY and sparse NPZ; there is no default model."""

    def __init__(self, file: str) -> None:
        self._file = file

    def load(self) -> Any:  # noqa: ANN401
        """Refuse.

        Raises:
            ModelError: always.
        """
        raise ModelError(
            f"{self._file} defines no model_fn, and no artifact of `train` is beside it. Expected "
            f"model_fn(model_dir): define it."
        )

    def decode(self, body: str | bytes, content_type: str) -> Any:  # noqa: ANN401
        """Turn a body into an array.

        Raises:
            UnsupportedMediaType: no default reads this type.
            FormatError: the body is not what its type says.
        """
        kind = media_type(content_type)
        kind = _UNTYPED.get(kind, kind)
        if kind not in _DECODED:
            raise UnsupportedMediaType(
                f"Content-Type is {content_type[:80]!r}, expected one of: {', '.join(_DECODED)}. Correct the header, "
                f"or define input_fn."
            )
        # It brings scipy; a user's own input_fn needs neither.
        from sagemaker_inference import decoder  # noqa: PLC0415

        try:
            if kind == _NPY:
                return npy.load(io.BytesIO(_bytes(body)))
            return decoder.decode(body if kind == "application/x-npz" else _text(body), kind)
        except (ValueError, KeyError, OSError, EOFError) as error:
            raise FormatError(
                f"The body cannot be read as {kind}: {error}. Correct it, or its Content-Type."
            ) from error

    def predict(self, data: Any, model: Any) -> Any:  # noqa: ANN401
        """Call the model, if it can be called.

        Raises:
            ModelError: it cannot.
        """
        if not callable(model):
            raise ModelError(
                f"{self._file} defines no predict_fn, and what model_fn returns ({type(model).__name__}) cannot be "
                f"called. Expected predict_fn(data, model): define it."
            )
        return model(data)

    def encode(self, prediction: Any, accept: str) -> tuple[bytes | str, str]:  # noqa: ANN401
        """Write an array as the first type of Accept that there is.

        Raises:
            NotAcceptable: there is none.
        """
        from sagemaker_inference import encoder  # noqa: PLC0415

        for kind in map(media_type, accept.split(",")):
            if kind in _ENCODED:
                encoded: bytes | str = encoder.encode(prediction, kind)
                return encoded, kind
        raise NotAcceptable(
            f"Accept is {accept[:80]!r}, expected one of: {', '.join(_ENCODED)}. Correct the header, or "
            f"define output_fn."
        )


class ArtifactDefaults:
    """The codecs and the model of an artifact: a user's file may replace just one part."""

    def __init__(self, model: Model, endpoint: Endpoint) -> None:
        self._model = model
        self._default = default_answer(endpoint.default_accept)

    def load(self) -> Model:
        """Return the artifact's model."""
        return self._model

    def decode(self, body: str | bytes, content_type: str) -> Any:  # noqa: ANN401
        """Turn a body into rows `[n, *row_shape]`."""
        rows = read_rows(_bytes(body), content_type, self._model.row_shape)
        self._model.check(rows)
        return rows

    def predict(self, data: Any, model: Any) -> Any:  # noqa: ANN401
        """Answer rows by the artifact's model, or call another one."""
        return model.predict(np.asarray(data, dtype=np.float32)) if isinstance(model, Model) else model(data)

    def encode(self, prediction: Any, accept: str) -> tuple[bytes | str, str]:  # noqa: ANN401
        """Write predictions, with labels where the format has them."""
        answer = choose_answer(accept, self._default)
        values = np.asarray(prediction, dtype=np.float32)
        classes = self._model.manifest.classes
        labels = self._model.labels(values) if classes and values.shape[1:] == (len(classes),) else None
        return answer.encode(values, labels), answer.content_type


def as_bytes(part: Any) -> bytes:  # noqa: ANN401 - whatever a user's function returns
    """Turn what a function returned into bytes: text and bytes as they are, anything else as JSON."""
    if isinstance(part, bytes | bytearray | memoryview):
        return bytes(part)
    if isinstance(part, str):
        return part.encode()
    return orjson.dumps(part, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS, default=_listed)


def _listed(value: Any) -> Any:  # noqa: ANN401
    """Let tensors and odd arrays be lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON")


def _bytes(body: str | bytes) -> bytes:
    return body.encode() if isinstance(body, str) else body


def _text(body: str | bytes) -> str:
    return body if isinstance(body, str) else body.decode()
