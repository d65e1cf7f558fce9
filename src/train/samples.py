"""Which fields of a sample are its features and which is its label, and both as the matrix that dense models take."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, DataError
from ..stream.shards import Columns

LABELS = ("label", "labels", "target", "y", "cls", "class")
"""Names that mean the label where the hyperparameter `label` does not say which."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a channel's samples that training uses."""

    label: str
    features: tuple[str, ...]
    """Fields whose values, one behind the other, are the features of a sample."""
    width: int
    """Values of one sample in all of `features`."""

    def split(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Features `[n, width]` and labels `[n]` of a batch, float32.

        Raises:
            DataError: a field is missing, or of another shape than in the first sample.
        """
        parts = [self._matrix(name, batch.get(name)) for name in self.features]
        rows = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        labels = self._matrix(self.label, batch.get(self.label))
        if rows.shape[1] != self.width or labels.shape[1] != 1:
            raise DataError(
                f"Samples have {rows.shape[1]} features and {labels.shape[1]} labels. Expected {self.width} and 1, as in the "
                f"first sample of the training channel."
            )
        return rows, labels[:, 0]

    def _matrix(self, name: str, column: Any) -> Tensor:  # noqa: ANN401 - a batch holds what the data holds
        if column is None:
            raise DataError(f"A sample has no field {name!r}. Expected the fields of the training channel in every sample.")
        if not isinstance(column, Tensor):
            raise DataError(
                f"Field {name!r} differs in shape from sample to sample, or is no number. Expected as many numbers in every "
                f"sample: resize images and pad lists with `prepare` or before it, or leave the field out."
            )
        return column.reshape(len(column), -1).to(torch.float32)


def choose_fields(sample: Columns, label: str, channel: str) -> Fields:
    """Choose the label and the features by the first sample of a channel.

    Args:
        sample: columns of one sample.
        label: field that the hyperparameter `label` names; empty: one of `LABELS`, else the first numeric field.
        channel: name of the channel, for messages.

    Raises:
        ConfigError: there is no such field.
        DataError: no number to learn from.
    """
    numeric = [name for name, column in sample.items() if isinstance(column, np.ndarray) and column.dtype.kind in "biuf"]
    if label and label not in numeric:
        raise ConfigError(
            f"label is {label!r}; the numeric fields of channel {channel!r} are: {', '.join(numeric) or 'none'}. Set 'label' to "
            f"one of them."
        )
    chosen = label or next((name for name in LABELS if name in numeric), next(iter(numeric), ""))
    features = tuple(name for name in numeric if name != chosen)
    if not features:
        raise DataError(
            f"Channel {channel!r} has the fields {', '.join(sample) or 'none'}, of which {len(numeric)} hold numbers. Expected a "
            f"label and at least one field of features."
        )
    width = sum(int(np.prod(np.shape(sample[name])[1:], dtype=np.int64)) for name in features)
    return Fields(chosen, features, width)
