"""The console: pages for people at the address of the rehearsal, drawn here and looked at again every two seconds.

/_rehearsal/            what there is, and what is wrong with the weather
/_rehearsal/KIND/NAME   one job or endpoint: status, logs, charts, faults, a form to ask it
"""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, select_autoescape
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request, Response

from ..errors import ApiError
from . import faults, invoke
from .console_charts import charts
from .context import Context
from .store import NAMES, Document

PATH = "/_rehearsal/"
SHOWN = {
    "TrainingJob": "Training jobs",
    "HyperParameterTuningJob": "Tuning jobs",
    "ProcessingJob": "Processing jobs",
    "TransformJob": "Transform jobs",
    "Endpoint": "Endpoints",
    "NotebookInstance": "Notebook instances",
    "MonitoringSchedule": "Monitoring schedules",
    "ModelPackage": "Model packages",
    "Model": "Models",
}
_GROUPS = {
    "TrainingJob": "/aws/sagemaker/TrainingJobs",
    "ProcessingJob": "/aws/sagemaker/ProcessingJobs",
    "TransformJob": "/aws/sagemaker/TransformJobs",
    "NotebookInstance": "/aws/sagemaker/NotebookInstances",
}
LINES = 200
"""Of the end of each log stream."""
LARGEST_FORM = 8 << 20
_FILES = {"console.css": "text/css", "console.js": "text/javascript"}
_HEADERS = {
    # The charts bring their styles in themselves.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_HERE = Path(__file__).parent


class Console:
    """Answers browsers; only those that were sent here by nobody else."""

    def __init__(self) -> None:
        self._token = secrets.token_urlsafe(24)
        pages = Environment(loader=FileSystemLoader(_HERE), autoescape=select_autoescape(), trim_blocks=True)
        pages.filters["time"] = _time
        self._page = pages.get_template("console.html")

    def answer(self, context: Context, request: Request) -> Response:
        """Answer a request below `PATH`."""
        if not faults.from_here(request):
            return Response("This console answers pages of its own only.", status=403)
        rest = request.path.removeprefix(PATH)
        if rest in _FILES:
            return _send((_HERE / rest).read_text(encoding="utf-8"), _FILES[rest])
        kind, _, name = rest.partition("/")
        if rest and (kind not in SHOWN or context.store.find(kind, name) is None):
            return Response(f"There is no {rest}.", status=404)
        if request.method == "POST":
            return self._post(context, request, kind, name)
        return self._show(context, kind, name, said=request.args.get("said", ""))

    def _post(self, context: Context, request: Request, kind: str, name: str) -> Response:
        request.max_content_length = LARGEST_FORM
        try:
            form = request.form
        except RequestEntityTooLarge:
            return Response(f"Expected a form of at most {LARGEST_FORM} bytes.", status=413)
        if not secrets.compare_digest(form.get("token", ""), self._token):
            return Response("The form is of a rehearsal that has ended. Load the page again.", status=403)
        if "body" in form:
            return self._show(context, kind, name, form=form, answer=_ask(context, name, form))
        try:
            value = form.get("value") or name
            said = faults.inject(context, form.get("fault", ""), value, int(form.get("host") or 1))
        except (ApiError, ValueError) as error:
            return self._show(context, kind, name, said=str(error))
        # Shown by a request that may be repeated.
        return Response(status=303, headers={"Location": f"{quote(request.path)}?{urlencode({'said': said})}"})

    def _show(self, context: Context, kind: str, name: str, **shown: object) -> Response:
        item = context.store.find(kind, name) if kind else None
        text = self._page.render(
            token=self._token,
            path=PATH,
            address=context.address,
            backend=context.backend.name,
            weather=context.weather,
            kind=kind,
            name=name,
            item=item,
            status=_status(kind, item) if item else "",
            lists=[] if kind else _lists(context),
            logs=_logs(context, kind, name),
            charts=charts(context.clients.cloudwatch, kind, name, item or {}),
            **shown,
        )
        return _send(text, "text/html")


def _lists(context: Context) -> list[tuple[str, str, list[Document]]]:
    """Kind, heading and rows of each table that is not empty."""
    found = []
    for kind, heading in SHOWN.items():
        rows = [
            {
                "name": item[NAMES[kind]],
                "status": _status(kind, item),
                "created": item["CreationTime"],
                "reason": item.get("FailureReason") or "",
            }
            for item in reversed(context.store.all(kind))
        ]
        if rows:
            found.append((kind, heading, rows))
    return found


def _status(kind: str, item: Document) -> str:
    found = str(item.get(f"{kind}Status") or item.get("ModelApprovalStatus") or "")
    second = item.get("SecondaryStatus", found)
    return found if second == found else f"{found}: {second}"


def _logs(context: Context, kind: str, name: str) -> list[tuple[str, str]]:
    """Name and last lines of each log stream."""
    group = f"/aws/sagemaker/Endpoints/{name}" if kind == "Endpoint" else _GROUPS.get(kind)
    if group is None:
        return []
    client = context.clients.logs
    groups = client.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    if group not in [found["logGroupName"] for found in groups]:
        return []
    prefix = {} if kind == "Endpoint" else {"logStreamNamePrefix": f"{name}/"}
    streams = client.describe_log_streams(logGroupName=group, **prefix)["logStreams"]
    found = []
    for stream in streams:
        events = client.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], limit=LINES)["events"]
        found.append((stream["logStreamName"], "\n".join(event["message"] for event in events)))
    return found


def _ask(context: Context, name: str, form: Mapping[str, str]) -> str:
    """What an endpoint answers to the form, with its status."""
    headers = {"Content-Type": form.get("type", ""), "Accept": form.get("accept", "")}
    if form.get("variant"):
        headers["X-Amzn-SageMaker-Target-Variant"] = form["variant"]
    request = Request.from_values(
        f"/endpoints/{name}/invocations", method="POST", data=form["body"].replace("\r\n", "\n"), headers=headers
    )
    answer = invoke.answer(context, request)
    return f"{answer.status_code} {answer.content_type}\n{answer.get_data().decode('utf-8', errors='replace')}"


def _send(text: str, kind: str) -> Response:
    return Response(text, content_type=f"{kind}; charset=utf-8", headers=_HEADERS)


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
