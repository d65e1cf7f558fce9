import io
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twofold.errors import FormatError
from twofold.formats import tar

CONTENTS = {"a/1.txt": b"one", "b.bin": b"", "c": bytes(512), "d/e/f.jpg": b"x" * 1500}
LONG = "deep/" * 30 + "name" * 30 + ".txt"


def packed(contents, **options):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **options) as archive:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mtime = 1.5
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def listed(data):
    members = [member for chunk in tar.members(np.frombuffer(data, np.uint8)) for member in chunk]
    return {member.name.decode(): data[member.start : member.start + member.size] for member in members}


@pytest.mark.parametrize("dialect", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("extra", [{}, {LONG: b"long"}, {"x/" * 60 + "prefixed.txt": b"p"}, {"ä.txt": b"umlaut"}])
def test_members_are_found_in_every_dialect(dialect, extra):
    if dialect == tarfile.USTAR_FORMAT and LONG in extra:
        extra = {"d" * 100 + "/" + "n" * 90: b"as long as ustar allows"}
    contents = CONTENTS | extra
    assert listed(packed(contents, format=dialect)) == contents


def test_more_members_than_one_chunk_are_found():
    contents = {f"{number}.cls": str(number).encode() for number in range(9_000)}
    assert listed(packed(contents, format=tarfile.USTAR_FORMAT)) == contents


def test_archives_end_to_end_are_read_on():
    one, two = packed({"a.txt": b"1"}), packed({"b.txt": b"2"})
    assert listed(one + two + bytes(1 << 21)) == {"a.txt": b"1", "b.txt": b"2"}


def test_an_empty_archive_has_no_members_but_an_empty_file_is_none():
    assert listed(tar.END) == {}
    with pytest.raises(FormatError, match="The archive is empty"):
        listed(b"")


def test_a_size_in_binary_or_from_pax_is_taken():
    member = bytearray(tar.encode_member("a.txt", b"hello"))
    member[124:136] = b"\x80" + (5).to_bytes(11, "big")
    assert listed(sealed(member) + tar.END) == {"a.txt": b"hello"}
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a.txt")
        info.size, info.pax_headers = 5, {"size": "5"}
        archive.addfile(info, io.BytesIO(b"hello"))
    data = bytearray(file.getvalue())
    data[1024 + 124 : 1024 + 136] = b"00000000000\0"
    assert listed(bytes(data[:1024]) + sealed(data[1024:])) == {"a.txt": b"hello"}


def sealed(member):
    """Put the right checksum into a header at the start."""
    member = bytearray(member)
    member[148:156] = b" " * 8
    member[148:156] = b"%06o\0 " % sum(member[:512])
    return bytes(member)


@pytest.mark.parametrize("name", ["a.txt", "ä" * 30 + ".txt", LONG])
@pytest.mark.parametrize("size", [0, 1, 511, 512, 513])
def test_what_is_written_tarfile_reads(name, size):
    data = bytes(range(256)) * 3
    archive = tar.encode_member(name, data[:size]) + tar.END
    with tarfile.open(fileobj=io.BytesIO(archive)) as reader:
        (info,) = reader.getmembers()
        assert (info.name, info.size, info.mtime, info.uid) == (name, size, 0, 0)
        assert reader.extractfile(info).read() == data[:size]
    assert listed(archive) == {name: data[:size]}


WHOLE = packed({"a.txt": b"x" * 600, "b.txt": b"y" * 600}, format=tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (WHOLE[:300], "byte 0: the archive of 300 bytes ends without its mark"),
        (WHOLE[:1000], "member 'a.txt' at byte 0 claims 600 bytes, but 488 follow. The archive is cut short"),
        (WHOLE[:1536], "byte 1536: the archive of 1536 bytes ends without its mark of zeros"),
        (WHOLE[:2300], "member 'b.txt' at byte 1536 claims 600 bytes, but 252 follow"),
        (
            WHOLE[:1540] + b"!" + WHOLE[1541:],
            "byte 1536: found b'b.tx!.*' with checksum .*, expected a tar header with",
        ),
        (WHOLE[:124] + b"x" + WHOLE[125:], "byte 0: found b'a.txt"),
        (sealed(WHOLE[:124] + b"x" + WHOLE[125:]), r"byte 0: the size of a member is b'x\d+', expected octal"),
        (sealed(WHOLE[:124] + b"\x80" + b"\xff" * 11 + WHOLE[136:]), "byte 0: a member claims .* bytes"),
        (sealed(WHOLE[:124] + b"77777777777\0" + WHOLE[136:]), "member 'a.txt' at byte 0 claims 8589934591 bytes"),
        (b"PK\x03\x04" * 500, "byte 0: found b'PK"),
        (sealed(WHOLE[:156] + b"L" + WHOLE[157:])[:1024], "byte 0: the archive ends within an extended header"),
        (sealed(WHOLE[:124] + b"00077777777\0" + WHOLE[136:156] + b"x" + WHOLE[157:]), "byte 0: an extended header"),
    ],
)
def test_a_broken_archive_is_refused_with_its_place(data, message):
    with pytest.raises(FormatError, match=message):
        listed(data)


@pytest.mark.parametrize(
    "body",
    [b"9 path=abc\n", b"x path=a\n", b"0 path=a\n", b"14 path=abcdefg", b"10 size=x\n", b"11 GNU.sparse.major=1\n"],
)
def test_a_broken_or_sparse_pax_header_is_refused(body):
    head = bytearray(tar.encode_member("pax", body))
    head[156:157] = b"x"
    with pytest.raises(FormatError, match=r"byte 0: a (broken pax header|sparse member)"):
        listed(sealed(head) + WHOLE)


def test_zeros_and_headers_in_turn_take_no_more_time_than_bytes():
    archive = (tar.encode_member("a.txt", b"") + bytes(512)) * 5_000
    assert len(listed(archive)) == 1


@given(
    st.sampled_from([packed(CONTENTS, format=dialect) for dialect in (0, 1, 2)] + [packed({LONG: b"1"}, format=2)]),
    st.lists(st.tuples(st.integers(0, 6000), st.binary(max_size=12), st.booleans()), min_size=1, max_size=4),
    st.integers(0, 10_000),
)
def test_broken_archives_are_members_or_a_format_error(data, changes, cut):
    for place, change, seal in changes:
        start = place % len(data)
        data = data[:start] + change + data[start + len(change) :]
        block = start // 512 * 512
        if seal and block + 512 <= len(data):
            data = data[:block] + sealed(data[block:])
    data = data[: len(data) - cut % len(data)]
    try:
        assert sum(map(len, listed(data).values())) <= len(data)
    except (FormatError, UnicodeDecodeError):
        return


@given(st.binary(max_size=2000))
def test_any_bytes_are_members_or_a_format_error(data):
    try:
        listed(data)
    except FormatError:
        return
