"""From a summary to statistics.json and constraints.json."""

from .quantiles import C, K
from .schema import (
    Bucket,
    Categorical,
    CategoryBucket,
    Common,
    Constraints,
    Dataset,
    FeatureConstraints,
    FeatureStatistics,
    Kind,
    Kll,
    NumConstraints,
    NumericalDistribution,
    NumericalStatistics,
    Sketch,
    SketchParameters,
    Statistics,
    StringConstraints,
    StringDistribution,
    StringStatistics,
)
from .summary import Feature, Numbers, Summary

BUCKETS = 10
"""Ranges of a histogram, as the platform has them."""
MAX_DOMAIN = 100
"""Most texts of a column that become its domain."""


def statistics_of(summary: Summary) -> Statistics:
    """Write a summary in the platform's schema."""
    features = [_statistics(name, feature) for name, feature in summary.features.items()]
    return Statistics(dataset=Dataset(item_count=summary.rows), features=features)


def constraints_of(summary: Summary) -> Constraints:
    """Propose what later traffic must be: as this was."""
    return Constraints(features=[_constraints(name, feature) for name, feature in summary.features.items()])


def kind_of(feature: Feature) -> Kind:
    """What a column holds."""
    if feature.texts.lengths.moments.count:
        return "String"
    count = feature.numbers.moments.count
    if not count:
        return "Unknown"
    return "Integral" if feature.numbers.whole == count else "Fractional"


def _statistics(name: str, feature: Feature) -> FeatureStatistics:
    kind, common = kind_of(feature), Common(num_present=feature.present, num_missing=feature.missing)
    if kind == "String":
        texts = feature.texts
        counts = texts.categories
        buckets = [] if counts is None else [CategoryBucket(value=text, count=n) for text, n in counts.most_common()]
        return FeatureStatistics(
            name=name,
            inferred_type=kind,
            string_statistics=StringStatistics(
                common=common,
                distinct_count=texts.distinct,
                distribution=StringDistribution(categorical=Categorical(buckets=buckets)) if buckets else None,
                lengths=_numerical(texts.lengths, common),
            ),
        )
    return FeatureStatistics(name=name, inferred_type=kind, numerical_statistics=_numerical(feature.numbers, common))


def _numerical(numbers: Numbers, common: Common) -> NumericalStatistics:
    moments = numbers.moments
    if not moments.count:
        return NumericalStatistics(common=common)
    buckets = [
        Bucket(lower_bound=low, upper_bound=high, count=round(share * moments.count, 6))
        for low, high, share in numbers.quantiles.distribution().buckets(BUCKETS)
    ]
    sketch = Sketch(parameters=SketchParameters(c=C, k=float(K)), data=numbers.quantiles.levels())
    return NumericalStatistics(
        common=common,
        mean=moments.mean,
        sum=moments.mean * moments.count,
        std_dev=moments.std,
        min=moments.minimum,
        max=moments.maximum,
        distribution=NumericalDistribution(kll=Kll(buckets=buckets, sketch=sketch)),
    )


def _constraints(name: str, feature: Feature) -> FeatureConstraints:
    kind, total = kind_of(feature), feature.present + feature.missing
    number = kind in {"Integral", "Fractional"}
    counts = feature.texts.categories
    domain = sorted(counts) if kind == "String" and counts and len(counts) <= MAX_DOMAIN else None
    return FeatureConstraints(
        name=name,
        inferred_type=kind,
        completeness=feature.present / total if total else 1.0,
        num_constraints=NumConstraints(is_non_negative=not feature.numbers.negative) if number else None,
        string_constraints=StringConstraints(domains=domain) if domain else None,
    )
