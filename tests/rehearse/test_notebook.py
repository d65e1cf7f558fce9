"""Notebook instances with a small server of our own in place of JupyterLab, where the machine has none."""

import base64
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest
from botocore.exceptions import ClientError, WaiterError

from .conftest import ROLE

# What the tests ask of JupyterLab, as the real one answers it.
LAB = f"""#!{sys.executable}
import http.server, json, os, pathlib, sys
root = next(a.partition("=")[2] for a in sys.argv if a.startswith("--ServerApp.root_dir="))

class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path == "/api": return self.say(200, {{"version": "2.0"}})
        if query != "token=" + os.environ["JUPYTER_TOKEN"]: return self.say(403, {{}})
        self.say(200, {{"content": [{{"name": file.name}} for file in pathlib.Path(root).iterdir()]}})
    def say(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["JUPYTER_PORT"])), Handler).serve_forever()
"""
QUICK = {"Delay": 1, "MaxAttempts": 120}
OPEN = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """PATH of a machine that has JupyterLab."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "jupyter-lab").write_text(LAB)
    (folder / "jupyter-lab").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="module")
def lab(rehearse, path):
    rehearsal = rehearse("--backend", "process", "--grace", 2, PATH=path)
    yield rehearsal
    if rehearsal.process.poll() is None:
        assert rehearsal.stop() == 0


def script(text):
    return [{"Content": base64.b64encode(text.encode()).decode()}]


def wait(rehearsal, what, name):
    waiter = rehearsal.sagemaker.get_waiter(f"notebook_instance_{what}")
    waiter.wait(NotebookInstanceName=name, WaiterConfig=QUICK)


def files(rehearsal, name):
    """What JupyterLab shows to whoever has the presigned address."""
    url = rehearsal.sagemaker.create_presigned_notebook_instance_url(NotebookInstanceName=name)["AuthorizedUrl"]
    page, _, token = url.partition("?")
    with OPEN.open(f"{page.replace('/lab', '/api/contents')}?{token}") as answer:
        found = {entry["name"] for entry in json.load(answer)["content"]}
    with pytest.raises(HTTPError, match="403"):
        OPEN.open(page.replace("/lab", "/api/contents"))
    return found


@pytest.mark.slow
def test_it_runs_scripts_clones_stops_starts_and_goes(lab, rehearse, path, tmp_path):
    repository = tmp_path / "shared.git"
    subprocess.run(["git", "init", "--quiet", "--bare", repository], check=True)
    sagemaker = lab.sagemaker
    # Git finds the https address of the repository on this machine.
    on_create = f"""#!/bin/bash
git config --file /home/ec2-user/.gitconfig url."{repository}".insteadOf https://example.com/shared.git
touch /home/ec2-user/SageMaker/created
"""
    on_start = 'echo "started with $AWS_ENDPOINT_URL"\necho x >> /home/ec2-user/SageMaker/starts\n'
    sagemaker.create_notebook_instance_lifecycle_config(
        NotebookInstanceLifecycleConfigName="scripts", OnCreate=script(on_create), OnStart=script(on_start)
    )
    sagemaker.create_notebook_instance(
        NotebookInstanceName="n",
        InstanceType="ml.t3.medium",
        RoleArn=ROLE,
        LifecycleConfigName="scripts",
        DefaultCodeRepository="https://example.com/shared.git",
    )
    wait(lab, "in_service", "n")
    assert {"created", "starts", "shared"} <= files(lab, "n")
    (texts,) = lab.lines("/aws/sagemaker/NotebookInstances", "n/LifecycleConfigOnStart").values()
    assert texts == [f"started with {lab.address}"]
    with pytest.raises(ClientError, match="in status InService, expected Stopped or Failed"):
        sagemaker.delete_notebook_instance(NotebookInstanceName="n")

    assert lab.stop() == 0
    again = rehearse("--backend", "process", "--grace", 2, state=lab.state, PATH=path)
    wait(again, "in_service", "n")
    again.sagemaker.stop_notebook_instance(NotebookInstanceName="n")
    wait(again, "stopped", "n")
    again.sagemaker.update_notebook_instance(NotebookInstanceName="n", DisassociateLifecycleConfig=True)
    again.sagemaker.start_notebook_instance(NotebookInstanceName="n")
    wait(again, "in_service", "n")
    starts = lab.state / "notebooks" / "n" / "SageMaker" / "starts"
    assert starts.read_text() == "x\nx\n", "once more by the second rehearsal, then without its scripts"
    again.sagemaker.stop_notebook_instance(NotebookInstanceName="n")
    wait(again, "stopped", "n")
    again.sagemaker.delete_notebook_instance(NotebookInstanceName="n")
    wait(again, "deleted", "n")
    assert not list((lab.state / "notebooks").iterdir())
    assert again.stop() == 0


@pytest.mark.slow
def test_a_script_that_fails_fails_the_instance_and_others_are_refused(rehearse, path):
    rehearsal = rehearse("--backend", "process", "--grace", 2, PATH=path)
    sagemaker = rehearsal.sagemaker
    sagemaker.create_notebook_instance_lifecycle_config(
        NotebookInstanceLifecycleConfigName="fails", OnStart=script("exit 3")
    )
    asked = {"NotebookInstanceName": "n", "InstanceType": "ml.t3.medium", "RoleArn": ROLE}
    sagemaker.create_notebook_instance(**asked, LifecycleConfigName="fails")
    with pytest.raises(WaiterError, match="terminal failure state"):
        wait(rehearsal, "in_service", "n")
    shown = sagemaker.describe_notebook_instance(NotebookInstanceName="n")
    assert "LifecycleConfigOnStart failed with exit code 3" in shown["FailureReason"]
    with pytest.raises(ClientError, match="Could not find NotebookInstanceLifecycleConfig 'none'"):
        sagemaker.create_notebook_instance(**asked | {"NotebookInstanceName": "m"}, LifecycleConfigName="none")
    with pytest.raises(ClientError, match="rehearsed by its https:// address"):
        sagemaker.create_notebook_instance(**asked | {"NotebookInstanceName": "m"}, DefaultCodeRepository="mine")
    sagemaker.create_notebook_instance(**asked | {"NotebookInstanceName": "m"})
    pages = sagemaker.get_paginator("list_notebook_instances").paginate(PaginationConfig={"PageSize": 1})
    assert [[entry["NotebookInstanceName"] for entry in page["NotebookInstances"]] for page in pages] == [["m"], ["n"]]
    with pytest.raises(ClientError, match="Expected a script in base64"):
        sagemaker.update_notebook_instance_lifecycle_config(
            NotebookInstanceLifecycleConfigName="fails", OnStart=[{"Content": "?"}]
        )
    assert rehearsal.stop() == 0


def test_without_jupyterlab_it_says_what_to_install(rehearse, tmp_path):
    """A path without it; the environment of the tests must have none either."""
    assert not Path(sys.executable).with_name("jupyter-lab").exists()
    rehearsal = rehearse("--backend", "process", PATH=str(tmp_path))
    with pytest.raises(ClientError, match="Expected one beside the rehearsal: pip install jupyterlab"):
        rehearsal.sagemaker.create_notebook_instance(
            NotebookInstanceName="n", InstanceType="ml.t3.medium", RoleArn=ROLE
        )
    assert rehearsal.stop() == 0
