"""docs/fidelity.md says what the tables say, and the tables name what exists."""

from pathlib import Path

import pytest
from twofold.rehearse.fidelity import page
from twofold.rehearse.front import RUNTIME
from twofold.rehearse.operations import TABLE
from twofold.rehearse.shapes import service

DOCS = Path(__file__).parents[2] / "docs"


def fields(shape, prefix=""):
    """All paths of a shape, of every depth."""
    if shape.type_name == "list":
        yield from fields(shape.member, prefix)
    elif shape.type_name == "structure":
        for name, member in shape.members.items():
            yield f"{prefix}{name}"
            yield from fields(member, f"{prefix}{name}.")


def test_the_page_is_what_the_code_runs_by():
    assert (DOCS / "fidelity.md").read_text() == page(), "run `twofold rehearse fidelity > docs/fidelity.md`"


@pytest.mark.parametrize("name", TABLE)
def test_every_field_of_the_table_exists(name):
    known = set(fields(service().operation_model(name).input_shape))
    assert {*TABLE[name].does.split(), *TABLE[name].keeps.split()} - known == set()


def test_the_runtime_has_no_other_operations():
    assert set(RUNTIME) == set(service("sagemaker-runtime").operation_names)
