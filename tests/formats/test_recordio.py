import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twofold.errors import FormatError
from twofold.formats import recordio

MAGIC = recordio.MAGIC.to_bytes(4, "little")
# Bytes that are rich in magic numbers, at multiples of four and elsewhere.
TRICKY = st.lists(st.sampled_from([MAGIC, b"\x00", b"ab", MAGIC[:2], MAGIC[2:], bytes(8)]), max_size=12).map(b"".join)
PAYLOADS = st.lists(TRICKY | st.binary(max_size=40), max_size=20)


def shard(data):
    return np.frombuffer(data, dtype=np.uint8)


def records(data):
    found = recordio.index(shard(data))
    view = memoryview(data)
    return [recordio.payload(view[start:stop]) for start, stop in zip(found.starts, found.stops, strict=True)]


def by_the_book(data):
    """dmlc-core's reader, as its source says it: a second opinion."""
    at, found, parts = 0, [], []
    while at < len(data):
        magic, word = np.frombuffer(data, "<u4", 2, at).tolist()
        assert magic == recordio.MAGIC
        flag, length = word >> 29, word & (1 << 29) - 1
        parts.append(data[at + 8 : at + 8 + length])
        at += 8 + (length + 3) // 4 * 4
        if flag in (0, 3):
            found.append(MAGIC.join(parts))
            parts = []
    return found


@given(PAYLOADS)
def test_records_read_back_and_the_book_agrees(payloads):
    data = b"".join(map(recordio.frame, payloads))
    assert len(data) % 4 == 0
    assert records(data) == by_the_book(data) == payloads


@pytest.mark.parametrize("length", range(9))
def test_short_records(length):
    data = recordio.frame(bytes(range(length)))
    assert len(data) == 8 + (length + 3) // 4 * 4
    assert recordio.decode(memoryview(data)) == {"data": bytes(range(length))}
    assert recordio.encode({"data": bytes(range(length))}) == data


@pytest.mark.parametrize(
    ("payload", "parts"), [(MAGIC * 5, 6), (b"a" + MAGIC * 3, 1), (b"abcd" + MAGIC + b"xyz", 2), (b"ab" + MAGIC, 1)]
)
def test_only_aligned_magic_numbers_split_a_record(payload, parts):
    data = recordio.frame(payload)
    words = np.frombuffer(data, dtype="<u4")
    assert np.count_nonzero(words == recordio.MAGIC) == parts
    assert records(data * 3) == [payload] * 3


@pytest.mark.parametrize("size", [0, 3, 292])
@pytest.mark.parametrize("odd", [0, 1, 63, 64, 70, 9_999])
def test_equal_records_with_one_that_differs(size, odd):
    frames = [recordio.frame(bytes(size))] * 10_000
    frames[odd] = recordio.frame(b"x" * (size + 9))
    data = b"".join(frames)
    found = recordio.index(shard(data))
    stops = np.cumsum([len(frame) for frame in frames])
    np.testing.assert_array_equal(found.stops, stops)
    np.testing.assert_array_equal(found.starts, stops - [len(frame) for frame in frames])


@pytest.mark.parametrize("largest", [60, 3_000])
def test_many_records_of_many_sizes(largest):
    sizes = np.random.default_rng(0).integers(0, largest, 12_000)
    frames = [recordio.frame(bytes(size)) for size in sizes]
    found = recordio.index(shard(b"".join(frames)))
    np.testing.assert_array_equal(found.stops, np.cumsum([len(frame) for frame in frames]))


def test_data_that_holds_magic_numbers_as_sagemakers_helper_writes_it():
    payloads = [MAGIC * 3, b"abcd" + MAGIC, MAGIC + b"\x08\x00\x00\x00" + bytes(8)] * 3_000
    data = b"".join(MAGIC + len(payload).to_bytes(4, "little") + payload for payload in payloads)
    assert records(data) == payloads


def test_no_bytes_are_no_records():
    assert len(recordio.index(shard(b""))) == 0


GOOD = recordio.frame(b"0123456789")
PARTS = recordio.frame(b"abcd" + MAGIC + b"efgh")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (GOOD + GOOD[:5], r"record 1 at byte 20: found 5 bytes, expected a header of 8.*cut short"),
        (GOOD + GOOD[:-1], r"record 1 at byte 20: found 11 bytes, expected 12.*cut short"),
        (GOOD[:-1], r"record 0 at byte 0: found 11 bytes, expected 12"),
        (GOOD * 2 + b"x" + GOOD[1:], r"record 2 at byte 40: found 78 23 d7 ce, expected .* 0a 23 d7 ce.*damaged"),
        (b"0.5,1,2\n" * 9, r"record 0 at byte 0: found 30 2e 35 2c, .*no RecordIO.*ContentType"),
        (GOOD + PARTS[:12], r"record 1 ends at byte 32 after a part with flag 1, expected its last part.*cut short"),
        (GOOD + PARTS[:12] + GOOD, r"record 1 at byte 32: found a part with flag 0, expected 2 or 3"),
        (PARTS[12:], r"record 0 at byte 0: found a part with flag 3, expected 0 or 1"),
    ],
)
def test_broken_shards_are_refused_with_the_place(data, message):
    with pytest.raises(FormatError, match=message):
        recordio.index(shard(data))


def test_a_damaged_header_far_in_is_found():
    frames = [recordio.frame(bytes(100))] * 5_000
    data = bytearray(b"".join(frames))
    data[3_210 * 108] ^= 1
    with pytest.raises(FormatError, match=r"record 3210 at byte 346680: found 0b 23"):
        recordio.index(shard(bytes(data)))


def test_what_is_not_one_record_is_refused():
    for data in (b"", GOOD * 2, GOOD[:-2], GOOD + b"\x00"):
        with pytest.raises(FormatError):
            recordio.payload(memoryview(data))


def test_what_does_not_fit_is_refused():
    with pytest.raises(FormatError, match="data is ndarray, expected bytes"):
        recordio.encode({"data": np.zeros(3)})
    with pytest.raises(FormatError, match="536870912 bytes, expected at most 536870911"):
        recordio.frame(bytes(1 << 29))


@given(PAYLOADS.filter(bool), st.data())
def test_a_mutated_shard_reads_or_is_refused(payloads, data):
    good = b"".join(map(recordio.frame, payloads))
    at = data.draw(st.integers(0, len(good) - 1))
    cut = data.draw(st.integers(at, len(good)))
    bad = good[:at] + data.draw(st.binary(max_size=9)) + good[cut:]
    with contextlib.suppress(FormatError):
        assert records(bad) == by_the_book(bad)
