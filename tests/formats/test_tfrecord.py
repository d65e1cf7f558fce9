import contextlib
import gzip
import struct

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from twofold.errors import FormatError
from twofold.formats import tfrecord

INT64 = st.integers(-(2**63), 2**63 - 1)


def shard(data):
    return np.frombuffer(data, dtype=np.uint8)


def sample(label=3, values=(1.5, 2, 3)):
    return {"label": np.array(label), "values": np.array(values, dtype=np.float32)}


def test_the_frame_is_as_tensorflow_writes_it():
    """The empty record, and the test value of CRC-32C: of nine digits it is 0xE3069283."""
    assert tfrecord.frame(b"") == struct.pack("<QIQI", 0, tfrecord.masked_crc(bytes(8)), 0, 0)[:12] + struct.pack(
        "<I", 0xA282EAD8
    )
    turned = (0xE3069283 >> 15 | 0xE3069283 << 17) & 0xFFFFFFFF
    assert google_crc32c.value(b"123456789") == 0xE3069283
    assert tfrecord.frame(b"123456789")[-4:] == ((turned + 0xA282EAD8) % 2**32).to_bytes(4, "little")


@given(st.lists(st.binary(max_size=30), max_size=30))
def test_records_are_found(payloads):
    frames = [tfrecord.frame(payload) for payload in payloads]
    found = tfrecord.index(shard(b"".join(frames)), check=True)
    np.testing.assert_array_equal(found.stops, np.cumsum(list(map(len, frames)), dtype=np.int64))
    np.testing.assert_array_equal(found.starts, found.stops - [len(frame) for frame in frames])


@pytest.mark.parametrize("odd", [0, 1, 63, 64, 9_999])
def test_equal_records_with_one_that_differs(odd):
    frames = [tfrecord.frame(bytes(30))] * 10_000
    frames[odd] = tfrecord.frame(bytes(31))
    found = tfrecord.index(shard(b"".join(frames)), check=True)
    np.testing.assert_array_equal(found.stops, np.cumsum(list(map(len, frames))))


def test_many_records_of_many_sizes():
    frames = [tfrecord.frame(bytes(size)) for size in np.random.default_rng(0).integers(0, 90, 12_000).tolist()]
    found = tfrecord.index(shard(b"".join(frames)))
    np.testing.assert_array_equal(found.stops, np.cumsum(list(map(len, frames))))


GOOD = tfrecord.encode(sample())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (GOOD + GOOD[:5], rf"record 1 at byte {len(GOOD)}: found 5 bytes, expected a header of 12.*cut short"),
        (GOOD + GOOD[:-1], rf"record 1 at byte {len(GOOD)}: found {len(GOOD) - 17} bytes, expected {len(GOOD) - 16}"),
        (GOOD[:13], r"record 0 at byte 0: found 0 bytes, expected"),
        (
            GOOD + b"\x00" + GOOD[1:],
            rf"record 1 at byte {len(GOOD)}: found checksum 0x.* but it gives 0x.*damaged here",
        ),
        (
            b"0.5,1,2\n" * 9,
            r"record 0 at byte 0: found checksum .*It is no TFRecord: look at the channel's ContentType",
        ),
        (gzip.compress(GOOD), r"record 0 at byte 0: .*compressed by gzip as a whole: unpack it"),
        (GOOD[:-1] + b"x", rf"record 0 at byte 0: found checksum 0x.* at byte {len(GOOD) - 4}, .*copy the file again"),
        (GOOD[:40] + b"x" + GOOD[41:], r"record 0 at byte 0: found checksum"),
    ],
)
def test_broken_shards_are_refused_with_the_place(data, message):
    with pytest.raises(FormatError, match=message):
        tfrecord.index(shard(data), check=True)


def test_a_length_of_any_size_is_not_believed():
    header = (2**64 - 1).to_bytes(8, "little")
    data = header + tfrecord.masked_crc(header).to_bytes(4, "little") + bytes(40)
    with pytest.raises(
        FormatError, match=r"found 40 bytes, expected 18446744073709551615|found 36 bytes, expected 1844"
    ):
        tfrecord.index(shard(data))
    assert tfrecord.layout(memoryview(data), len(data)) is None
    with pytest.raises(FormatError):
        tfrecord.decode(memoryview(data))


def test_sums_are_checked_where_asked():
    good = GOOD * 100
    laid = tfrecord.layout(memoryview(good), len(good))
    data = bytearray(good)
    data[70 * len(GOOD) + laid.fields["values"].offset] ^= 4
    found = tfrecord.index(shard(bytes(data)))
    tfrecord.check_sums(shard(bytes(data)), found, 0, 70)
    with pytest.raises(FormatError, match=rf"record 70 at byte {70 * len(GOOD)}: found checksum"):
        tfrecord.check_sums(shard(bytes(data)), found, 60, 80)
    laid.verify(shard(good), 0, 100, checksums=True)
    laid.verify(shard(bytes(data)), 0, 100)
    with pytest.raises(FormatError, match=rf"record 70 at byte {70 * len(GOOD)}: found checksum"):
        laid.verify(shard(bytes(data)), 60, 80, checksums=True)


@given(st.data(), st.integers(1, 20), st.integers(1, 4), st.sampled_from([(0, 127), (128, 2**14 - 1), (-(2**63), -1)]))
def test_a_layout_gathers_what_decode_reads(data, records, values, bounds):
    samples = [
        {
            "label": np.array(data.draw(st.integers(*bounds))),
            "values": data.draw(arrays("f4", values)),
            "whole": data.draw(arrays("i8", values, elements=st.integers(*bounds))),
            "picture": data.draw(st.binary(min_size=values, max_size=values)),
        }
        for _ in range(records)
    ]
    frames = list(map(tfrecord.encode, samples))
    buffer = shard(b"".join(frames))
    laid = tfrecord.layout(buffer.data, len(buffer))
    assert not laid.certain
    assert laid.fits(buffer)
    laid.verify(buffer, 0, records, checksums=True)
    rows = np.array(data.draw(st.lists(st.integers(0, records - 1), max_size=30)), dtype=np.int64)
    batch = laid.gather(buffer, rows)
    for place, row in enumerate(rows):
        expected = tfrecord.decode(memoryview(frames[row]))
        assert bytes(batch["picture"][place]) == expected.pop("picture") == samples[row]["picture"]
        for name, value in expected.items():
            assert (batch[name].dtype, batch[name].shape[1:]) == (value.dtype, value.shape)
            np.testing.assert_array_equal(batch[name][place], value)


def test_labels_that_outgrow_their_byte_are_noticed():
    small, large = tfrecord.encode(sample(3, [1, 2])), tfrecord.encode(sample(128, [1, 2]))
    head = small * 50
    # One byte more fifty times over is a multiple of the small record's size, as bad luck would have it.
    data = head + large * len(small)
    laid = tfrecord.layout(memoryview(head), len(data))
    assert laid is not None
    assert not laid.fits(shard(data))
    with pytest.raises(FormatError, match=r"record 50 at byte .*not of the same shape and size"):
        laid.verify(shard(data), 0, laid.records)
    assert tfrecord.layout(memoryview(head + large), len(head + large)) is None
    assert len(tfrecord.index(shard(data), check=True)) == 50 + len(small)


def test_integers_of_one_length_that_change_places_are_noticed():
    pairs = [{"a": np.array(one), "b": np.array(other)} for one, other in ((1, 300), (300, 1))]
    data = b"".join(tfrecord.encode(pair) for pair in pairs)
    assert tfrecord.layout(memoryview(data), len(data)) is None
    laid = tfrecord.layout(memoryview(data)[: len(data) // 2], len(data))
    with pytest.raises(FormatError, match="record 1 at byte"):
        laid.verify(shard(data), 0, 2)


def test_records_of_no_one_layout_have_none():
    for samples in ([{}] * 2, [{"a": np.array([1, 300])}] * 2, [{"a": np.empty(0)}] * 2, [{"a": b"a"}, {"a": b"ab"}]):
        data = b"".join(map(tfrecord.encode, samples))
        assert tfrecord.layout(memoryview(data), len(data)) is None
    assert tfrecord.layout(memoryview(GOOD)[:-1], len(GOOD)) is None
    assert tfrecord.layout(memoryview(b""), 0) is None


@pytest.mark.parametrize("record", [b"", GOOD[:-1], GOOD + b"\x00", GOOD * 2])
def test_what_is_not_one_record_is_refused(record):
    with pytest.raises(FormatError, match="not one record with its frame"):
        tfrecord.decode(memoryview(record))


@given(st.integers(0, len(GOOD) * 3), st.integers(0, 9), st.binary(max_size=9))
def test_a_mutated_shard_reads_the_same_or_is_refused(at, cut, new):
    good = GOOD * 3
    bad = good[:at] + new + good[at + cut :]
    with contextlib.suppress(FormatError):
        found = tfrecord.index(shard(bad), check=True)
        for start, stop in zip(found.starts, found.stops, strict=True):
            assert bad[start:stop] == GOOD
    tfrecord.layout(memoryview(bad), len(bad))


@given(st.integers(12, len(GOOD) - 5), st.integers(0, 9), st.binary(max_size=9))
def test_a_mutated_record_reads_or_is_refused(at, cut, new):
    data = (GOOD[12:at] + new + GOOD[at + cut : -4]).ljust(1, b"\x00")
    record = tfrecord.frame(data)
    with contextlib.suppress(FormatError):
        tfrecord.decode(memoryview(record))
    tfrecord.layout(memoryview(record), len(record))
