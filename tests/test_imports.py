"""What a start costs: how many modules each verb imports, and which packages never, by Python's own `-X importtime`.

Modules are counted, not milliseconds, so that a busy machine changes nothing. A verb that is over its budget imports
something before it is needed: put that import where it is used, or raise the number and say why in the commit. What
`serve` imports up to its first answer is kept by tests/serve/test_imports.py.
"""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.procs

TORCH = {"torch", "onnxruntime", "onnx", "onnxscript"}
SERVER = {"flask", "gunicorn", "werkzeug", "httptools"}
AWS = {"boto3", "botocore", "moto", "docker"}
TABLES = {"numpy", "scipy", "pyarrow", "PIL"}
PAGES = {"jinja2", "pygal", "rich", "tensorboardX"}

# Command of `python -m twofold...`: modules at most, packages that it may not import. --help is what every start of a
# verb imports at least, and what `twofold VERB --help` makes a person wait for.
BUDGETS = {
    "train --help": (320, TORCH | SERVER | AWS | TABLES | PAGES),
    "serve --help": (255, TORCH | SERVER | AWS | PAGES | {"scipy", "pyarrow", "PIL", "pydantic"}),
    "prepare --help": (490, TORCH | SERVER | AWS | PAGES | {"scipy"}),
    "monitor --help": (780, TORCH | SERVER | AWS | {"rich", "tensorboardX"}),
    "doctor --help": (290, TORCH | SERVER | AWS | TABLES | PAGES),
    "train.ledger_proof --help": (360, TORCH | SERVER | AWS | PAGES | {"scipy", "pyarrow", "PIL"}),
    "conform --help": (210, TORCH | SERVER | AWS | TABLES | {"pydantic", "jinja2", "pygal"}),
    "rehearse --help": (175, TORCH | SERVER | AWS | TABLES | PAGES),
    "lifecycle train --help": (580, TORCH | SERVER | {"moto", "docker"} | TABLES | PAGES),
    "__main__ --help": (265, TORCH | SERVER | AWS | TABLES | PAGES),
    "__main__ metrics": (265, TORCH | SERVER | AWS | TABLES | PAGES),
}
TRAINING = 320


@pytest.mark.parametrize("command", BUDGETS)
def test_a_verb_stays_within_its_budget(command, imported):
    most, never = BUDGETS[command]
    argv = [sys.executable, "-P", "-X", "importtime", "-m", *f"twofold.{command}".split()]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    found = imported(done.stderr)
    assert "twofold" in found.modules
    assert not found.packages & never
    print("COUNT", len(found.modules))
    assert len(found.modules) <= most


def test_the_parent_of_a_job_imports_neither_torch_nor_numpy(make_tree, imported):
    """From the first line to the last of a job whose rank trains and writes a model."""
    paths = make_tree({"training": {"a.csv": "0,1\n1,2\n"}}, epochs=1, hidden="4", batch_size=2)
    done = subprocess.run(
        [sys.executable, "-P", "-X", "importtime", "-m", "twofold.train"],
        check=True, capture_output=True, text=True, env={**os.environ, "SAGEMAKER_BASE_DIR": str(paths.base)},
    )  # fmt: skip
    assert (paths.model / "twofold.json").exists()
    found = imported(done.stderr)
    assert "twofold.train.launch" in found.modules
    assert not found.packages & (TORCH | SERVER | AWS | TABLES)
    print("COUNT", len(found.modules))
    assert len(found.modules) <= TRAINING
