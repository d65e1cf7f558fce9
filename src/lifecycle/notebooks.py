"""Notebook instances: made, started again, and opened by an address that knows who asks."""

import base64

from ..errors import ConfigError
from .aws import Document
from .names import digest
from .progress import demand, wait
from .project import Project
from .resources import LIFECYCLE, NOTEBOOK, find

MAX_SCRIPT = 16_384
"""Bytes of a script, encoded, that a lifecycle config may have."""


def open_notebook(project: Project) -> str:
    """Make the project's notebook instance, or start it, and return an address that opens it.

    Raises:
        ConfigError: the script at its start is missing or too long.
        UserError: it does not come into service.
    """
    name = project.name
    found = find(project.aws, NOTEBOOK, name)
    if found is None:
        project.aws.do("sagemaker", "CreateNotebookInstance", NotebookInstanceName=name, **_request(project))
    elif found[NOTEBOOK.status] in ("Stopped", "Failed"):
        project.aws.do("sagemaker", "StartNotebookInstance", NotebookInstanceName=name)
    demand(NOTEBOOK, wait(project, NOTEBOOK, name), "InService")
    opened = project.aws.do("sagemaker", "CreatePresignedNotebookInstanceUrl", NotebookInstanceName=name)
    return str(opened.get("AuthorizedUrl", ""))


def _request(project: Project) -> Document:
    notebook = project.config.notebook
    request: Document = {
        "InstanceType": notebook.instance_type,
        "RoleArn": project.role,
        "VolumeSizeInGB": notebook.volume_gb,
        "Tags": project.tags,
    }
    if project.config.subnets:
        request |= {"SubnetId": project.config.subnets[0], "SecurityGroupIds": project.config.security_groups}
    if notebook.repository:
        request["DefaultCodeRepository"] = notebook.repository
    if notebook.on_start:
        request["LifecycleConfigName"] = _make_lifecycle(project, notebook.on_start)
    return request


def _make_lifecycle(project: Project, script: str) -> str:
    path = project.path(script)
    if not path.is_file():
        raise ConfigError(f"notebook.on_start is {script!r}, and there is no such file. Expected a shell script.")
    content = base64.b64encode(path.read_bytes()).decode()
    if len(content) > MAX_SCRIPT:
        raise ConfigError(
            f"{script} has {len(content):,} bytes in base64. Expected at most {MAX_SCRIPT:,}: have it fetch the rest."
        )
    name = f"{project.name}-{digest(content)}"
    if find(project.aws, LIFECYCLE, name) is None:
        project.aws.do(
            "sagemaker",
            "CreateNotebookInstanceLifecycleConfig",
            NotebookInstanceLifecycleConfigName=name,
            OnStart=[{"Content": content}],
            Tags=project.tags,
        )
    return name
