import pytest
from twofold.contract.endpoint import Endpoint, read_endpoint
from twofold.errors import ConfigError

MIB = 1024 * 1024


def test_defaults_are_a_real_time_endpoint():
    endpoint = read_endpoint({})
    assert endpoint == Endpoint()
    assert (endpoint.port, endpoint.timeout, endpoint.startup_timeout) == (8080, 60, 600)
    assert endpoint.max_payload_bytes == 25 * MIB
    assert endpoint.default_accept == "application/json"
    assert (endpoint.workers, endpoint.safe_port_range, endpoint.program) == (None, None, None)


def test_empty_variables_count_as_not_set():
    names = (
        "SAGEMAKER_BIND_TO_PORT SAGEMAKER_SAFE_PORT_RANGE SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT SAGEMAKER_BATCH "
        "AWS_REGION SAGEMAKER_MODEL_SERVER_WORKERS SAGEMAKER_MODEL_SERVER_TIMEOUT SAGEMAKER_MAX_PAYLOAD_IN_MB "
        "SAGEMAKER_PROGRAM SAGEMAKER_BATCH_STRATEGY SAGEMAKER_CONTAINER_LOG_LEVEL SAGEMAKER_MULTI_MODEL"
    )
    assert read_endpoint(dict.fromkeys(names.split(), "")) == Endpoint()


def test_all_variables():
    assert read_endpoint(
        {
            "SAGEMAKER_BIND_TO_PORT": "9090",
            "SAGEMAKER_SAFE_PORT_RANGE": "21000-21100",
            "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv",
            "SAGEMAKER_MODEL_SERVER_WORKERS": "3",
            "SAGEMAKER_MODEL_SERVER_TIMEOUT": "120",
            "SAGEMAKER_STARTUP_TIMEOUT": "300",
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": "6",
            "SAGEMAKER_MULTI_MODEL": "true",
            "SAGEMAKER_PROGRAM": "inference.py",
            "SAGEMAKER_SUBMIT_DIRECTORY": "s3://b/s.tar.gz",
            "SAGEMAKER_REGION": "eu-west-1",
            "SAGEMAKER_CONTAINER_LOG_LEVEL": "10",
            "SOMETHING_ELSE": "x",
        }
    ) == Endpoint(
        port=9090,
        safe_port_range=(21000, 21100),
        default_accept="text/csv",
        workers=3,
        timeout=120,
        startup_timeout=300,
        max_payload_bytes=6 * MIB,
        multi_model=True,
        program="inference.py",
        submit_directory="s3://b/s.tar.gz",
        region="eu-west-1",
        log_level=10,
    )


@pytest.mark.parametrize(
    ("environ", "page"),
    [
        ({}, True),
        ({"TWOFOLD_PAGE": "false"}, False),
        ({"AWS_REGION": "eu-west-1"}, False),
        ({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x"}, False),
        ({"AWS_REGION": "eu-west-1", "TWOFOLD_PAGE": "true"}, True),
    ],
)
def test_people_find_a_page_unless_they_are_told_not_to_or_this_is_the_platform(environ, page):
    assert read_endpoint(environ).page is page


def test_time_out_in_seconds_wins():
    environ = {"SAGEMAKER_MODEL_SERVER_TIMEOUT": "1", "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": "90"}
    assert read_endpoint(environ).timeout == 90


@pytest.mark.parametrize("word", ["true", "True", "TRUE", "1"])
def test_batch_has_larger_bounds(word):
    endpoint = read_endpoint({"SAGEMAKER_BATCH": word})
    assert endpoint == Endpoint(batch=True, timeout=3600, max_payload_bytes=100 * MIB)


@pytest.mark.parametrize("word", ["false", "False", "0"])
def test_batch_can_be_denied(word):
    assert read_endpoint({"SAGEMAKER_BATCH": word}) == Endpoint()


def test_settings_of_a_batch_job():
    endpoint = read_endpoint(
        {
            "SAGEMAKER_BATCH": "true",
            "SAGEMAKER_BATCH_STRATEGY": "SINGLE_RECORD",
            "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "8",
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": "0",
            "SAGEMAKER_MODEL_SERVER_TIMEOUT": "600",
        }
    )
    assert endpoint.batch_strategy == "SINGLE_RECORD"
    assert endpoint.max_concurrent_transforms == 8
    assert endpoint.max_payload_bytes is None
    assert endpoint.timeout == 600


@pytest.mark.parametrize(
    ("word", "strategy"),
    [("MULTI_RECORD", "MULTI_RECORD"), ("MultiRecord", "MULTI_RECORD"), ("SingleRecord", "SINGLE_RECORD")],
)
def test_strategy_in_both_spellings(word, strategy):
    assert read_endpoint({"SAGEMAKER_BATCH_STRATEGY": word}).batch_strategy == strategy


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "0", "a whole number from 1 to 65535"),
        ("SAGEMAKER_BIND_TO_PORT", "65536", "a whole number from 1 to 65535"),
        ("SAGEMAKER_BIND_TO_PORT", "http", "a whole number"),
        ("SAGEMAKER_BIND_TO_PORT", "٨٠٨٠", "a whole number"),
        ("SAGEMAKER_SAFE_PORT_RANGE", "21000", "two ports"),
        ("SAGEMAKER_SAFE_PORT_RANGE", "21100-21000", "two ports"),
        ("SAGEMAKER_SAFE_PORT_RANGE", "0-70000", "two ports"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "0", "a whole number of at least 1"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "2.5", "a whole number"),
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT", "-1", "a whole number of at least 1"),
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS", "0", "a whole number of at least 1"),
        ("SAGEMAKER_STARTUP_TIMEOUT", "soon", "a whole number"),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "0", "a whole number of at least 1"),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "6MB", "a whole number"),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "9" * 5000, "a whole number"),
        ("SAGEMAKER_BATCH", "maybe", "true or false"),
        ("SAGEMAKER_MULTI_MODEL", "2", "true or false"),
        ("SAGEMAKER_BATCH_STRATEGY", "ALL", "SINGLE_RECORD or MULTI_RECORD"),
        ("SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", "0", "a whole number of at least 1"),
    ],
)
def test_broken_variable_is_named(name, value, expected):
    with pytest.raises(
        ConfigError, match=rf"variable {name} is '{value}'\. Expected {expected}.*Correct it in the model's"
    ):
        read_endpoint({name: value})
