"""`twofold.yaml`: written with every field, read with flags over it, refused with what to change."""

import pytest
import yaml
from twofold.errors import ConfigError
from twofold.lifecycle.config import read_config
from twofold.lifecycle.sections import Config, Section
from twofold.lifecycle.template import write_template


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "twofold.yaml"
    path.write_text(write_template({"project": "digits"}))
    return path


def test_what_init_writes_is_what_is_read(file):
    assert read_config(file) == Config(project="digits")


def fields(section):
    for name, field in section.model_fields.items():
        yield name, field
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from fields(kind)


def test_every_field_is_written_and_explained(file):
    text = file.read_text()
    for name, field in fields(Config):
        assert field.description, name
        assert f"# {field.description}\n" in text
        assert f"{name}:" in text


def test_flags_go_before_the_file_and_set_before_flags_that_were_not_given(file):
    config = read_config(
        file,
        ["train.hyperparameters.epochs=3", "train.hyperparameters.hidden=[8, 8]", "tags.team=blue"],
        {"train.instance_count": 2, "train.spot": None},
    )
    assert config.train.hyperparameters == {"epochs": 3, "hidden": [8, 8]}
    assert (config.train.instance_count, config.train.spot, config.tags) == (2, False, {"team": "blue"})


def test_a_channel_is_a_place_or_more(file):
    config = read_config(file, ["train.data={a: s3://b/a/, c: {uri: d, mode: Pipe}}"])
    assert (config.train.data["a"].uri, config.train.data["c"].mode) == ("s3://b/a/", "Pipe")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trian.spot=true", "trian is unknown. Did you mean 'train'?"),
        ("train.instance_cuont=2", "train.instance_cuont is unknown. Did you mean 'instance_count'?"),
        ("train.instance_count=0", "train.instance_count is 0. Input should be greater than or equal to 1"),
        ("deploy.mode=fast", "deploy.mode is 'fast'. Input should be 'realtime', 'serverless', 'async' or 'batch'"),
        ("deploy.memory_mb=1000", "deploy.memory_mb is 1000."),
        ("project=Digits", "project is 'Digits'."),
        ("deploy.name=other", "deploy.name is 'other', expected a name with 'digits' in it"),
        ("train.spot", "--set 'train.spot' has no form. Expected NAME=VALUE"),
        ("train.data=[", "the value is no YAML"),
        ("image.tag=1", "image.tag cannot be set"),
    ],
)
def test_what_does_not_fit_is_named_with_what_to_change(file, override, said):
    if override.startswith("image."):
        file.write_text("project: digits\nimage: x\n")
    with pytest.raises(ConfigError) as caught:
        read_config(file, [override])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "`twofold init` writes it"),
        ("a: [", "Expected YAML in UTF-8"),
        ("- a", "holds no keys"),
        ("image: x", "project is missing"),
        ("project: digits\ntrain:\n", "train is None"),
    ],
)
def test_a_file_that_is_none_says_so(tmp_path, text, said):
    path = tmp_path / "twofold.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert said in str(caught.value)


def test_the_project_that_init_writes_may_be_any_folders(tmp_path):
    for name in ("digits", "a-b-c"):
        assert yaml.safe_load(write_template({"project": name}))["project"] == name
    with pytest.raises(ConfigError, match="project is 'A b'"):
        write_template({"project": "A b"})
