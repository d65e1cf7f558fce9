import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from twofold.train import checkpoint_state
from twofold.train.checkpoint_state import Copying, Staging


def test_the_optimizer_waits_for_a_piece_that_another_thread_is_at(monkeypatch):
    begun, let_go = threading.Event(), threading.Event()
    alone = checkpoint_state._copy_alone

    def slowly(copy, source):
        begun.set()
        let_go.wait()
        alone(copy, source)

    monkeypatch.setattr(checkpoint_state, "_copy_alone", slowly)
    copying = Staging().begin({"a": torch.arange(5), "b": torch.ones(2)})
    with ThreadPoolExecutor(2) as threads:
        quiet = threads.submit(copying.finish_quietly)
        begun.wait()
        helping = threads.submit(copying.finish)
        with pytest.raises(TimeoutError):
            helping.result(0.2)
        let_go.set()
        quiet.result()
        helping.result()
    assert torch.equal(copying.copies["a"], torch.arange(5))
    assert torch.equal(copying.copies["b"], torch.ones(2))


def test_a_copy_that_failed_in_one_thread_fails_in_all(monkeypatch):
    monkeypatch.setattr(checkpoint_state, "_copy_alone", lambda copy, source: {}[source])
    copying = Staging().begin({"a": torch.ones(2), "b": torch.ones(2)})
    with pytest.raises(KeyError):
        copying.finish_quietly()
    with pytest.raises(RuntimeError, match="could not be copied"):
        copying.finish()


@pytest.mark.parametrize("finish", [Copying.finish, Copying.finish_quietly])
def test_pieces_make_the_whole(monkeypatch, finish):
    monkeypatch.setattr(checkpoint_state, "_PIECE_BYTES", 64)
    tensors = {
        "cut": torch.randn(7, 9),
        "turned": torch.randn(6, 8).T,
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 4),
        "half": torch.randn(33).to(torch.bfloat16),
        "flags": torch.randn(70) > 0,
    }
    staging = Staging()
    for _ in range(2):
        copying = staging.begin(tensors)
        finish(copying)
        assert copying.copies.keys() == tensors.keys()
        assert all(torch.equal(copy, tensors[name]) for name, copy in copying.copies.items())
        assert all(copy.data_ptr() != tensors[name].data_ptr() for name, copy in copying.copies.items() if copy.numel())
        tensors["cut"].neg_()
