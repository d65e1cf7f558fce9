"""Operations on notebook instances and their lifecycle configurations."""

import base64
import binascii
import shutil

from ..errors import ApiError
from . import listing
from .aws import arn
from .context import Context
from .notebook_run import COMMAND, CONFIG, IMAGE, KIND, NotebookRun
from .store import Document

_KEPT = ("InstanceType", "RoleArn", "VolumeSizeInGB", "DefaultCodeRepository", "AdditionalCodeRepositories")


def create(context: Context, request: Document) -> Document:
    """CreateNotebookInstance: it is started at once."""
    name = request["NotebookInstanceName"]
    _check(context, request)
    notebook = {
        "VolumeSizeInGB": 5,
        "DirectInternetAccess": "Enabled",
        "RootAccess": "Enabled",
        **request,
        "NotebookInstanceLifecycleConfigName": request.get("LifecycleConfigName"),
        "SecurityGroups": request.get("SecurityGroupIds"),
        "NotebookInstanceArn": arn("notebook-instance", name, context.region),
        "NotebookInstanceStatus": "Pending",
    }
    return context.begin(KIND, notebook, lambda name: NotebookRun(context, name))


def describe(context: Context, request: Document) -> Document:
    """DescribeNotebookInstance."""
    return context.store.get(KIND, request["NotebookInstanceName"])


def list_all(context: Context, request: Document) -> Document:
    """ListNotebookInstances."""
    config = request.get("NotebookInstanceLifecycleConfigNameContains", "")
    found = [
        notebook
        for notebook in context.store.all(KIND)
        if config in (notebook.get("NotebookInstanceLifecycleConfigName") or "")
    ]
    return listing.page(KIND, found, request, result="NotebookInstances")


def start(context: Context, request: Document) -> Document:
    """StartNotebookInstance."""
    name = request["NotebookInstanceName"]
    _in_status(context, name, "Stopped", "Failed")
    context.store.update(KIND, name, NotebookInstanceStatus="Pending", FailureReason=None)
    context.start(KIND, name, NotebookRun(context, name))
    return {}


def stop(context: Context, request: Document) -> Document:
    """StopNotebookInstance: its folder stays."""
    name = request["NotebookInstanceName"]
    _in_status(context, name, "InService", "Failed")
    context.store.update(KIND, name, NotebookInstanceStatus="Stopping", Url=None)
    run = context.run(KIND, name)
    if run is None:
        context.store.update(KIND, name, NotebookInstanceStatus="Stopped")
    else:
        run.tell("stopped")
    return {}


def update(context: Context, request: Document) -> Document:
    """UpdateNotebookInstance: only one that is stopped."""
    name = request["NotebookInstanceName"]
    _in_status(context, name, "Stopped")
    _check(context, request)
    fields: Document = {field: request[field] for field in _KEPT if field in request}
    if request.get("DisassociateLifecycleConfig"):
        fields["NotebookInstanceLifecycleConfigName"] = None
    elif "LifecycleConfigName" in request:
        fields["NotebookInstanceLifecycleConfigName"] = request["LifecycleConfigName"]
    context.store.update(KIND, name, **fields)
    return {}


def delete(context: Context, request: Document) -> Document:
    """DeleteNotebookInstance: only one that is stopped or has failed; its folder goes."""
    name = request["NotebookInstanceName"]
    _in_status(context, name, "Stopped", "Failed")
    shutil.rmtree(context.homes / name, ignore_errors=True)
    context.store.delete(KIND, name)
    return {}


def presign(context: Context, request: Document) -> Document:
    """CreatePresignedNotebookInstanceUrl."""
    name = request["NotebookInstanceName"]
    _in_status(context, name, "InService")
    run = context.run(KIND, name)
    return {"AuthorizedUrl": run.url if isinstance(run, NotebookRun) else ""}


def create_config(context: Context, request: Document) -> Document:
    """CreateNotebookInstanceLifecycleConfig."""
    _check_scripts(request)
    name = request["NotebookInstanceLifecycleConfigName"]
    config = {**request, f"{CONFIG}Arn": arn("notebook-instance-lifecycle-config", name, context.region)}
    context.store.create(CONFIG, config)
    return config


def describe_config(context: Context, request: Document) -> Document:
    """DescribeNotebookInstanceLifecycleConfig."""
    return context.store.get(CONFIG, request["NotebookInstanceLifecycleConfigName"])


def list_configs(context: Context, request: Document) -> Document:
    """ListNotebookInstanceLifecycleConfigs."""
    return listing.page(CONFIG, context.store.all(CONFIG), request, result="NotebookInstanceLifecycleConfigs")


def update_config(context: Context, request: Document) -> Document:
    """UpdateNotebookInstanceLifecycleConfig: counts from the next start."""
    _check_scripts(request)
    name = request["NotebookInstanceLifecycleConfigName"]
    given = {which: request[which] for which in ("OnCreate", "OnStart") if which in request}
    context.store.update(CONFIG, name, **given)
    return {}


def delete_config(context: Context, request: Document) -> Document:
    """DeleteNotebookInstanceLifecycleConfig."""
    context.store.delete(CONFIG, request["NotebookInstanceLifecycleConfigName"])
    return {}


def recover(context: Context) -> None:
    """Start the notebook instances that ran in the rehearsal before, and stop those that were stopping."""
    for notebook in context.store.all(KIND):
        name = notebook["NotebookInstanceName"]
        if notebook["NotebookInstanceStatus"] in ("Pending", "InService"):
            context.store.update(KIND, name, NotebookInstanceStatus="Pending", Url=None)
            context.start(KIND, name, NotebookRun(context, name))
        elif notebook["NotebookInstanceStatus"] == "Stopping":
            context.store.update(KIND, name, NotebookInstanceStatus="Stopped")


def _check(context: Context, request: Document) -> None:
    if not context.backend.has(COMMAND, IMAGE):
        missing = (
            f"There is no {COMMAND} on this machine. Expected one beside the rehearsal: pip install jupyterlab."
            if context.backend.stands_in
            else f"The engine has no image {IMAGE}. Expected our own: IMAGE={IMAGE} docker/build cpu --target studio"
        )
        raise ApiError(missing, code="NotRehearsed")
    if request.get("LifecycleConfigName"):
        context.store.get(CONFIG, request["LifecycleConfigName"])
    for url in [request.get("DefaultCodeRepository"), *request.get("AdditionalCodeRepositories", [])]:
        if url and not url.startswith("https://"):
            raise ApiError(f"The code repository {url!r} is rehearsed by its https:// address.", code="NotRehearsed")
        if url and not context.backend.stands_in:
            raise ApiError(
                f"The code repository {url!r} is not cloned: {IMAGE} has no git. Expected none on a Docker engine: "
                f"leave it out, or take --backend process.",
                code="NotRehearsed",
            )


def _check_scripts(request: Document) -> None:
    for which in ("OnCreate", "OnStart"):
        for script in request.get(which, []):
            try:
                base64.b64decode(script["Content"], validate=True).decode()
            except (KeyError, binascii.Error, UnicodeDecodeError) as error:
                raise ApiError(
                    f"{which}.Content cannot be read: {error}. Expected a script in base64.", code="ValidationException"
                ) from error


def _in_status(context: Context, name: str, *wanted: str) -> None:
    status = context.store.get(KIND, name)["NotebookInstanceStatus"]
    if status not in wanted:
        raise ApiError(
            f"Notebook instance {name!r} is in status {status}, expected {' or '.join(wanted)}.",
            code="ValidationException",
        )
