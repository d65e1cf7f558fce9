"""The house keeps its rules: floors, nevers, sizes, names. DESIGN.md says why; a broken rule is named with its line."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import twofold

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
FILES = sorted(SRC.rglob("*.py"))

# Each package, or file at the top, may import what stands on a lower floor, and itself.
FLOORS = {
    "__init__": 0,
    "errors": 0,
    "contract": 1,
    "formats": 2,
    "models": 3,
    "stream": 3,
    "baseline": 3,
    "charts": 3,
    "train": 4,
    "serve": 4,
    "prepare": 4,
    "monitor": 4,
    "doctor": 5,
    "rehearse": 5,
    "lifecycle": 5,
    "conform": 6,
    "__main__": 7,
}
# The command reaches the verbs by becoming their process, not by importing them.
NEVER = {
    "errors": {"torch", "flask", "boto3", "numpy", "pydantic", "click"},
    "contract": {"torch", "flask", "boto3", "numpy"},
    "formats": {"torch", "flask", "boto3", "pathlib", "os"},
    "models": {"flask", "boto3", "gunicorn"},
    "stream": {"flask", "boto3", "gunicorn"},
    "prepare": {"torch", "flask", "boto3", "gunicorn"},
    "baseline": {"torch", "flask", "boto3", "gunicorn"},
    "charts": {"torch", "flask", "boto3", "gunicorn"},
    "monitor": {"torch", "flask", "boto3", "gunicorn"},
    "train": {"flask", "boto3", "gunicorn"},
    "serve": {"boto3"},
    "doctor": {"torch", "flask", "boto3", "numpy"},
    "rehearse": {"torch", "gunicorn"},
    "lifecycle": {"torch", "flask", "numpy", "gunicorn"},
    "conform": {"torch", "flask", "boto3", "gunicorn"},
    "__main__": {"torch", "flask", "boto3", "numpy"},
}
NOWHERE = {"pickle", "cPickle", "dill", "cloudpickle", "src", "twofold"}
# After these doors nobody reads the environment.
DOORS = {
    "__main__.py",
    "doctor/__main__.py",
    "lifecycle/__main__.py",
    "monitor/__main__.py",
    "prepare/__main__.py",
    "prepare/worker.py",
    "rehearse/__main__.py",
    "serve/__main__.py",
    "stream/streaming_dataset.py",
    "train/__main__.py",
    "train/agent.py",
    "train/program.py",
    "train/script_rank.py",
    "train/starter.py",
}
READING_THE_ENVIRONMENT = {"os.environ", "os.getenv", "os.putenv"}
PARENT_OF_TRAIN = [
    *("__main__", "launch", "supervise", "config", "degrees", "reports", "failures", "hang", "host_memory", "checkup"),
    *("script", "script_failure", "script_hang", "script_rank", "script_requirements", "script_source"),
    *("starter", "culprit", "peers", "restart"),
]
# Code whose behaviour shows only in a running job or server.
TESTED_THROUGH = {
    "charts.py": "monitor/test_charts.py",
    "doctor/__main__.py": "doctor/test_doctor.py",
    "train/checkup.py": "doctor/test_doctor.py",
    "formats/rows.py": "formats/test_csv.py",
    "models/standardize.py": "models/test_table.py",
    "models/dense.py": "models/test_table.py",
    "models/user_code.py": "models/test_own.py",
    "serve/__main__.py": "serve/test_server.py",
    "serve/defaults.py": "serve/test_handlers.py",
    "serve/invocation.py": "serve/test_handlers.py",
    "serve/rows_service.py": "serve/test_app.py",
    "serve/model_process.py": "serve/test_models_app.py",
    "serve/replies.py": "serve/test_app.py",
    "serve/access.py": "serve/test_front.py",
    "serve/gateway/door.py": "serve/gateway/test_loop.py",
    "serve/hot.py": "serve/test_http.py",
    "serve/queued.py": "serve/test_runner.py",
    "serve/gateway/connection.py": "serve/gateway/test_loop.py",
    "serve/gateway/handler.py": "serve/gateway/test_loop.py",
    "serve/gateway/limits.py": "serve/gateway/test_loop.py",
    "serve/gateway/outlet.py": "serve/gateway/test_wsgi.py",
    "baseline/columns.py": "monitor/test_tables.py",
    "baseline/files.py": "monitor/test_baseline.py",
    "train/baseline.py": "monitor/test_training.py",
    "monitor/__main__.py": "monitor/test_run.py",
    "monitor/answers.py": "monitor/test_traffic.py",
    "monitor/observations.py": "monitor/test_quality.py",
    "monitor/profiles.py": "monitor/test_drift.py",
    "monitor/publish.py": "monitor/test_run.py",
    "lifecycle/": "lifecycle/test_walk.py",
    "lifecycle/verbs/": "lifecycle/test_walk.py",
    "prepare/": "prepare/test_run.py",
    "rehearse/": "rehearse/test_training.py",
    "conform/": "image/test_conform.py",
    "stream/ahead.py": "stream/test_pipe.py",
    "stream/fifo.py": "stream/test_pipe.py",
    "stream/framing.py": "stream/test_pipe.py",
    "stream/gunzip.py": "stream/test_pipe.py",
    "stream/record_stream.py": "stream/test_pipe.py",
    "stream/host_feed.py": "stream/test_pipe_ranks.py",
    "stream/parcels.py": "stream/test_workers.py",
    "stream/peer.py": "stream/test_pipe_ranks.py",
    "stream/pipe_formats.py": "stream/test_pipe.py",
    "stream/remote.py": "stream/test_s3.py",
    "stream/s3_catalog.py": "stream/test_s3.py",
    "stream/s3_client.py": "stream/test_s3.py",
    "stream/s3_shards.py": "stream/test_s3.py",
    "stream/dataset.py": "stream/test_catalog.py",
    "stream/files.py": "stream/test_catalog.py",
    "stream/folders.py": "stream/test_catalog.py",
    "stream/index.py": "stream/test_catalog.py",
    "stream/shards.py": "stream/test_catalog.py",
    "stream/rows.py": "stream/test_catalog.py",
    "stream/tables.py": "stream/test_catalog.py",
    "stream/together.py": "stream/test_loader.py",
    "train/__main__.py": "train/test_job.py",
    "train/checkpoint_choice.py": "train/test_checkpoint.py",
    "train/checkpoint_files.py": "train/test_checkpoint.py",
    "train/checkpoint_manifest.py": "train/test_checkpoint.py",
    "train/checkpoint_state.py": "train/test_checkpoint.py",
    "train/checkpoint_write.py": "train/test_checkpoint.py",
    "train/ledger_file.py": "train/test_ledger.py",
    "train/ledger_proof.py": "train/test_ledger.py",
    "train/piped.py": "train/test_modes.py",
    "train/agent.py": "train/test_script_mode.py",
    "train/culprit.py": "train/test_agent.py",
    "train/exits.py": "train/test_agent.py",
    "train/interrupt.py": "train/test_job.py",
    "train/loop.py": "train/test_job.py",
    "train/mesh.py": "train/test_sharding.py",
    "train/program.py": "train/test_job.py",
    "train/ranks.py": "train/test_job.py",
}
MAX_FILE, MAX_FUNCTION = 400, 60


def room(path: Path) -> str:
    """Package of a file, or the file's own name where it stands at the top."""
    inside = path.relative_to(SRC)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in FILES:
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path, tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """Line, module and whether it is ours, of every import; ours are dotted from the package, e.g. `contract.paths`."""
    home = path.relative_to(SRC).with_suffix("").parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name, False) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = [*home[: len(home) - node.level + 1], *(node.module or "").split(".")]
            for name in node.names:
                whole = ".".join(part for part in [*base, name.name] if part)
                yield node.lineno, whole if is_module(whole) else ".".join(filter(None, base)), True
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or "", False


def is_module(dotted: str) -> bool:
    place = SRC.joinpath(*dotted.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def test_every_room_has_a_floor_and_rules() -> None:
    rooms = {room(path) for path in FILES}
    assert rooms == set(FLOORS)
    assert rooms - {"__init__"} == set(NEVER)


def test_imports_only_go_down() -> None:
    upward = []
    for path, tree in trees():
        for line, module, ours in imports(path, tree):
            target = (module.split(".")[0] or "__init__") if ours else None
            # The package's face hands out names of the stream to scripts, and only when they are asked for.
            if target in (None, room(path)) or room(path) == "__init__":
                continue
            if FLOORS[target] >= FLOORS[room(path)]:
                upward.append(f"{path}:{line}: {room(path)} imports {target}")
    assert not upward, "\n".join(upward)


def test_nobody_imports_what_their_floor_never_does() -> None:
    broken = []
    for path, tree in trees():
        forbidden = NEVER.get(room(path), set()) | NOWHERE
        for line, module, ours in imports(path, tree):
            if not ours and module.split(".")[0] in forbidden:
                broken.append(f"{path}:{line}: {room(path)} imports {module}")
    assert not broken, "\n".join(broken)


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {
        ".".join(path.relative_to(SRC).with_suffix("").parts): {
            module for _, module, ours in imports(path, tree) if ours and is_module(module)
        }
        for path, tree in trees()
    }
    done: set[str] = set()

    def visit(module: str, trail: list[str]) -> None:
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for target in sorted(graph.get(module, set())):
                visit(target, [*trail, module])
            done.add(module)

    for module in sorted(graph):
        visit(module, [])


def test_only_the_doors_read_the_environment() -> None:
    readers = []
    for path, tree in trees():
        if path.relative_to(SRC).as_posix() in DOORS:
            continue
        attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        readers += [f"{path}:{node.lineno}" for node in attributes if ast.unparse(node) in READING_THE_ENVIRONMENT]
    assert not readers, "\n".join(readers)


def test_no_shell_and_no_assert_on_input() -> None:
    broken = []
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "shell":
                broken.append(f"{path}:{node.value.lineno}: shell=")
            if isinstance(node, ast.Assert):
                broken.append(f"{path}:{node.lineno}: assert")
            # Archives of others: contract/archives.py. Debian's Python 3.11.2 has no filter to make it safe.
            if isinstance(node, ast.Attribute) and node.attr == "extractall":
                broken.append(f"{path}:{node.lineno}: extractall")
    assert not broken, "\n".join(broken)


def test_files_and_functions_stay_small() -> None:
    large = []
    for path, tree in trees():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MAX_FILE:
            large.append(f"{path}: {lines} lines")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION:
                    large.append(f"{path}:{node.lineno}: {node.name} has {length} lines")
    assert not large, "\n".join(large)


def test_no_file_is_called_after_nothing() -> None:
    assert not [path for path in FILES if path.stem in {"utils", "util", "common", "helpers", "misc"}]


def test_package_list_is_what_is_on_the_disk() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(SRC) for path in FILES}
    assert sorted(listed) == sorted(".".join(["twofold", *folder.parts]) for folder in folders)


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert twofold.__version__ == project["version"]
    assert f"## [{project['version']}]" in changelog


def loaded_after(module: str) -> set[str]:
    """Top-level packages in memory after a module of ours is imported in a fresh interpreter."""
    code = f"import {module}, sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("module", PARENT_OF_TRAIN)
def test_parent_of_train_loads_no_torch(module: str) -> None:
    assert not loaded_after(f"twofold.train.{module}") & {"torch", "numpy", "flask", "boto3"}


def test_life_cycle_loads_what_a_laptop_has() -> None:
    """CI installs the command without the image's dependencies (examples/pipeline)."""
    assert not loaded_after("twofold.lifecycle.__main__") & {"torch", "numpy", "flask", "pyarrow", "rich", "moto"}


def test_command_loads_no_verb() -> None:
    assert not loaded_after("twofold.__main__") & {"torch", "numpy", "flask", "gunicorn", "boto3"}


def test_tests_mirror_the_source() -> None:
    """Every file of code has a test of its name in the folder of its name, or one that runs it through its verb."""
    missing = []
    for path in FILES:
        inside = path.relative_to(SRC)
        named = list((ROOT / "tests" / inside.parent).glob(f"test_{path.stem.strip('_')}*.py"))
        through = TESTED_THROUGH.get(inside.as_posix()) or TESTED_THROUGH.get(f"{inside.parent.as_posix()}/")
        if path.stem != "__init__" and not named and not (through and (ROOT / "tests" / through).is_file()):
            missing.append(str(inside))
    assert not missing, f"no test of its own for: {', '.join(missing)}"
