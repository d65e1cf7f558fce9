"""docs/serving.md says what the code does."""

import re
from pathlib import Path

import pytest
from twofold.contract.endpoint import Endpoint, read_endpoint
from twofold.serve.gateway.head import MAX_HEAD, MAX_HEADERS, MAX_TARGET
from twofold.serve.gateway.intake import SPOOL
from twofold.serve.gateway.limits import Limits
from twofold.serve.gateway.websocket import FAREWELL, MOST
from twofold.serve.hot import MAX_BODY
from twofold.serve.settings import ServerSettings, read_server_settings

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
SOURCES = ("serve/settings.py", "contract/endpoint.py")
TABLE = dict(re.findall(r"^\| `((?:SAGEMAKER|TWOFOLD)_[A-Z_]+)` \| ([^|]+?) \|", PAGE, re.MULTILINE))


def test_every_setting_stands_in_a_table():
    root = Path(__file__).parents[2]
    sources = "".join((root / "src" / name).read_text(encoding="utf-8") for name in SOURCES)
    settings = set(re.findall(r"TWOFOLD_[A-Z_]+", sources))
    others = "".join((root / "docs" / name).read_text(encoding="utf-8") for name in ("handlers.md", "multi-model.md"))
    assert settings == {name for name in settings if name in TABLE or f"`{name}`" in others}
    assert {name for name in TABLE if name.startswith("TWOFOLD_")} <= settings


@pytest.mark.parametrize("name", TABLE)
def test_a_default_of_the_table_changes_nothing(name):
    default = TABLE[name].partition(" ")[0]
    if default in {"cores", "measured"}:
        return
    assert read_endpoint({name: default}) == Endpoint()
    assert read_server_settings({name: default}) == ServerSettings()


def test_limits_are_those_of_the_code():
    limits = Limits(folder=Path())
    text = " ".join(PAGE.split())
    for words in (
        f"a head of at most {MAX_HEAD >> 10} KB with {MAX_HEADERS} headers",
        f"an address of {MAX_TARGET >> 10} KB",
        f"within {limits.head:g} s",
        f"{limits.stall:g} s between two pieces",
        f"closed after {limits.idle:g} s",
        f"above {SPOOL >> 20} MB is kept in a file",
        f"of up to {MAX_BODY >> 10} KB",
        f"At most {MOST} connections a worker",
        f"silent for {limits.ask:g} s is asked by a ping and given up after {limits.silent:g} s",
        f"without a message for {limits.quiet / 60:g} minutes",
        f"for up to {FAREWELL:g} s, then it is closed with 1001",
    ):
        assert words in text
