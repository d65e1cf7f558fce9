import pytest
from twofold.errors import ConfigError
from twofold.serve.settings import ServerSettings, read_server_settings


@pytest.mark.parametrize("environ", [{}, {"TWOFOLD_BATCH_ROWS": "", "TWOFOLD_QUEUE_MB": " ", "TWOFOLD_ACCESS_LOG": ""}])
def test_defaults(environ):
    assert read_server_settings(environ) == ServerSettings()


def test_every_setting_is_read():
    assert read_server_settings(
        {
            "TWOFOLD_BATCH_ROWS": "8",
            "TWOFOLD_QUEUE_REQUESTS": "9",
            "TWOFOLD_QUEUE_MB": "2",
            "TWOFOLD_ACCESS_LOG": "True",
            "TWOFOLD_METRICS_SECONDS": "0",
        }
    ) == ServerSettings(batch_rows=8, queue_requests=9, queue_bytes=2 << 20, access_log=True, metrics_seconds=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("TWOFOLD_BATCH_ROWS", "0"), ("TWOFOLD_QUEUE_MB", "1.5"), ("TWOFOLD_ACCESS_LOG", "maybe")],
)
def test_a_wrong_value_is_named(name, value):
    with pytest.raises(ConfigError, match=name):
        read_server_settings({name: value})
