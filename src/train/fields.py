"""What of a sample a model takes: rows of numbers with a label, images with a label, or tokens and those that follow.

takes      from                                       a row of the batch           labels
numbers    fields of numbers, the label apart         float32 [features]           float32
pixels     an image field, [h, w, 3] or [h, w]        uint8 [3, h, w]              float32
tokens     an integer field of t + 1 tokens           int64 [t], the first t       int64 [t], the last t
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..contract.artifact import Dtype
from ..errors import ConfigError, DataError
from ..formats import images
from ..stream.shards import Columns

Takes: TypeAlias = Literal["numbers", "pixels", "tokens"]
"""What a model takes."""
Wish: TypeAlias = Takes | Literal["auto"]
"""What a job wants of a channel; auto: pixels where there are images, else numbers."""

LABELS = ("label", "labels", "target", "y", "cls", "class")
"""Names that mean the label where the hyperparameter `label` does not say which."""
DTYPES: Mapping[Takes, Dtype] = {"numbers": "float32", "pixels": "uint8", "tokens": "int64"}
_ARRAY = "data"
_NUMERIC = "biuf"
_COLOURS = 3


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a channel's samples that training uses."""

    label: str
    """Field of the label; empty where it is the first value of the only field, as in an NPY table, and for tokens."""
    features: tuple[str, ...]
    """Fields whose values, one behind the other, are the features of a sample; one field for pixels and tokens."""
    shape: tuple[int, ...]
    """Shape of one row that the model takes."""
    takes: Takes = "numbers"
    """What is made of the features."""
    size: int = 0
    """Side in pixels to which images are brought; 0: all have the size of the first one."""
    text_label: bool = False
    """Whether labels are words."""
    names: tuple[str, ...] = ()
    """Words that are labels, in order: a label becomes its place among them."""

    @property
    def width(self) -> int:
        """Values of one row."""
        return math.prod(self.shape)

    @property
    def summary(self) -> str:
        """The row in a few words, for the log."""
        if self.takes == "pixels":
            return f"{self.shape[2]} x {self.shape[1]} pixels"
        return f"{self.width} {'tokens' if self.takes == 'tokens' else 'features'}"

    @property
    def empty(self) -> tuple[Tensor, Tensor]:
        """No rows and no labels."""
        if self.takes == "tokens":
            return torch.empty(0, *self.shape, dtype=torch.int64), torch.empty(0, *self.shape, dtype=torch.int64)
        return torch.empty(0, *self.shape, dtype=getattr(torch, DTYPES[self.takes])), torch.empty(0)

    def split(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Rows `[n, *shape]` and labels of a batch.

        Raises:
            DataError: a field is missing, or of another shape than in the first sample.
        """
        if self.takes == "pixels":
            return self._pixels(batch.get(self.features[0])), self._labels(batch)
        if self.takes == "tokens":
            tokens = self._matrix(self.features[0], batch.get(self.features[0]), torch.int64)
            self._check(tokens.shape[1] - 1, 1)
            return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        parts = [self._matrix(name, batch.get(name)) for name in self.features]
        rows = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        if self.label:
            labels = self._labels(batch)
        else:
            labels, rows = rows[:, 0].contiguous(), rows[:, 1:].contiguous()
        self._check(rows.shape[1], 1)
        return rows, labels

    def _labels(self, batch: Mapping[str, Any]) -> Tensor:
        if self.text_label:
            return self._numbered(batch.get(self.label))
        labels = self._matrix(self.label, batch.get(self.label))
        self._check(self.width, labels.shape[1])
        return labels[:, 0]

    def _numbered(self, words: Any) -> Tensor:  # noqa: ANN401 - a batch holds what the data holds
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise DataError(f"Label {self.label!r} is no word in some sample. Expected words, as in the first sample.")
        places = {name: place for place, name in enumerate(self.names)}
        unknown = next((word for word in words if word not in places), None)
        if unknown is not None:
            raise DataError(
                f"Label {unknown!r:.80} is not among those of the training channel: {', '.join(self.names[:10])}. "
                f"Expected every label to occur there: add such samples to it, or drop these."
            )
        return torch.tensor([places[word] for word in words], dtype=torch.float32)

    def _check(self, features: int, labels: int) -> None:
        if features != self.width or labels != 1:
            raise DataError(
                f"Samples have {features} features and {labels} labels. Expected {self.width} and 1, as in the first "
                f"sample of the training channel."
            )

    def _matrix(self, name: str, column: Any, dtype: torch.dtype = torch.float32) -> Tensor:  # noqa: ANN401
        if column is None:
            raise DataError(
                f"A sample has no field {name!r}. Expected the fields of the training channel in every sample."
            )
        if not isinstance(column, Tensor):
            raise DataError(
                f"Field {name!r} differs in shape from sample to sample, or is no number. Expected as many numbers in "
                f"every sample: resize images and pad lists with `prepare` or before it, or leave the field out."
            )
        return column.reshape(len(column), math.prod(column.shape[1:])).to(dtype)

    def _pixels(self, column: Any) -> Tensor:  # noqa: ANN401 - a batch holds what the data holds
        """Images `[n, h, w, 3]` or `[n, h, w]`, or a list of them, as uint8 `[n, 3, h, w]`."""
        if column is None:
            raise DataError(f"A sample has no image {self.features[0]!r}. Expected one in every sample.")
        if self.size:
            column = torch.from_numpy(np.stack([images.fitted(np.asarray(image), self.size) for image in column]))
        if not isinstance(column, Tensor) or column.dtype != torch.uint8 or not is_image(column.shape[1:]):
            raise DataError(
                f"Images of {self.features[0]!r} differ in size. Expected {self.shape[2]} x {self.shape[1]} pixels, as "
                f"in the first sample of the training channel: set 'image_size'."
            )
        pixels = column if column.dim() == 4 else column[..., None].expand(-1, -1, -1, _COLOURS)
        if tuple(pixels.shape[1:3]) != self.shape[1:]:
            raise DataError(
                f"Images are {pixels.shape[2]} x {pixels.shape[1]} pixels. Expected {self.shape[2]} x {self.shape[1]}, "
                f"as in the first sample of the training channel: set 'image_size'."
            )
        return pixels.permute(0, 3, 1, 2).contiguous()


def choose_fields(sample: Columns, label: str, channel: str, wish: Wish = "numbers", size: int = 0) -> Fields:
    """Choose the label and the features by the first sample of a channel.

    Args:
        sample: columns of one sample.
        label: field that the hyperparameter `label` names; empty: one of `LABELS`, else the first numeric field.
        channel: name of the channel, for messages.
        wish: what the model takes.
        size: side in pixels to which images are brought; 0: the first one's own.

    Raises:
        ConfigError: there is no such field.
        DataError: no number to learn from, or not what the model takes.
    """
    numeric = [
        name for name, column in sample.items() if isinstance(column, np.ndarray) and column.dtype.kind in _NUMERIC
    ]
    if wish == "tokens":
        return _token_field(sample, numeric, channel)
    words = [name for name, column in sample.items() if _is_word(column) and not name.startswith("__")]
    if label and label not in [*numeric, *words]:
        raise ConfigError(
            f"label is {label!r}; the fields of channel {channel!r} are: {', '.join([*numeric, *words]) or 'none'}. "
            f"Set 'label' to one of them."
        )
    if wish != "pixels" and numeric == [_ARRAY] and not label and (width := _width(sample[_ARRAY])) > 1:
        return Fields("", (_ARRAY,), (width - 1,))
    known = next((name for name in LABELS if name in numeric), next((name for name in LABELS if name in words), ""))
    chosen = label or known or next(iter(numeric), "")
    features = tuple(name for name in numeric if name != chosen)
    if not features:
        raise DataError(
            f"Channel {channel!r} has the fields {', '.join(sample) or 'none'}, of which {len(numeric)} hold numbers. "
            f"Expected a label and at least one field of features; in an array, two values a row, the label first."
        )
    if wish != "numbers":
        image = next((name for name in features if _holds_image(sample[name], colour=wish == "auto")), None)
        if image is not None:
            height, width = (size, size) if size else np.shape(sample[image])[1:3]
            return Fields(chosen, (image,), (_COLOURS, height, width), "pixels", size, chosen in words)
        if wish == "pixels":
            raise DataError(
                f"Channel {channel!r} has no image in its fields {', '.join(sample)}. Expected uint8 pixels [height, "
                f"width, 3] or [height, width] and a label: folders of images named by class, a WebDataset archive, or "
                f"an NPZ file with 'image' and 'label'. For rows of numbers set 'model' to 'mlp'."
            )
    shape = (sum(_width(sample[name]) for name in features),)
    return Fields(chosen, features, shape, text_label=chosen in words)


def _token_field(sample: Columns, numeric: list[str], channel: str) -> Fields:
    whole = [name for name in numeric if np.asarray(sample[name]).dtype.kind in "iu"]
    if len(whole) != 1 or _width(sample[whole[0]]) < 2:
        raise DataError(
            f"Channel {channel!r} has the fields {', '.join(sample) or 'none'}, of which {len(whole)} hold whole "
            f"numbers. Expected text, or one field of tokens: an NPY array of integers [samples, tokens] or [tokens]."
        )
    return Fields("", (whole[0],), (_width(sample[whole[0]]) - 1,), "tokens")


def is_image(shape: tuple[int, ...] | torch.Size) -> bool:
    """Tell whether values of this shape can be an image, `[height, width, 3]` or `[height, width]`."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] == _COLOURS)


def _holds_image(column: Any, *, colour: bool) -> bool:  # noqa: ANN401 - a column of any kind
    shape = np.shape(column)[1:]
    return np.asarray(column).dtype == np.uint8 and is_image(shape) and (len(shape) == 3 or not colour)


def _is_word(column: Any) -> bool:  # noqa: ANN401 - a column of any kind
    return isinstance(column, list) and len(column) == 1 and isinstance(column[0], str)


def _width(column: Any) -> int:  # noqa: ANN401 - a column of any kind
    return math.prod(np.shape(column)[1:])
