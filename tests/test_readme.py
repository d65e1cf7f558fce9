"""The README is true: its commands run, its tables are what the code does."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from twofold.contract import endpoint
from twofold.contract.metrics import RUN
from twofold.formats.table import MEDIA_TYPES
from twofold.train.config import TrainingConfig

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:<!-- (\S+)(?:: (\S+))? -->\n)?```sh\n(.*?)```", README, re.DOTALL)
HERE = "tests/test_readme.py"


def table(first_column: str) -> dict[str, list[str]]:
    """Rows of the table whose first column has this heading, by the word in backquotes that each begins with."""
    lines = README.split(f"| {first_column} |", 1)[1].splitlines()[2:]
    rows = [line.strip("|").split("|") for line in lines[: next(i for i, line in enumerate(lines) if not line)]]
    return {row[0].strip().split("`")[1]: [cell.strip() for cell in row[1:]] for row in rows}


def test_every_command_block_says_who_runs_it() -> None:
    assert BLOCKS
    for kind, place, block in BLOCKS:
        assert kind in {"runs", "verb"}, f"this block is run by nobody:\n{block}"
        if kind == "runs":
            assert (ROOT / place).is_file(), place


def test_verbs_of_the_readme_are_verbs_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    verbs = re.findall(r"\bmake ([a-z-]+)\b", "\n".join(block for _, _, block in BLOCKS))
    assert {"demo", "test", "image", "demo-image"} <= set(verbs)
    assert all(re.search(rf"^{verb}:", makefile, re.MULTILINE) for verb in verbs)


@pytest.mark.procs
@pytest.mark.parametrize("block", [block for _, place, block in BLOCKS if place == HERE])
def test_commands_run(block: str, run_block: Callable[[str], str]) -> None:
    last = run_block(block).splitlines()[-1]
    match = re.fullmatch(r"demo: ok accuracy=(0\.\d{3})", last)
    assert match, last
    assert float(match[1]) >= 0.96
    folder = ROOT / "build" / "demo"
    assert all((folder / name).stat().st_size > 10_000 for name in ("loss.png", "confusion.png", "model.tar.gz"))


def test_hyperparameter_table_is_the_configuration() -> None:
    rows = table("hyperparameter")
    assert set(rows) == set(TrainingConfig.model_fields)
    defaults = TrainingConfig().model_dump()
    for name, cells in rows.items():
        shown = cells[0].strip("`")
        assert shown == (defaults[name] if isinstance(defaults[name], str) else json.dumps(defaults[name])), name


def test_content_type_table_is_the_table_of_formats() -> None:
    shown = set(table("`Content-Type`, `Accept`"))
    assert shown <= set(MEDIA_TYPES)
    assert {MEDIA_TYPES[name].name for name in shown} == {entry.name for entry in MEDIA_TYPES.values()}


def test_variables_of_serve_are_read() -> None:
    source = Path(endpoint.__file__).read_text(encoding="utf-8")
    source += (ROOT / "src" / "contract" / "paths.py").read_text(encoding="utf-8")
    source += (ROOT / "src" / "contract" / "logs.py").read_text(encoding="utf-8")
    source += (ROOT / "src" / "serve" / "engine.py").read_text(encoding="utf-8")
    for name in table("environment variable"):
        assert f'"{name}"' in source, name


def test_files_that_the_readme_names_exist() -> None:
    named = re.findall(r"`((?:src|docker|examples|tests)/[^`\s]*|\.ci/\w+|buildspec\.yml)`?", README)
    named += re.findall(r"\]\(([A-Z][A-Za-z.]+)\)", README)
    assert named
    for name in named:
        assert (ROOT / name).exists(), name


def test_pages_name_every_metric_of_a_run() -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert all(f"\n| `{name}` |" in page for name in RUN)
