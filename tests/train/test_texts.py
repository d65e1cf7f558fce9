import json

import numpy as np
import pytest
from twofold.errors import DataError
from twofold.models.gpt_text import END, decode, encode
from twofold.stream.catalog import Host
from twofold.train import texts
from twofold.train.texts import cut


@pytest.fixture
def rows(tmp_path):
    """Cut files into rows of tokens and return them, with what the channel is."""

    def made(files, context=4, **options):
        folder = tmp_path / "data"
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, content) if isinstance(content, np.ndarray) else path.write_bytes(content)
        found = cut(folder, context, channel="training", host=Host(tmp_path / "scratch"), **options)
        return None if found.folder == folder else np.load(found.folder / "rows.npy"), found.is_text

    return made


def joined(table):
    """Return the tokens of rows that overlap by one."""
    return [*table[0], *table[1:, 1:].ravel()]


@pytest.mark.parametrize("chunk", [1 << 20, 3])
def test_texts_stand_end_to_end_and_each_token_is_predicted_once(rows, monkeypatch, chunk):
    monkeypatch.setattr(texts, "_CHUNK_BYTES", chunk)
    table, is_text = rows({"b/b.txt": "üöä".encode(), "a.txt": b"abcd"})
    assert is_text
    assert joined(table) == [END, *encode("abcd"), END, *encode("üöä"), END]
    assert table.shape == (3, 5)


def test_the_last_row_reaches_back_to_be_whole(rows):
    table, _ = rows({"a.txt": b"0123456789"}, context=4)
    assert [decode(row.tolist()) for row in table] == ["0123", "34567", "6789"]
    assert table[2].tolist() == [*encode("6789"), END]


def test_texts_in_records_are_cut_alike(rows):
    lines = "\n".join(json.dumps({"text": text, "number": 1}) for text in ("abcd", "üöä"))
    table, is_text = rows({"a.jsonl": lines.encode()})
    assert is_text
    assert joined(table) == [END, *encode("abcd"), END, *encode("üöä"), END]


def test_a_long_row_of_tokens_is_cut_and_rows_of_tokens_stay(rows):
    table, is_text = rows({"a.npy": np.arange(9, dtype=np.uint16) * 5000})
    assert not is_text
    assert table.tolist() == [[0, 5000, 10000, 15000, 20000], [20000, 25000, 30000, 35000, 40000]]


def test_rows_of_tokens_stay_as_they_are(rows):
    assert rows({"a.npy": np.zeros((3, 7), dtype=np.int64)}) == (None, False)


def test_a_content_type_makes_any_file_a_text(rows):
    table, is_text = rows({"part-0": b"1,2\n3,4\n"}, content_type="text/plain; charset=utf-8")
    assert is_text
    assert joined(table)[:8] == [END, *encode("1,2\n3,4")]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.txt": b"ab"}, r"Channel 'training' has 4 tokens. Expected at least one row of context \+ 1 = 5"),
        ({"a.txt": b"good", "b.txt": b"ab\xe4cd"}, r"file b.txt: byte 2 is no UTF-8"),
        ({"a.txt": "bad at the end ü".encode()[:-1]}, r"file a.txt: byte 15 is no UTF-8"),
        ({"a.jsonl": b'{"text": "abc"}\n{"text": 5}\n'}, r"text"),
        ({}, "Channel 'training' is empty"),
    ],
)
@pytest.mark.parametrize("chunk", [1 << 20, 2])
def test_what_is_no_text_is_named(rows, tmp_path, monkeypatch, files, message, chunk):
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(texts, "_CHUNK_BYTES", chunk)
    with pytest.raises(DataError, match=message):
        rows(files)


def test_a_host_without_files_has_nothing_to_cut(rows, tmp_path):
    (tmp_path / "data").mkdir()
    assert rows({}, may_be_empty=True) == (None, False)


def test_those_who_wait_find_what_the_first_has_made(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("some text")
    first = cut(tmp_path / "data", 4, channel="training", host=Host(tmp_path / "scratch"))
    waiting = cut(tmp_path / "data", 4, channel="training", host=Host(tmp_path / "scratch", leads=False))
    assert first == waiting
