"""An `/opt/ml` tree in a temporary folder."""

import json
from pathlib import Path

import pytest
from twofold.contract.paths import Paths


class Tree:
    """Writes the platform's files; text and bytes go in as they are, all else as JSON."""

    def __init__(self, base: Path) -> None:
        self.paths = Paths(base)

    def write(self, path: Path, content) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    def hyperparameters(self, content) -> Path:
        return self.write(self.paths.hyperparameters, content)

    def channels(self, content) -> Path:
        return self.write(self.paths.input_data_config, content)

    def cluster(self, content) -> Path:
        return self.write(self.paths.resource_config, content)


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "ml")
