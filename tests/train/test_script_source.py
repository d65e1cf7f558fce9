"""Where the code comes from: folders, archives here and in S3 (moto's server)."""

import tarfile

import boto3
import pytest
from moto.server import ThreadedMotoServer
from twofold.contract.job import TrainingJob
from twofold.contract.paths import Paths
from twofold.errors import ConfigError, DataError
from twofold.train.script_source import bring_code

from ..contract.test_archives import CODE, archive

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


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


def test_code_with_a_link_is_refused(tmp_path, scratch):
    path = tmp_path / "sourcedir.tar.gz"
    path.write_bytes(archive(*CODE, ("link", b"", tarfile.SYMTYPE)))
    with pytest.raises(ConfigError, match=r"has a member 'link'.*Expected a tar.gz archive of the files and folders"):
        bring_code(job(tmp_path, str(path)), {}, scratch)
