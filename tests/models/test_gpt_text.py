import pytest
from twofold.models import gpt_text


@pytest.mark.parametrize("text", ["", "plain", "Größe, 漢字 and 🙂\n\0"])
def test_text_survives_the_way_there_and_back(text):
    tokens = gpt_text.encode(text)
    assert all(0 <= token < gpt_text.END for token in tokens)
    assert gpt_text.decode(tokens) == text
    assert "".join(gpt_text.stream(tokens)) == text


def test_a_stream_never_splits_a_character():
    assert list(gpt_text.stream(gpt_text.encode("a🙂é"))) == ["a", "🙂", "é"]


def test_what_is_no_text_is_marked_and_the_end_is_silent():
    assert gpt_text.decode([97, 0xFF, 98, gpt_text.END, 0xF0, 0x9F]) == "a\ufffdb\ufffd"
