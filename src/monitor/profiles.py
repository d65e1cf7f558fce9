"""What two windows of one feature are compared by: a distribution of numbers, or counts of categories."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..baseline.quantiles import Distribution
from ..baseline.schema import FeatureStatistics, NumericalStatistics
from ..baseline.summary import Feature


@dataclass(frozen=True, slots=True)
class Profile:
    """One feature in one window."""

    numbers: Distribution | None = None
    """Of a feature of numbers; of free text its lengths."""
    categories: Mapping[str, int] | None = None
    """Of a feature of texts, as long as they are few."""
    lengths: bool = False
    """Whether `numbers` are the lengths of free text."""

    @property
    def count(self) -> int:
        """Values behind it."""
        return sum((self.categories or {}).values()) if self.numbers is None else self.numbers.count


def profile_of_statistics(statistics: FeatureStatistics) -> Profile:
    """Read the profile of a feature of statistics.json."""
    texts = statistics.string_statistics
    if texts is None:
        return Profile(_distribution(statistics.numerical_statistics))
    found = texts.distribution.categorical if texts.distribution else None
    if found is not None and found.buckets:
        return Profile(categories={bucket.value: bucket.count for bucket in found.buckets})
    return Profile(_distribution(texts.lengths), lengths=True)


def profile_of_feature(feature: Feature, like: Profile) -> Profile:
    """Profile of a feature of a window, of the kind that the baseline has."""
    if like.categories is not None:
        return Profile(categories=feature.texts.categories or {})
    numbers = feature.texts.lengths if like.lengths else feature.numbers
    return Profile(numbers.quantiles.distribution() if numbers.moments.count else None, lengths=like.lengths)


def _distribution(numbers: NumericalStatistics | None) -> Distribution | None:
    kll = numbers.distribution.kll if numbers and numbers.distribution else None
    if numbers is None or kll is None:
        return None
    if kll.sketch is not None and any(kll.sketch.data):
        return Distribution.of_levels(kll.sketch.data, count=numbers.common.num_present, k=kll.sketch.parameters.k)
    edges = [(bucket.lower_bound, bucket.upper_bound, bucket.count) for bucket in kll.buckets]
    return Distribution.of_buckets(edges) if any(count for _, _, count in edges) else None
