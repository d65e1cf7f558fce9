import pytest
from twofold.contract.json_file import choice_field, describe, list_field, object_field, read_object, string_field
from twofold.errors import ConfigError


def test_missing_file_and_missing_folder_are_none(tmp_path):
    assert read_object(tmp_path / "no.json") is None
    (tmp_path / "file").touch()
    assert read_object(tmp_path / "file" / "no.json") is None


@pytest.mark.parametrize("content", [b"", b" \n\t", b"\xef\xbb\xbf"])
def test_blank_file_is_none(tmp_path, content):
    path = tmp_path / "blank.json"
    path.write_bytes(content)
    assert read_object(path) is None


def test_byte_order_mark_is_skipped(tmp_path):
    path = tmp_path / "bom.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_object(path) == {"a": 1}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"{", "is not JSON"),
        (b"{'a': 1}", "is not JSON"),
        (b"[" * 5000, "is not JSON"),
        (b'"text"', 'holds "text"'),
        (b"[1, 2]", r"holds \[1, 2\]"),
        (b"null", "holds null"),
        (b"\xff\xfe{}", "cannot be read"),
    ],
)
def test_broken_file_is_named(tmp_path, content, found):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"broken\.json {found}.*Expected"):
        read_object(path)


def test_folder_in_place_of_the_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_object(tmp_path)


def test_wrong_field_names_file_key_value_and_expectation(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(
        ConfigError, match=r"x\.json: train\.Mode is \"file\"\. Expected File or Pipe\. Correct train\.Mode"
    ):
        choice_field(path, "train.Mode", "file", ("File", "Pipe"), default="File")
    with pytest.raises(ConfigError, match="Expected a string"):
        string_field(path, "k", 3)
    with pytest.raises(ConfigError, match="Expected an object"):
        object_field(path, "k", [])
    with pytest.raises(ConfigError, match="Expected a list"):
        list_field(path, "k", {})


def test_null_is_absent(tmp_path):
    assert string_field(tmp_path, "k", None, default="d") == "d"
    assert choice_field(tmp_path, "k", None, ("a", "b"), default="b") == "b"
    assert object_field(tmp_path, "k", None) == {}
    assert list_field(tmp_path, "k", None) == []


def test_long_values_are_cut_in_messages():
    assert len(describe(["x"] * 1000)) == 80
    assert describe({"a": "é"}) == '{"a": "é"}'
