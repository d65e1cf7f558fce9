"""The three cases of the benchmark: what a record is, and the source that every peer's data is written from."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BLOCK = 50_000
SIDE = 224
QUALITY = 90


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of record.

    The label of a record is its number, so that any batch can be checked against the source. Of records of one size it
    is a float32, SageMaker's usual label: as a varint such a number would make records of several sizes in protobuf.
    """

    name: str
    title: str
    shape: tuple[int, ...]
    """Of one record's features; of a JPEG its decoded pixels."""
    dtype: str
    label: str
    """Type of the label."""
    records: int
    batch: int

    @property
    def jpeg(self) -> bool:
        """Whether records are JPEG files."""
        return self.name == "jpeg"


CASES = {
    case.name: case
    for case in (
        Case("float32", "64 float32 + label", (64,), "float32", "float32", 2_000_000, 256),
        Case("uint8", "3x32x32 uint8 + label", (3, 32, 32), "uint8", "float32", 300_000, 256),
        Case("jpeg", "JPEG 224x224, 64 a batch", (SIDE, SIDE, 3), "uint8", "int32", 4_000, 64),
    )
}


class Source:
    """The records of a case on disk, as `features.npy` (or `jpeg/<number>.jpg`) and `labels.npy`."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case = case
        self.folder = folder
        self.labels: NDArray[np.generic] = np.arange(case.records).astype(case.label)
        self._features: NDArray[np.generic] | None = None

    @property
    def features(self) -> NDArray[np.generic]:
        """`[records, *shape]` over a memory map; not for JPEG."""
        if self._features is None:
            self._features = np.asarray(np.load(self.folder / "features.npy", mmap_mode="r"))
        return self._features

    def file(self, number: int) -> Path:
        """Path of one JPEG."""
        return self.folder / "jpeg" / f"{number:06d}.jpg"

    def rows(self) -> Iterator[tuple[int, NDArray[np.generic] | bytes]]:
        """Number and features (of a JPEG: its bytes) of each record, in order."""
        for number in range(self.case.records):
            yield number, self.file(number).read_bytes() if self.case.jpeg else self.features[number]

    def make(self) -> None:
        """Write the source, the same bytes each time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        np.save(self.folder / "labels.npy", self.labels)
        if self.case.jpeg:
            self._make_jpegs()
            return
        rng = np.random.default_rng(0)
        shape = (self.case.records, *self.case.shape)
        out = np.lib.format.open_memmap(self.folder / "features.npy", mode="w+", dtype=self.case.dtype, shape=shape)
        for start in range(0, self.case.records, BLOCK):
            block = out[start : start + BLOCK]
            if self.case.dtype == "float32":
                block[:] = rng.standard_normal(block.shape, dtype=np.float32)
            else:
                block[:] = rng.integers(0, 256, block.shape, dtype=np.uint8)
        out.flush()

    def _make_jpegs(self) -> None:
        self.file(0).parent.mkdir(exist_ok=True)
        rng = np.random.default_rng(0)
        for number in range(self.case.records):
            self.file(number).write_bytes(photo(rng))


def photo(rng: np.random.Generator) -> bytes:
    """A JPEG with the sizes and frequencies of a photograph: smooth colour, softer and finer noise (15 to 25 KB)."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    waves = rng.uniform(-6, 6, (3, 2))
    smooth = 128 + 70 * np.sin(waves[:, 0] * x[..., None] + waves[:, 1] * y[..., None] + rng.uniform(0, 6, 3))
    coarse = rng.normal(0, 18, (SIDE // 4, SIDE // 4, 3)).repeat(4, axis=0).repeat(4, axis=1)
    fine = rng.normal(0, rng.uniform(3, 7), (SIDE, SIDE, 1))
    out = io.BytesIO()
    Image.fromarray(np.clip(smooth + coarse + fine, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
