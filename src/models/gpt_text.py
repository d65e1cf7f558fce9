"""Text as tokens and tokens as text: bytes of UTF-8, and one token for the end of a text."""

import codecs
from collections.abc import Iterable, Iterator

END = 256
"""Token that stands between texts; a model that gives it has finished."""


def encode(text: str) -> list[int]:
    """Return a text's tokens: its bytes in UTF-8."""
    return list(text.encode("utf-8", "surrogatepass"))


def decode(tokens: Iterable[int]) -> str:
    """Return the text of tokens; what is no UTF-8 becomes U+FFFD, `END` nothing."""
    return "".join(stream(tokens))


def stream(tokens: Iterable[int]) -> Iterator[str]:
    """Yield text as its tokens come, never half a character; stops nowhere, `END` gives nothing."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for token in tokens:
        if token < END and (text := decoder.decode(bytes([token]))):
            yield text
    if text := decoder.decode(b"", final=True):
        yield text
