"""The table of models, with processes that are only pretended."""

import os

import pytest
from twofold.contract.endpoint import Endpoint
from twofold.errors import AlreadyLoaded, InsufficientMemory, ModelError, NotLoaded, Overloaded, TooSlow
from twofold.serve import registry as module
from twofold.serve.engine import EngineSettings
from twofold.serve.invocation import Invocation, Reply
from twofold.serve.registry import Registry


class Pretended:
    """A model's process that answers with its folder's name."""

    started = 0

    def __init__(self, folder, endpoint, settings, temporary):
        type(self).started += 1
        if folder.name == "broken":
            raise ModelError("broken")
        self.folder, self.pid, self.alive = folder, os.getpid(), True

    def answer(self, invocation):
        return Reply(self.folder.name.encode(), "text/plain")

    def end(self):
        self.alive = False


@pytest.fixture
def registry(monkeypatch, tmp_path):
    """registry(**settings) -> a table whose models take 100 bytes each."""
    monkeypatch.setattr(module, "ModelProcess", Pretended)
    monkeypatch.setattr(module, "private_memory", lambda _: 100)
    monkeypatch.setattr(module, "prepare_folder", lambda _: None)
    monkeypatch.setattr(Pretended, "started", 0)
    for name in ("a", "b", "broken"):
        (tmp_path / name).mkdir()
    return lambda **settings: Registry(Endpoint(**settings), EngineSettings(), tmp_path)


def test_the_budget_counts_what_is_loaded(registry, tmp_path):
    table = registry(models_memory_bytes=250)
    table.load("one", str(tmp_path / "a"))
    table.load("two", str(tmp_path / "a"))
    with pytest.raises(InsufficientMemory, match="loaded it takes 100 bytes, 200 of 250 are taken by 2 other models"):
        table.load("three", str(tmp_path / "a"))
    table.unload("one")
    table.load("three", str(tmp_path / "a"))
    assert [entry.name for entry in table.names_after("", 10)] == ["three", "two"]


def test_files_that_cannot_fit_are_not_even_loaded(registry, tmp_path):
    (tmp_path / "a" / "weights").write_bytes(bytes(1000))
    with pytest.raises(InsufficientMemory, match="its files alone have 1000 bytes"):
        registry(models_memory_bytes=900).load("one", str(tmp_path / "a"))
    assert Pretended.started == 0


def test_what_failed_to_load_is_not_there(registry, tmp_path):
    table = registry()
    with pytest.raises(ModelError):
        table.load("one", str(tmp_path / "broken"))
    with pytest.raises(NotLoaded):
        table.get("one")
    table.load("one", str(tmp_path / "a"))
    with pytest.raises(AlreadyLoaded):
        table.load("one", str(tmp_path / "b"))


def test_a_process_that_ended_is_replaced(registry, tmp_path):
    table = registry()
    table.load("one", str(tmp_path / "a"))
    table.get("one").process.alive = False
    assert table.invoke("one", Invocation(b"")).body == b"a"
    assert Pretended.started == 2


def test_another_server_process_takes_the_models_over(registry, tmp_path, monkeypatch):
    table = registry()
    table.load("one", str(tmp_path / "a"))
    table.load("two", str(tmp_path / "b"))
    table.unload("one")
    table._entries.clear()
    table._process = -1  # as after a fork
    assert [entry.name for entry in table.names_after("", 10)] == ["two"]
    assert Pretended.started == 2, "loaded when it is asked for"
    assert table.invoke("two", Invocation(b"")).body == b"b"
    assert Pretended.started == 3


def test_a_busy_model_is_waited_for_only_so_long_and_by_so_many(registry, tmp_path):
    table = registry(timeout=1)
    table.load("one", str(tmp_path / "a"))
    with table.get("one").turn:
        with pytest.raises(TooSlow, match="busy for 1 s"):
            table.invoke("one", Invocation(b""))
        table.get("one").waiting = 16
        with pytest.raises(Overloaded):
            table.invoke("one", Invocation(b""))
    table.get("one").waiting = 0
    assert table.invoke("one", Invocation(b"")).status == 200
