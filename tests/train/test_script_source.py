"""Where the code comes from: folders, archives here and in S3 (moto's server), and archives that mean harm."""

import io
import tarfile
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from twofold.contract.job import TrainingJob
from twofold.contract.paths import Paths
from twofold.errors import ConfigError, DataError
from twofold.train.script_source import bring_code, unpack

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


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


def job(tmp_path, place):
    return TrainingJob(paths=Paths(tmp_path / "ml"), submit_directory=place, region="us-east-1")


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def test_without_a_place_it_is_what_the_image_has(tmp_path, scratch):
    assert bring_code(job(tmp_path, None), {}, scratch) == tmp_path / "ml" / "code"


def test_a_folder_is_used_as_it_is(tmp_path, scratch):
    assert bring_code(job(tmp_path, str(scratch)), {}, scratch) == scratch


@pytest.mark.parametrize("mode", ["w:gz", "w", "w:bz2", "w:xz"])
def test_an_archive_is_unpacked_where_scripts_expect_it(tmp_path, scratch, mode):
    path = tmp_path / "sourcedir.tar.gz"
    path.write_bytes(archive(*CODE, mode=mode))
    folder = bring_code(job(tmp_path, str(path)), {}, scratch)
    assert folder == tmp_path / "ml" / "code"
    assert (folder / "train.py").read_bytes() == b"print(1)\n"
    assert (folder / "lib" / "deep" / "part.py").is_file()


def test_code_that_is_there_already_stays(tmp_path, scratch):
    path = tmp_path / "sourcedir.tar.gz"
    path.write_bytes(archive(*CODE))
    baked = tmp_path / "ml" / "code" / "train.py"
    baked.parent.mkdir(parents=True)
    baked.write_text("baked")
    folder = bring_code(job(tmp_path, str(path)), {}, scratch)
    assert folder == scratch / "code"
    assert (folder / "train.py").read_bytes() == b"print(1)\n"
    assert baked.read_text() == "baked"


def test_the_executable_bit_is_kept_and_others_are_not(tmp_path):
    info = tarfile.TarInfo("run")
    info.mode = 0o4755
    (tmp_path / "a.tar").write_bytes(archive(info, CODE[0]))
    unpack(tmp_path / "a.tar", tmp_path / "out", named_as="a.tar")
    assert (tmp_path / "out" / "run").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "out" / "train.py").stat().st_mode & 0o7777 == 0o644


@pytest.fixture(scope="module")
def s3():
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret"
    )
    client.create_bucket(Bucket="sagemaker-bucket")
    client.put_object(Bucket="sagemaker-bucket", Key="job/source/sourcedir.tar.gz", Body=archive(*CODE))
    yield {**KEYS, "AWS_ENDPOINT_URL": url}
    server.stop()


def test_an_archive_comes_from_s3(tmp_path, scratch, s3):
    folder = bring_code(job(tmp_path, "s3://sagemaker-bucket/job/source/sourcedir.tar.gz"), s3, scratch)
    assert (folder / "train.py").read_bytes() == b"print(1)\n"


def test_an_object_that_is_not_there_is_named(tmp_path, scratch, s3):
    with pytest.raises(DataError, match=r"s3://sagemaker-bucket/none.tar.gz does not exist"):
        bring_code(job(tmp_path, "s3://sagemaker-bucket/none.tar.gz"), s3, scratch)


def test_a_place_that_is_not_there_is_named(tmp_path, scratch):
    with pytest.raises(ConfigError, match="there is no such file or folder"):
        bring_code(job(tmp_path, "/no/where"), {}, scratch)


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
def test_what_no_archive_of_code_needs_is_refused_before_it_is_written(tmp_path, member):
    (tmp_path / "bad.tar.gz").write_bytes(archive(CODE[0], member))
    with pytest.raises(ConfigError, match=r"^code.tar.gz has a member '.*Expected the files and folders of your code"):
        unpack(tmp_path / "bad.tar.gz", tmp_path / "in" / "out", named_as="code.tar.gz")
    assert {path.name for path in tmp_path.rglob("*")} == {"bad.tar.gz", "in", "out", "train.py"}
    assert not Path("/tmp/outside.py").exists()


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path):
    (tmp_path / "bomb.tar.gz").write_bytes(archive(("zeros", bytes(2_000_000))))
    with pytest.raises(ConfigError, match="holds more than 1,000,000 bytes"):
        unpack(tmp_path / "bomb.tar.gz", tmp_path / "out", named_as="bomb.tar.gz", max_bytes=1_000_000)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"no archive", archive(*CODE)[:90], b"\x1f\x8b" + bytes(40)])
def test_what_is_no_archive_is_named(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^s3://a/b cannot be unpacked: .* Expected a tar.gz archive"):
        unpack(tmp_path / "a", tmp_path / "out", named_as="s3://a/b")
