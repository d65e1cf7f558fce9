"""The notebooks of the examples, as they are kept; tests/image/test_studio.py runs them in the image for Studio."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_short_and_kept_without_outputs(notebook):
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["metadata"]["kernelspec"]["name"]) == (4, "python3")
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert content["cells"][0]["source"][0].startswith("# ")
    assert sum(len(cell["source"]) for cell in code) <= 100


def test_the_notebooks_are_listed():
    page = (NOTEBOOKS[0].parents[2] / "docs" / "image.md").read_text(encoding="utf-8")
    assert [path.name for path in NOTEBOOKS if f"`{path.name}`" not in page] == []
