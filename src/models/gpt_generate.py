"""Generation: from a prompt's tokens to the tokens that follow, one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import RequestError
from . import gpt_text
from .gpt import GPT, Cache

_COLDEST = 1e-30
"""Temperature below which float32 has no quotient."""
_SEEDS = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen."""

    temperature: float = 1.0
    """Divisor of the scores, at least 0; 0 takes the most probable token."""
    top_k: int = 0
    """Only so many of the most probable tokens; 0: all."""
    top_p: float = 1.0
    """Only the most probable tokens that together reach this probability, above 0 and at most 1."""
    seed: int | None = None
    """The same seed, of 63 bits and a sign, gives the same tokens; None: others each time."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise RequestError(f"temperature is {self.temperature}, expected a number of at least 0.")
        if self.seed is not None and not -_SEEDS <= self.seed < _SEEDS:
            raise RequestError(f"seed is {self.seed}, expected -2^63 to 2^63 - 1.")
        if self.top_k < 0:
            raise RequestError(f"top_k is {self.top_k}, expected 0 (all tokens) or more.")
        if not 0 < self.top_p <= 1:
            raise RequestError(f"top_p is {self.top_p}, expected a number above 0 and at most 1.")


def generate(
    module: GPT,
    prompt: Sequence[int],
    *,
    max_tokens: int,
    sampling: Sampling | None = None,
    stop: frozenset[int] = frozenset(),
) -> Iterator[int]:
    """Yield up to `max_tokens` tokens that follow a prompt; a token of `stop` ends it and is not yielded.

    The model remembers what it has read, so each token costs one position. When its context is full, it goes on from
    the last half of it; of a prompt longer than the context only the end is read. Closing the generator ends the work.

    Raises:
        RequestError: no token in the prompt, or one that the model does not know.
    """
    tokens = list(prompt)
    if not tokens:
        raise RequestError("The prompt is empty. Expected at least one token of it.")
    unknown = next((token for token in tokens if not 0 <= token < module.vocabulary), None)
    if unknown is not None:
        raise RequestError(f"The prompt has the token {unknown}, expected numbers from 0 to {module.vocabulary - 1}.")
    return _generate(module, tokens, max_tokens, sampling or Sampling(), stop)


def generate_text(module: GPT, prompt: str, *, max_tokens: int, sampling: Sampling | None = None) -> Iterator[str]:
    """Yield the text that follows a prompt, piece by piece, until the model ends it or `max_tokens` bytes are out.

    Raises:
        RequestError: the model's tokens are no text.
    """
    if module.tokenizer != "bytes":
        raise RequestError("This model was trained on tokens, not on text. Send a list of tokens as the prompt.")
    tokens = [gpt_text.END, *gpt_text.encode(prompt)]
    stop = frozenset({gpt_text.END})
    return gpt_text.stream(generate(module, tokens, max_tokens=max_tokens, sampling=sampling, stop=stop))


def _generate(
    module: GPT, tokens: list[int], max_tokens: int, sampling: Sampling, stop: frozenset[int]
) -> Iterator[int]:
    device = module.head.weight.device
    random = torch.Generator(device)
    if sampling.seed is None:
        random.seed()
    else:
        random.manual_seed(sampling.seed)
    cache, unread = Cache(), tokens[-module.context :]
    for _ in range(max_tokens):
        if cache.length + len(unread) > module.context:
            cache, unread = Cache(), tokens[-max(module.context // 2, 1) :]
        # Not held while the caller has the token: inference mode belongs to a thread, generators wander between them.
        with torch.inference_mode():
            scores = module(torch.tensor([unread], device=device), cache)[0, -1]
            token = choose(scores, sampling, random)
        if token in stop:
            return
        tokens.append(token)
        unread = [token]
        yield token


def choose(scores: Tensor, sampling: Sampling, random: torch.Generator) -> int:
    """Choose a token by scores `[vocabulary]`."""
    if sampling.temperature == 0:
        return int(scores.argmax())
    # The best score is 0, so that no temperature, however low, makes it infinite.
    scores = scores.float() - scores.max()
    probabilities = torch.softmax(scores / max(sampling.temperature, _COLDEST), dim=0)
    if sampling.top_k or sampling.top_p < 1:
        ordered, tokens = probabilities.sort(descending=True)
        kept = ordered.cumsum(dim=0) - ordered < sampling.top_p
        kept[0] = True
        if sampling.top_k:
            kept[sampling.top_k :] = False
        probabilities = torch.zeros_like(probabilities).scatter(0, tokens[kept], ordered[kept])
    return int(torch.multinomial(probabilities, 1, generator=random))
