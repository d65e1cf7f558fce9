import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twofold.errors import ProtocolError
from twofold.serve.gateway.chunks import MAX_LINE, MAX_TRAILER, Chunks

NEXT = b"GET /ping"


def read(data, step=None):
    """Body and rest of bytes that come in pieces of `step`."""
    chunks, buffer, body = Chunks(), bytearray(), b""
    for start in range(0, len(data), step or len(data)):
        buffer += data[start : start + (step or len(data))]
        body += chunks.take(buffer)
    return body, bytes(buffer), chunks.done


@settings(deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=40)),
    st.integers(1, 50),
    st.sampled_from([b"", b"Trailer: x\r\nOther: y\r\n"]),
    st.sampled_from([b"", b";a=b", b' ; c="d"']),
)
def test_chunks_come_together_however_they_are_cut(parts, step, trailer, extension):
    data = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts) + b"0\r\n" + trailer + b"\r\n"
    assert read(data + NEXT, step) == (b"".join(parts), NEXT, True)
    assert read(data[:-1], step)[2] is False


@pytest.mark.parametrize(
    "broken",
    [
        b"zz\r\n",
        b"-1\r\n",
        b"+1\r\na\r\n",
        b"0x1\r\na\r\n",
        b"1_0\r\n",
        b"\r\n",
        b"1\na\r\n",
        b"1;\x00\r\na\r\n",
        b"ffffffffffffffffff\r\n",
        b"1\r\nab\r\n",
        b"1\r\na\n\n",
        b"0\r\nno header\r\n\r\n",
        b"0\r\nA: b\nC: d\r\n\r\n",
        b"1" * MAX_LINE,
        b"0\r\n" + b"A: b\r\n" * MAX_TRAILER,
        b"0\r\nA: " + b"b" * MAX_TRAILER,
    ],
)
def test_broken_chunks_are_refused(broken):
    with pytest.raises(ProtocolError):
        read(broken)
