"""A decoder-only transformer over integer tokens, and the cache that makes its generation cheap.

    tokens [n, t]  ->  embedding (+ learned positions)  ->  blocks: attention, feed-forward  ->  norm  ->  scores

Pre-norm blocks with RMSNorm (Zhang and Sennrich, arXiv:1910.07467), SwiGLU (Shazeer, arXiv:2002.05202) and rotary
positions (Su et al., arXiv:2104.09864). Query, key and value are layers of their own and the number of heads is taken
from what they give, so a tensor-parallel plan can shard a block by heads; nothing is shared between layers.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import ConfigError

BYTE_VOCABULARY = 257
"""Tokens of text as bytes: 256 values, and one for the end of a text."""
_ROTARY_BASE = 10_000.0
_POSITIONS = ("rope", "learned")
_TOKENIZERS = ("bytes", "none")
_MULTIPLE = 8


class Cache:
    """Keys and values of the tokens that a model has read, for one more token at the price of one."""

    def __init__(self) -> None:
        """Begin before the first token."""
        self.length = 0
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add keys and values `[n, heads, t, size]` of new tokens to a layer and return those of all tokens."""
        if layer in self._layers:
            keys = torch.cat([self._layers[layer][0], keys], dim=2)
            values = torch.cat([self._layers[layer][1], values], dim=2)
        self._layers[layer] = keys, values
        return keys, values


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, width: int, heads: int, dropout: float, layer: int) -> None:
        """Map `[n, t, width]` to the same shape; `layer` is this block's number."""
        super().__init__()
        self.head_size, self.dropout, self.layer = width // heads, dropout, layer
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, states: Tensor, rotation: tuple[Tensor, Tensor] | None, cache: Cache | None) -> Tensor:
        """Let each token look at itself and what came before it."""
        query, key, value = (self._heads(layer(states)) for layer in (self.query, self.key, self.value))
        if rotation is not None:
            query, key = _rotate(query, *rotation), _rotate(key, *rotation)
        new = states.shape[1]
        mask = None
        if cache is not None:
            key, value = cache.extend(self.layer, key, value)
            if 1 < new < key.shape[2]:
                places = torch.arange(key.shape[2], device=key.device)
                mask = places <= places[-new:, None]
        mixed = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=new == key.shape[2] and new > 1,
        )
        answers: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return answers

    def _heads(self, states: Tensor) -> Tensor:
        """Split `[n, t, heads * size]` into `[n, heads, t, size]`, however many heads are here."""
        return states.view(*states.shape[:2], states.shape[2] // self.head_size, self.head_size).transpose(1, 2)


class FeedForward(nn.Module):
    """SwiGLU: one layer gates another, a third leads back."""

    def __init__(self, width: int) -> None:
        """Map `[..., width]` to the same shape, through 8/3 of the width, as the paper has it."""
        super().__init__()
        inner = -(-width * 8 // 3 // _MULTIPLE) * _MULTIPLE
        self.gate = nn.Linear(width, inner, bias=False)
        self.up = nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        """Transform each token by itself."""
        answers: Tensor = self.down(functional.silu(self.gate(states)) * self.up(states))
        return answers


class Block(nn.Module):
    """Attention and feed-forward, each normalised before and added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float, layer: int) -> None:
        """Map `[n, t, width]` to the same shape."""
        super().__init__()
        self.attention_norm = nn.RMSNorm(width, eps=1e-6)
        self.attention = Attention(width, heads, dropout, layer)
        self.feed_forward_norm = nn.RMSNorm(width, eps=1e-6)
        self.feed_forward = FeedForward(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, states: Tensor, rotation: tuple[Tensor, Tensor] | None = None, cache: Cache | None = None
    ) -> Tensor:
        """Return the states after this block."""
        states = states + self.dropout(self.attention(self.attention_norm(states), rotation, cache))
        after: Tensor = states + self.dropout(self.feed_forward(self.feed_forward_norm(states)))
        return after


class GPT(nn.Module):
    """Scores of the next token after each token; `blocks` lists the layers in order."""

    def __init__(
        self,
        *,
        vocabulary: int,
        context: int,
        width: int,
        layers: int,
        heads: int,
        dropout: float,
        positions: str,
        tokenizer: str,
    ) -> None:
        """Take sizes that `gpt` has checked."""
        super().__init__()
        self.vocabulary, self.context, self.tokenizer = vocabulary, context, tokenizer
        self._head_size = width // heads
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width) if positions == "learned" else None
        self.blocks = nn.ModuleList(Block(width, heads, dropout, layer) for layer in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.apply(_initialise)
        # What is added to the stream of states by 2 * layers parts keeps its size (GPT-2).
        for block in self.blocks:
            for layer in (block.attention.output, block.feed_forward.down):  # type: ignore[union-attr]
                nn.init.normal_(layer.weight, std=0.02 / math.sqrt(2 * layers))  # type: ignore[union-attr,arg-type]

    def forward(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        """Map tokens `[n, t]` int64 to scores `[n, t, vocabulary]`; with a cache they follow what it has read.

        At most `context` tokens in all.
        """
        start = cache.length if cache is not None else 0
        places = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        states = self.embedding(tokens)
        turned = None
        if self.positions is not None:
            states = states + self.positions(places)
        else:
            turned = rotation(places, self._head_size)
        for block in self.blocks:
            states = block(states, turned, cache)
        if cache is not None:
            cache.length += tokens.shape[1]
        scores: Tensor = self.head(self.norm(states))
        return scores


def gpt(
    *,
    vocabulary: int = BYTE_VOCABULARY,
    context: int = 256,
    width: int = 256,
    layers: int = 4,
    heads: int = 4,
    dropout: float = 0.0,
    positions: str = "rope",
    tokenizer: str = "bytes",
) -> nn.Module:
    """Map tokens `[n, t]` int64, t at most `context`, to scores of each next token `[n, t, vocabulary]`.

    Args:
        vocabulary: number of tokens; 257 for text as bytes.
        context: most tokens that the model looks at.
        width: values of a token's state, an even multiple of `heads`.
        layers: blocks.
        heads: of each block's attention.
        dropout: share of values dropped in training.
        positions: `rope` (rotary) or `learned`.
        tokenizer: `bytes`, which makes the model one of text, or `none`.

    Raises:
        ConfigError: sizes that do not fit together.
    """
    if width % heads or (positions == "rope" and width // heads % 2):
        raise ConfigError(
            f"width is {width} with {heads} heads. Expected an even number of values for each head: change 'width' "
            f"or 'heads'."
        )
    if positions not in _POSITIONS:
        raise ConfigError(f"positions is {positions!r}, expected one of: {', '.join(_POSITIONS)}. Change 'positions'.")
    if tokenizer not in _TOKENIZERS or (tokenizer == "bytes" and vocabulary != BYTE_VOCABULARY):
        raise ConfigError(
            f"tokenizer is {tokenizer!r} with a vocabulary of {vocabulary}. Expected 'bytes' with {BYTE_VOCABULARY}, "
            f"or 'none'."
        )
    return GPT(
        vocabulary=vocabulary,
        context=context,
        width=width,
        layers=layers,
        heads=heads,
        dropout=dropout,
        positions=positions,
        tokenizer=tokenizer,
    )


def _initialise(part: nn.Module) -> None:
    if isinstance(part, nn.Linear | nn.Embedding):
        nn.init.normal_(part.weight, std=0.02)


def rotation(places: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines `[t, size]` by which the values of tokens at these places are turned."""
    exponents = torch.arange(0, size, 2, device=places.device, dtype=torch.float32) / size
    angles = places[:, None].float() * _ROTARY_BASE**-exponents
    angles = torch.cat([angles, angles], dim=1)
    return angles.cos(), angles.sin()


def _rotate(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn each pair of values (one of the first half, one of the second) of `[n, heads, t, size]`."""
    first, second = heads.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return (heads * cosine + turned * sine).to(heads.dtype)
