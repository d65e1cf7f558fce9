"""Archives that are good, and archives that mean harm."""

import io
import tarfile
from pathlib import Path

import pytest
from twofold.contract.archives import unpack
from twofold.errors import ConfigError

EXPECTED = "Expected a good one."


def archive(*members, mode="w:gz"):
    """Bytes of an archive of (name, content) or (name, content, type) or TarInfo."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for member in members:
            info = tarfile.TarInfo(member[0]) if isinstance(member, tuple) else member
            content = member[1] if isinstance(member, tuple) else b""
            info.size = len(content)
            if isinstance(member, tuple) and len(member) > 2:
                info.type, info.linkname = member[2], "/etc/passwd"
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


CODE = (("./train.py", b"print(1)\n"), ("lib/deep/part.py", b"x = 1\n"))


def test_the_executable_bit_is_kept_and_others_are_not(tmp_path):
    info = tarfile.TarInfo("run")
    info.mode = 0o4755
    (tmp_path / "a.tar").write_bytes(archive(info, CODE[0]))
    unpack(tmp_path / "a.tar", tmp_path / "out", named_as="a.tar", expected=EXPECTED)
    assert (tmp_path / "out" / "run").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "out" / "train.py").stat().st_mode & 0o7777 == 0o644


@pytest.mark.parametrize(
    "member",
    [
        ("../outside.py", b"x"),
        ("lib/../../outside.py", b"x"),
        ("/tmp/outside.py", b"x"),
        ("link", b"", tarfile.SYMTYPE),
        ("hard", b"", tarfile.LNKTYPE),
        ("pipe", b"", tarfile.FIFOTYPE),
        ("device", b"", tarfile.CHRTYPE),
    ],
    ids=lambda member: member[0],
)
def test_what_no_archive_needs_is_refused_before_it_is_written(tmp_path, member):
    (tmp_path / "bad.tar.gz").write_bytes(archive(CODE[0], member))
    with pytest.raises(ConfigError, match=r"^code.tar.gz has a member '.*Expected a good one"):
        unpack(tmp_path / "bad.tar.gz", tmp_path / "in" / "out", named_as="code.tar.gz", expected=EXPECTED)
    assert {path.name for path in tmp_path.rglob("*")} == {"bad.tar.gz", "in", "out", "train.py"}
    assert not Path("/tmp/outside.py").exists()


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path):
    (tmp_path / "bomb.tar.gz").write_bytes(archive(("zeros", bytes(2_000_000))))
    with pytest.raises(ConfigError, match="holds more than 1,000,000 bytes"):
        unpack(
            tmp_path / "bomb.tar.gz", tmp_path / "out", named_as="bomb.tar.gz", expected=EXPECTED, max_bytes=1_000_000
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"no archive", archive(*CODE)[:90], b"\x1f\x8b" + bytes(40)])
def test_what_is_no_archive_is_named(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^s3://a/b cannot be unpacked: .* Expected a good one"):
        unpack(tmp_path / "a", tmp_path / "out", named_as="s3://a/b", expected=EXPECTED)
