import io
import json

import numpy as np
import pytest
from twofold.contract.endpoint import Endpoint
from twofold.errors import ConfigError, PlatformError
from twofold.serve.app import create_app
from twofold.serve.model import load
from twofold.serve.rows_service import RowsService

ROWS = np.array([[1, 2, 3, 4], [0.5, -1, 2, 0]], dtype=np.float32)
CSV = b"1,2,3,4\n0.5,-1,2,0\n"


def app_of(model, endpoint):
    return create_app(RowsService(model, endpoint), endpoint)


@pytest.fixture(scope="module")
def model(classifier):
    return load(classifier.folder)


@pytest.fixture(scope="module")
def client(model):
    return app_of(model, Endpoint(max_payload_bytes=1000)).test_client()


def error_of(response, code):
    assert response.status_code == code
    assert response.content_type == "application/json"
    error = json.loads(response.data)["error"]
    assert error["code"] == code
    assert "Traceback" not in error["message"]
    return error["message"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_ping_is_200_and_empty(client, method):
    response = client.open("/ping", method=method)
    assert (response.status_code, response.data) == (200, b"")


def test_a_classifier_answers_probabilities_and_labels(client, classifier):
    response = client.post("/invocations", json={"instances": ROWS.tolist()})
    assert response.content_type == "application/json"
    np.testing.assert_allclose(response.json["predictions"], classifier.answers(ROWS), atol=1e-6)
    assert response.json["labels"] == classifier.labels(ROWS)


def test_a_regression_answers_numbers(regressor):
    client = app_of(load(regressor.folder), Endpoint()).test_client()
    response = client.post("/invocations", data=CSV, content_type="text/csv")
    assert response.json.keys() == {"predictions"}
    np.testing.assert_allclose(response.json["predictions"], regressor.answers(ROWS), atol=1e-6)
    response = client.post("/invocations", data=CSV, content_type="text/csv", headers={"Accept": "text/csv"})
    assert len(response.data.splitlines()) == 2


def test_a_batch_transform_is_told_how_much_to_send(client):
    response = client.get("/execution-parameters")
    assert (response.status_code, response.json["BatchStrategy"]) == (200, "MULTI_RECORD")


@pytest.mark.parametrize("path", ["/x", "/models", "/metrics", "/v1/chat/completions", "/ping/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_paths_are_404(client, path, method):
    assert "expected GET /ping or POST /invocations" in error_of(client.open(path, method=method), 404)


@pytest.mark.parametrize(("path", "method"), [("/invocations", "GET"), ("/invocations", "PUT"), ("/ping", "DELETE")])
def test_other_methods_are_405_and_name_those_allowed(client, path, method):
    response = client.open(path, method=method)
    assert "POST /invocations" in error_of(response, 405)
    assert "POST" in response.headers["Allow"]


@pytest.mark.parametrize(
    ("body", "content_type", "code", "words"),
    [
        (b"<a/>", "application/xml", 415, "application/xml"),
        (b"", "text/csv", 400, "empty"),
        (b"1,2,3\n", "text/csv", 400, "line 1 has 3 values, expected 4"),
        (b'{"instances": [[1, 2, 3]]}', "application/json", 400, "instances[0]: 3 values, expected 4"),
        (b'{"instances": [1, 2, 3, 4]}', "application/json", 400, "flat"),
        (b'{"instances": [[1, 2, 3, NaN]]}', "application/json", 400, "NaN"),
        (b"1,2,3,nan\n", "text/csv", 400, "line 1, column 4"),
        (b"\x93NUMPY", "application/x-npy", 400, "NPY"),
        (b"1," * 2000, "text/csv", 413, "expected at most 1000"),
    ],
)
def test_what_cannot_be_answered_says_what_to_change(client, body, content_type, code, words):
    assert words in error_of(client.post("/invocations", data=body, content_type=content_type), code)


def test_what_cannot_be_accepted_is_406(client):
    response = client.post("/invocations", data=CSV, content_type="text/csv", headers={"Accept": "image/png"})
    assert "image/png" in error_of(response, 406)


def test_a_missing_content_type_is_json(client):
    assert client.post("/invocations", data=json.dumps(ROWS.tolist())).status_code == 200
    assert "named no Content-Type" in error_of(client.post("/invocations", data=CSV), 400)


def test_custom_attributes_come_back_on_answers_and_errors_and_other_headers_do_no_harm(client):
    name = "X-Amzn-SageMaker-Custom-Attributes"
    headers = {name: "trace=1, tenant=a", "X-Amzn-SageMaker-Inference-Id": "1", "X-Whatever": "\xff"}
    for data in (CSV, b"x"):
        response = client.post("/invocations", data=data, content_type="text/csv", headers=headers)
        assert response.headers[name] == "trace=1, tenant=a"
    assert name not in client.post("/invocations", data=CSV, content_type="text/csv").headers


def test_the_default_of_accept_is_the_setting(model):
    client = app_of(model, Endpoint(default_accept="text/csv")).test_client()
    response = client.post("/invocations", data=CSV, content_type="text/csv", headers={"Accept": "*/*"})
    assert response.content_type == "text/csv; charset=utf-8"
    with pytest.raises(ConfigError):
        app_of(model, Endpoint(default_accept="text/html"))


@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), PlatformError("secret"), MemoryError("secret")])
def test_an_unexpected_error_is_logged_under_an_id_and_only_the_id_is_told(model, monkeypatch, caplog, error):
    def fail(rows):
        raise error

    monkeypatch.setattr(model, "predict", fail)
    client = app_of(model, Endpoint()).test_client()
    response = client.post("/invocations", data=CSV, content_type="text/csv")
    message = error_of(response, error.status if isinstance(error, PlatformError) else 500)
    assert "secret" not in message
    request_id = next(word for word in message.split() if len(word) == 32)
    assert request_id in caplog.text
    assert "secret" in caplog.text


def test_answers_are_not_cut_when_a_body_is_streamed(client):
    response = client.post(
        "/invocations", input_stream=io.BytesIO(CSV), content_length=len(CSV), content_type="text/csv"
    )
    assert len(response.json["predictions"]) == 2
