import subprocess
import sys
from pathlib import Path

import pytest
import torch
from twofold.errors import ConfigError
from twofold.models.gpt import Cache, gpt, rotation

TINY = {"vocabulary": 11, "tokenizer": "none", "context": 16, "width": 16, "layers": 2, "heads": 2}


def model(**changes):
    torch.manual_seed(0)
    return gpt(**{**TINY, **changes}).eval()


def tokens(rows, length, seed=0):
    return torch.randint(0, 11, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("positions", ["rope", "learned"])
def test_a_token_depends_on_what_came_before_it_only(positions):
    module, first, second = model(positions=positions), tokens(2, 8), tokens(2, 8)
    second[:, 5] = (second[:, 5] + 1) % 11
    assert module(first).shape == (2, 8, 11)
    assert torch.allclose(module(first)[:, :5], module(second)[:, :5], atol=1e-6)
    assert not torch.allclose(module(first)[:, 5:], module(second)[:, 5:])


@pytest.mark.parametrize("positions", ["rope", "learned"])
@pytest.mark.parametrize("cuts", [[1] * 12, [12], [5, 1, 1, 5], [3, 4, 5]])
def test_reading_in_parts_with_a_cache_is_reading_at_once(positions, cuts):
    module, whole, cache = model(positions=positions), tokens(2, 12), Cache()
    parts = torch.cat([module(part, cache) for part in whole.split(cuts, dim=1)], dim=1)
    assert torch.allclose(parts, module(whole), atol=1e-5)
    assert cache.length == 12


@pytest.mark.parametrize("positions", ["rope", "learned"])
def test_the_order_of_tokens_matters(positions):
    module = model(positions=positions)
    there, back = module(torch.tensor([[1, 2, 3]])), module(torch.tensor([[2, 1, 3]]))
    assert not torch.allclose(there[0, -1], back[0, -1], atol=1e-6)


def test_rotary_positions_are_relative():
    """Far from the beginning, with nothing to see there, a token is read as at the beginning."""
    module = model(layers=1)
    attention, states = module.blocks[0].attention, torch.randn(1, 4, 16)
    here = attention(states, rotation(torch.arange(4), 8), None)
    there = attention(states, rotation(torch.arange(100, 104), 8), None)
    assert torch.allclose(here, there, atol=1e-5)


def test_no_weights_are_shared_and_all_are_trained():
    module = model(positions="learned").train()
    assert len({tensor.data_ptr() for tensor in module.state_dict().values()}) == len(module.state_dict())
    module(tokens(2, 16)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert len(module.blocks) == 2


def test_no_rows_and_the_meta_device_are_fine():
    assert model()(tokens(0, 4)).shape == (0, 4, 11)
    with torch.device("meta"):
        assert gpt()(torch.zeros(1, 3, dtype=torch.int64)).shape == (1, 3, 257)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"heads": 3}, "width is 16 with 3 heads"),
        ({"width": 6}, "width is 6 with 2 heads. Expected an even number"),
        ({"positions": "none"}, "positions is 'none', expected one of: rope, learned"),
        ({"tokenizer": "bytes"}, "tokenizer is 'bytes' with a vocabulary of 11"),
        ({"tokenizer": "words"}, "tokenizer is 'words'"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        gpt(**{**TINY, **wrong})


@pytest.mark.slow
def test_models_shard_by_their_blocks_and_answer_the_same():
    script = Path(__file__).parents[1] / "scripts" / "shard_models.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert found.keys() == {"tensor-parallel gpt", "fully-sharded gpt", "fully-sharded resnet"}
    assert all(float(error) < 1e-5 for error in found.values()), found
