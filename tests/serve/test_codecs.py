import numpy as np
import pytest
from twofold.errors import ConfigError, FormatError, NotAcceptable, RequestError, UnsupportedMediaType
from twofold.formats import column_rows, npy
from twofold.serve.codecs import choose_answer, default_answer, read_rows

JSON = default_answer("application/json")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/csv", "text/csv; charset=utf-8"),
        ("text/*", "text/csv; charset=utf-8"),
        ("TEXT/CSV;charset=utf-8", "text/csv; charset=utf-8"),
        ("application/x-npy", "application/x-npy"),
        ("application/jsonlines; verbose=true", "application/jsonlines"),
        ("application/x-jsonlines", "application/x-jsonlines"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/plain, text/csv, */*", "text/csv; charset=utf-8"),
        ("text/csv;q=0.5, application/x-npy;q=0.9", "application/x-npy"),
        ("text/csv;q=0.9, application/x-npy;q=0.5", "text/csv; charset=utf-8"),
        ("application/x-npy, text/csv", "application/x-npy"),
        ("text/csv, application/x-npy", "text/csv; charset=utf-8"),
        ("*/*;q=0.1, application/x-npy;q=0.2", "application/x-npy"),
        ("application/json;q=0, */*", "text/csv; charset=utf-8"),
        ("image/png, */*;q=0.1", "application/json"),
        ("application/x-recordio-protobuf, text/csv;q=0.5", "application/x-recordio-protobuf"),
        ("text/libsvm, application/x-parquet", "application/x-parquet"),
    ],
)
def test_the_best_of_what_a_client_accepts_is_chosen(accept, content_type):
    assert choose_answer(accept, JSON).content_type == content_type


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0", "*/*;q=0", "text/html, application/xml"])
def test_what_cannot_be_written_is_refused_with_what_can(accept):
    with pytest.raises(NotAcceptable, match=r"expected one of: application/json, text/csv, .* Correct the header"):
        choose_answer(accept, JSON)


def test_the_default_is_a_setting():
    default = default_answer("text/csv")
    assert choose_answer("", default).content_type == "text/csv; charset=utf-8"
    assert choose_answer("*/*", default).content_type == "text/csv; charset=utf-8"
    with pytest.raises(ConfigError, match="SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT is 'application/xml', expected one of"):
        default_answer("application/xml")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/csv; charset=utf-8; label_size=0", b"1,2\n3,4\n"),
        ("application/json", b'{"instances": [[1, 2], [3, 4]]}'),
        ("", b'{"instances": [[1, 2], [3, 4]]}'),
        ("application/octet-stream", b"[[1, 2], [3, 4]]"),
        ("application/jsonlines", b"[1, 2]\n[3, 4]\n"),
        ("application/x-npy", npy.encode(np.array([[1, 2], [3, 4]]))),
        ("application/x-npz", column_rows.encode_npz(np.array([[1, 2], [3, 4]]))),
        ("application/x-parquet", column_rows.encode_parquet(np.array([[1, 2], [3, 4]]))),
        ("application/x-recordio-protobuf", column_rows.encode_recordio(np.array([[1.0, 2], [3, 4]]))),
        ("text/libsvm", b"1:1 2:2\n1:3 2:4\n"),
    ],
)
def test_a_body_is_read_by_its_type(content_type, body):
    np.testing.assert_array_equal(read_rows(body, content_type, (2,)), [[1, 2], [3, 4]])


@pytest.mark.parametrize("content_type", ["application/xml", "text/plain", "nonsense"])
def test_another_type_is_refused_with_those_that_are_read(content_type):
    with pytest.raises(
        UnsupportedMediaType, match=f"Content-Type is '{content_type}', expected one of: application/json"
    ):
        read_rows(b"1,2", content_type, (2,))


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/csv", "application/jsonlines", "application/x-npy", ""]
)
def test_an_empty_body_is_refused(content_type):
    with pytest.raises(RequestError, match="The body is empty, expected at least one row"):
        read_rows(b"", content_type, (2,))


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"instances": []}'),
        ("text/csv", b"\n\n"),
        ("application/jsonlines", b" \n"),
        ("application/x-npy", npy.encode(np.empty((0, 2)))),
    ],
)
def test_no_rows_are_refused(content_type, body):
    with pytest.raises(RequestError, match="The body has no row"):
        read_rows(body, content_type, (2,))


def test_a_body_without_a_type_that_is_no_json_says_how_it_was_read():
    with pytest.raises(
        FormatError, match=r"no JSON: .*The request named no Content-Type, so the body was read as JSON\."
    ):
        read_rows(b"1,2\n", "", (2,))
