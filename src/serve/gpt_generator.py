"""The built-in `gpt` as a generator of answers."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract.artifact import Manifest
from .chat import ChatRequest
from .invocation import Invocation

if TYPE_CHECKING:
    from ..models.gpt import GPT


class GptGenerator:
    """Goes on with texts; the weights are loaded for the first request, since scoring alone may do without torch."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder, self._manifest = folder, manifest
        self._module: GPT | None = None
        self._lock = threading.Lock()

    def generate(self, request: ChatRequest, invocation: Invocation) -> "_Text":  # noqa: ARG002  it says no more
        """Begin to answer.

        Raises:
            RequestError: the request cannot be answered.
            ModelError: the weights are missing or do not fit.
        """
        # Not at the top: torch takes a second to import and a hundred megabytes.
        from ..models import gpt_text  # noqa: PLC0415
        from ..models.gpt_generate import Sampling, generate  # noqa: PLC0415

        top_p = 1.0 if request.top_p is None else request.top_p
        temperature = 1.0 if request.temperature is None else request.temperature
        sampling = Sampling(temperature=temperature, top_p=top_p, seed=request.seed)
        prompt, stop = [gpt_text.END, *gpt_text.encode(request.prompt)], frozenset({gpt_text.END})
        tokens = generate(self._loaded(), prompt, max_tokens=request.limit, sampling=sampling, stop=stop)
        return _Text(len(prompt), tokens, gpt_text.stream)

    def _loaded(self) -> "GPT":
        from ..models.gpt import GPT  # noqa: PLC0415
        from ..models.load import load_module  # noqa: PLC0415

        with self._lock:
            if self._module is None:
                module = load_module(self._folder, self._manifest)
                if not isinstance(module, GPT):
                    raise TypeError(f"{type(module).__name__} does not generate")
                self._module = module
            return self._module


def generates(manifest: Manifest) -> bool:
    """Whether an artifact is a model that goes on with text."""
    architecture = manifest.architecture
    return architecture.name == "gpt" and architecture.arguments.get("tokenizer") == "bytes"


class _Text:
    """The text that follows a prompt, counted in tokens."""

    def __init__(
        self, prompt_tokens: int, tokens: Iterator[int], decode: Callable[[Iterator[int]], Iterator[str]]
    ) -> None:
        self.prompt_tokens: int | None = prompt_tokens
        self.completion_tokens: int | None = 0
        self._text = decode(self._counted(tokens))

    def __iter__(self) -> Iterator[str]:
        """Yield the next pieces of text."""
        return self._text

    def _counted(self, tokens: Iterator[int]) -> Iterator[int]:
        for made, token in enumerate(tokens, start=1):
            self.completion_tokens = made
            yield token
