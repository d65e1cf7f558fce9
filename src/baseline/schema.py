"""The files of Model Monitor: statistics.json, constraints.json and constraint_violations.json.

What a file holds beyond this is kept out; what it may leave out has the platform's default.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-statistics.html, -byoc-constraints.html and
-interpreting-violations.html.
"""

import json
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..contract.json_file import read_object
from ..errors import ConfigError

Kind = Literal["Integral", "Fractional", "String", "Unknown"]
Switch = Literal["Enabled", "Disabled"]
Robustness = Literal["Simple", "Robust", "linf_simple", "linf_robust"]

_Part = TypeVar("_Part", bound=BaseModel)


class Part(BaseModel):
    """Any part of these files."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Common(Part):
    """How many values are there."""

    num_present: int = 0
    num_missing: int = 0


class Bucket(Part):
    """A range of numbers."""

    lower_bound: float
    upper_bound: float
    count: float


class SketchParameters(Part):
    """Shape of a KLL sketch."""

    c: float = 0.64
    k: float = 2048.0


class Sketch(Part):
    """A KLL sketch: an item of level i stands for 2^i values."""

    parameters: SketchParameters = SketchParameters()
    data: list[list[float]] = []


class Kll(Part):
    """How numbers are distributed."""

    buckets: list[Bucket] = []
    sketch: Sketch | None = None


class NumericalDistribution(Part):
    """Container of `kll`."""

    kll: Kll | None = None


class NumericalStatistics(Part):
    """Statistics of numbers."""

    common: Common = Common()
    mean: float | None = None
    sum: float | None = None
    std_dev: float | None = None
    min: float | None = None
    max: float | None = None
    distribution: NumericalDistribution | None = None


class CategoryBucket(Part):
    """How often one text occurs."""

    value: str
    count: int


class Categorical(Part):
    """How often texts occur."""

    buckets: list[CategoryBucket] = []


class StringDistribution(Part):
    """Container of `categorical`."""

    categorical: Categorical | None = None


class StringStatistics(Part):
    """Statistics of texts; `lengths`, of their numbers of characters, is ours."""

    common: Common = Common()
    distinct_count: float | None = None
    distribution: StringDistribution | None = None
    lengths: NumericalStatistics | None = None


class FeatureStatistics(Part):
    """Statistics of a column."""

    name: str
    inferred_type: Kind = "Unknown"
    numerical_statistics: NumericalStatistics | None = None
    string_statistics: StringStatistics | None = None


class Dataset(Part):
    """The whole."""

    item_count: int = 0


class Statistics(Part):
    """`statistics.json`; the metrics of model quality are there when ground truth was."""

    version: float = 0.0
    dataset: Dataset = Dataset()
    features: list[FeatureStatistics] = []
    regression_metrics: dict[str, Any] | None = None
    binary_classification_metrics: dict[str, Any] | None = None
    multiclass_classification_metrics: dict[str, Any] | None = None


class NumConstraints(Part):
    """What numbers must be."""

    is_non_negative: bool = False


class StringConstraints(Part):
    """What texts must be."""

    domains: list[str] | None = None


class DistributionConstraints(Part):
    """When a distribution has drifted."""

    perform_comparison: Switch = "Enabled"
    comparison_threshold: float = 0.1
    comparison_method: Robustness = "Robust"
    categorical_comparison_threshold: float = 0.1
    categorical_drift_method: Literal["LInfinity", "ChiSquared"] = "LInfinity"


class MonitoringConfig(Part):
    """What is checked, and how strictly."""

    evaluate_constraints: Switch = "Enabled"
    emit_metrics: Switch = "Enabled"
    datatype_check_threshold: float = 0.1
    domain_content_threshold: float = 0.1
    distribution_constraints: DistributionConstraints = DistributionConstraints()


class Overrides(Part):
    """`monitoring_config` for one column: what is given takes the place of the whole file's."""

    evaluate_constraints: Switch | None = None
    emit_metrics: Switch | None = None
    datatype_check_threshold: float | None = None
    domain_content_threshold: float | None = None
    distribution_constraints: dict[str, Any] | None = None


class FeatureConstraints(Part):
    """What a column must be."""

    model_config = ConfigDict(populate_by_name=True)

    name: str
    inferred_type: Kind = "Unknown"
    completeness: float = 1.0
    num_constraints: NumConstraints | None = None
    string_constraints: StringConstraints | None = None
    overrides: Overrides | None = Field(default=None, alias="monitoringConfigOverrides")


class MetricConstraint(Part):
    """A bound of a metric of model quality."""

    threshold: float
    comparison_operator: Literal["LessThanThreshold", "GreaterThanThreshold"]


class Constraints(Part):
    """`constraints.json`; bounds of model quality are under the names that the platform has for them."""

    version: float = 0.0
    features: list[FeatureConstraints] = []
    monitoring_config: MonitoringConfig = MonitoringConfig()
    regression_constraints: dict[str, MetricConstraint] | None = None
    binary_classification_constraints: dict[str, MetricConstraint] | None = None
    multiclass_classification_constraints: dict[str, MetricConstraint] | None = None

    def bounds(self) -> dict[str, dict[str, MetricConstraint] | None]:
        """Bounds of model quality by the name of their group."""
        return {
            "regression_constraints": self.regression_constraints,
            "binary_classification_constraints": self.binary_classification_constraints,
            "multiclass_classification_constraints": self.multiclass_classification_constraints,
        }

    def config_of(self, feature: FeatureConstraints) -> MonitoringConfig:
        """Configuration that holds for one column."""
        if feature.overrides is None:
            return self.monitoring_config
        given = feature.overrides.model_dump(exclude_none=True)
        rest = self.monitoring_config.model_dump()
        distribution = rest["distribution_constraints"] | given.pop("distribution_constraints", {})
        return MonitoringConfig.model_validate(rest | given | {"distribution_constraints": distribution})


class Violation(Part):
    """What a window of traffic breaks; bounds of model quality name a metric, all others a feature."""

    feature_name: str | None = None
    metric_name: str | None = None
    constraint_check_type: str
    description: str


class Violations(Part):
    """`constraint_violations.json`."""

    violations: list[Violation] = []


def read(path: Path, kind: type[_Part]) -> _Part:
    """Read one of the files.

    Raises:
        ConfigError: it is not there, or not of this schema.
    """
    content = read_object(path)
    if content is None:
        raise ConfigError(
            f"{path} does not exist or is empty. Expected the {path.name} that `monitor baseline` wrote: correct the "
            f"path."
        )
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"{path}: {place} is {json.dumps(first['input'], default=str)[:80]}. Expected: {first['msg']}. Correct it, "
            f"or write the file anew with `monitor baseline`."
        ) from error


def write(path: Path, content: Part) -> None:
    """Write one of the files."""
    text = content.model_dump_json(exclude_none=True, by_alias=True, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
