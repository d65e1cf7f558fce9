"""The description that the server publishes is valid, and holds against whatever schemathesis thinks of."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from openapi_spec_validator import validate
from twofold.contract.artifact import Architecture, Manifest, Signature
from twofold.contract.endpoint import Endpoint
from twofold.formats.table import MEDIA_TYPES
from twofold.serve.openapi import describe, describe_models

HOOKS = Path(__file__).parents[1] / "scripts"
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
# What a text must be to be CSV, or bytes to be NPY, the description cannot say.
BEYOND = "positive_data_acceptance"


def manifest(shape=(4,), dtype="float32", task="classification", classes=(0, 1, "two"), **arguments):
    return Manifest(
        task=task,
        architecture=Architecture(name="mlp", arguments=arguments),
        input=Signature(shape=list(shape), dtype=dtype),
        classes=list(classes) if classes else None,
    )


MODELS = {
    "table": manifest(),
    "regression": manifest(task="regression", classes=None),
    "images": manifest((3, 8, 8), "uint8"),
    "tokens": manifest((32,), "int64", "language-modelling", None, vocabulary=257),
    "large": manifest((3, 224, 224)),
    "script": None,
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("chat", [True, False])
def test_it_is_valid(name, chat):
    validate(describe(Endpoint(), MODELS[name], chat=chat))


def test_that_of_many_models_is_valid():
    validate(describe_models())


@pytest.mark.parametrize("name", set(MODELS) - {"script", "large"})
def test_every_example_can_be_read(name):
    shape = tuple(MODELS[name].input.shape)
    content = content_of(MODELS[name])
    examples = {kind: node["example"] for kind, node in content.items() if "example" in node}
    assert {"application/json", "text/csv", "application/jsonlines", "text/libsvm"} <= set(examples)
    jsonschema.validate(examples["application/json"], content["application/json"]["schema"])
    for kind, example in examples.items():
        body = example if isinstance(example, str) else json.dumps(example)
        np.testing.assert_array_equal(MEDIA_TYPES[kind].decode_rows(body.encode(), shape), np.zeros((1, *shape)))


def test_a_large_row_has_no_example():
    content = describe(Endpoint(), MODELS["large"], chat=False)["paths"]["/invocations"]["post"]["requestBody"][
        "content"
    ]
    assert not [kind for kind, node in content.items() if "example" in node]


@pytest.mark.parametrize(
    ("name", "row", "words"),
    [
        ("table", [1, 2, 3], "is too short"),
        ("table", [1, 2, 3, 1e39], "greater than or equal to the maximum"),
        ("table", [1, 2, 3, "4"], "is not of type 'number'"),
        ("tokens", [257] * 32, "greater than the maximum of 256"),
        ("tokens", [0.5] * 32, "is not of type 'integer'"),
    ],
)
def test_rows_that_the_model_does_not_take_do_not_fit(name, row, words):
    content = content_of(MODELS[name])
    rows = content["application/json"]["schema"]["anyOf"][-1]
    jsonschema.validate([[0] * len(row)] if len(row) != 3 else [[0] * 4], rows)
    with pytest.raises(jsonschema.ValidationError, match=words):
        jsonschema.validate([row], rows)


def content_of(model):
    return describe(Endpoint(), model, chat=False)["paths"]["/invocations"]["post"]["requestBody"]["content"]


def children(server):
    pid = server.process.pid
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def fuzz(server, examples, *arguments):
    """Let schemathesis ask; returns how many requests it sent."""
    workers = children(server)
    done = subprocess.run(
        [
            *(SCHEMATHESIS, "run", f"http://127.0.0.1:{server.port}/openapi.json", "--max-examples", str(examples)),
            *(
                "--seed",
                "1",
                "--phases",
                "examples,coverage,fuzzing",
                "--continue-on-failure",
                "--no-color",
                "--warnings",
                "off",
            ),
            *arguments,
        ],
        env={**os.environ, "SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(HOOKS)},
        cwd=server.log_path.parent,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:] + server.log[-4000:]
    assert workers <= children(server), "no worker is lost"
    assert "Traceback" not in server.log
    number = int(re.search(r"(\d+) generated", done.stdout)[1])
    print(f"{number} requests")
    return number


@pytest.fixture(scope="module")
def server(serving, classifier):
    return serving(classifier.base).ready()


def test_the_server_does_what_it_says(server):
    assert fuzz(server, 10, "--exclude-checks", BEYOND) > 100


@pytest.mark.slow
def test_the_server_does_what_it_says_for_long(server):
    assert fuzz(server, 1500, "--exclude-checks", BEYOND) > 1500


@pytest.mark.slow
def test_a_model_that_talks_does_what_it_says(serving, gpt):
    assert fuzz(serving(gpt[0]).ready(), 100, "--exclude-checks", BEYOND) > 500


@pytest.mark.slow
def test_many_models_do_what_they_say(serving, tmp_path, program):
    server = serving(tmp_path, SAGEMAKER_MULTI_MODEL="true").ready()
    wish = json.dumps({"model_name": "0", "url": str(program.folder)})
    assert server.ask("POST", "/models", wish)[0] == 200
    # Names may hold slashes, so that `x/invoke` is also the name of a model.
    beyond = f"{BEYOND},unsupported_method,allow_header_conformance,negative_data_rejection"
    assert fuzz(server, 300, "--exclude-checks", beyond) > 1000
