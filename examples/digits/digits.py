"""The digits as channels of a training job: `python3 digits.py FOLDER` writes FOLDER/training and FOLDER/validation."""

import gzip
import sys
from pathlib import Path

PACKED = Path(__file__).parent / "digits.csv.gz"
_HELD_OUT_EVERY = 5


def read_lines() -> tuple[list[str], list[str]]:
    """Lines of the training part and of the held-out part, which is every fifth digit."""
    with gzip.open(PACKED, "rt", encoding="ascii") as file:
        lines = file.readlines()
    training = [line for number, line in enumerate(lines) if number % _HELD_OUT_EVERY]
    return training, lines[::_HELD_OUT_EVERY]


def write_channels(folder: Path) -> None:
    """Write `training/digits.csv` and `validation/digits.csv` below a folder."""
    for channel, lines in zip(("training", "validation"), read_lines(), strict=True):
        (folder / channel).mkdir(parents=True, exist_ok=True)
        (folder / channel / "digits.csv").write_text("".join(lines), encoding="ascii")
        print(f"{folder / channel / 'digits.csv'}: {len(lines)} digits")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 digits.py FOLDER")
    write_channels(Path(sys.argv[1]))
