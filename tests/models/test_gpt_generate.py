import itertools

import pytest
import torch
from twofold.errors import RequestError
from twofold.models import gpt_text
from twofold.models.gpt import gpt
from twofold.models.gpt_generate import Sampling, choose, generate, generate_text

GREEDY = Sampling(temperature=0)


@pytest.fixture(params=["rope", "learned"])
def module(request):
    torch.manual_seed(0)
    made = gpt(vocabulary=11, tokenizer="none", context=16, width=16, layers=2, heads=2, positions=request.param).eval()
    for parameter in made.parameters():  # larger than at the start of training, so that answers differ clearly
        parameter.data.mul_(4)
    return made


def uncached(module, prompt, count):
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(module(torch.tensor([tokens]))[0, -1].argmax()))
    return tokens[len(prompt) :]


def test_generation_with_a_cache_is_generation_without(module):
    assert list(generate(module, [1, 2, 3], max_tokens=13, sampling=GREEDY)) == uncached(module, [1, 2, 3], 13)


def test_a_seed_gives_the_same_tokens_and_another_seed_others(module):
    one, again, other = (list(generate(module, [1], max_tokens=12, sampling=Sampling(seed=seed))) for seed in (1, 1, 2))
    assert one == again != other


def test_a_full_context_goes_on_from_its_last_half(module):
    tokens = list(generate(module, [5], max_tokens=40, sampling=GREEDY))
    assert len(tokens) == 40
    # The context holds 16 tokens: the prompt and 15 are read, the token after them is the 16th that comes out.
    assert tokens[16] == uncached(module, tokens[8:16], 1)[0]


def test_of_a_long_prompt_the_end_is_read(module):
    prompt = [token % 11 for token in range(50)]
    assert list(generate(module, prompt, max_tokens=1, sampling=GREEDY)) == uncached(module, prompt[-16:], 1)


def test_a_stop_token_ends_it_and_is_not_given(module):
    tokens = list(generate(module, [3], max_tokens=12, sampling=Sampling(seed=3)))
    stop = tokens[5]
    stopped = list(generate(module, [3], max_tokens=12, sampling=Sampling(seed=3), stop=frozenset({stop})))
    assert stopped == list(itertools.takewhile(lambda token: token != stop, tokens))


def test_tokens_come_one_by_one_and_closing_ends_the_work(module):
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    stream = generate(module, [1], max_tokens=10, sampling=GREEDY)
    next(stream), next(stream)
    stream.close()
    assert len(calls) == 2


SCORES = torch.tensor([0.5, 0.25, 0.15, 0.1]).log()


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ({}, [0.5, 0.25, 0.15, 0.1]),
        ({"temperature": 0.5}, [0.5**2, 0.25**2, 0.15**2, 0.1**2]),
        ({"temperature": 0}, [1, 0, 0, 0]),
        ({"temperature": 5e-324}, [1, 0, 0, 0]),
        ({"top_k": 2}, [0.5, 0.25, 0, 0]),
        ({"top_p": 0.4}, [1, 0, 0, 0]),
        ({"top_p": 5e-324}, [1, 0, 0, 0]),
        ({"top_p": 0.8}, [0.5, 0.25, 0.15, 0]),
        ({"top_k": 1, "top_p": 0.9}, [1, 0, 0, 0]),
    ],
)
def test_tokens_are_as_frequent_as_they_are_probable(sampling, expected):
    random, draws = torch.Generator().manual_seed(0), 4000
    counts = torch.zeros(4)
    for _ in range(draws):
        counts[choose(SCORES, Sampling(**sampling), random)] += 1
    wanted = torch.tensor(expected, dtype=torch.float32)
    # Four standard deviations of a share of 4,000 draws are at most 0.032.
    assert torch.allclose(counts / draws, wanted / wanted.sum(), atol=0.032)
    assert not counts[wanted == 0].any()


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -1}, {"temperature": float("nan")}, {"top_k": -1}, {"top_p": 0}, {"seed": 1 << 63}],
)
def test_settings_out_of_bounds_are_refused(wrong):
    with pytest.raises(RequestError, match=rf"{next(iter(wrong))} is .*expected"):
        Sampling(**wrong)


@pytest.mark.parametrize("prompt", [[], [3, 11], [-1]])
def test_a_prompt_that_cannot_be_read_is_refused_before_the_first_token(module, prompt):
    with pytest.raises(RequestError, match="The prompt"):
        generate(module, prompt, max_tokens=1)


def test_text_goes_in_and_comes_out(monkeypatch):
    module = gpt(context=16, width=16, layers=1, heads=2).eval()
    said = iter([*gpt_text.encode("né"), gpt_text.END, 65])
    asked = []

    def forward(tokens, cache):
        asked.extend(tokens[0].tolist())
        cache.length += tokens.shape[1]
        scores = torch.zeros(1, tokens.shape[1], 257)
        scores[0, -1, next(said)] = 1
        return scores

    monkeypatch.setattr(module, "forward", forward)
    assert list(generate_text(module, "ö", max_tokens=9, sampling=GREEDY)) == ["n", "é"]
    assert asked[:3] == [gpt_text.END, *gpt_text.encode("ö")]


def test_text_for_a_model_of_tokens_is_refused(module):
    with pytest.raises(RequestError, match="trained on tokens"):
        generate_text(module, "text", max_tokens=1)
