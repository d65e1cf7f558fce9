"""Files of the platform, good and broken, and its configuration for single columns."""

import pytest
from twofold.baseline import schema
from twofold.errors import ConfigError


def test_what_is_written_is_read(tmp_path):
    content = schema.Constraints(
        features=[schema.FeatureConstraints(name="x", inferred_type="Fractional", completeness=0.99)]
    )
    schema.write(tmp_path / "constraints.json", content)
    assert schema.read(tmp_path / "constraints.json", schema.Constraints) == content


def test_defaults_are_the_platforms():
    config = schema.Constraints().monitoring_config
    assert config.datatype_check_threshold == config.domain_content_threshold == 0.1
    assert config.distribution_constraints.comparison_threshold == 0.1
    assert config.distribution_constraints.comparison_method == "Robust"


def test_a_column_has_a_configuration_of_its_own():
    overrides = {"datatype_check_threshold": 0.5, "distribution_constraints": {"comparison_threshold": 0.9}}
    content = schema.Constraints.model_validate(
        {"features": [{"name": "x", "monitoringConfigOverrides": overrides}, {"name": "y"}]}
    )
    x, y = (content.config_of(feature) for feature in content.features)
    assert (x.datatype_check_threshold, x.distribution_constraints.comparison_threshold) == (0.5, 0.9)
    assert x.distribution_constraints.comparison_method == "Robust"
    assert y == content.monitoring_config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not exist or is empty"),
        ("{", "is not JSON"),
        ('{"features": [{"inferred_type": "String"}]}', "features.0.name"),
        ('{"monitoring_config": {"evaluate_constraints": "Perhaps"}}', "evaluate_constraints"),
    ],
)
def test_broken_files_are_named(tmp_path, text, message):
    path = tmp_path / "constraints.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        schema.read(path, schema.Constraints)
