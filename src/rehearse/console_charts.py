"""Charts of the console: what CloudWatch holds of a training job's metrics and of an endpoint's requests."""

from datetime import UTC, datetime, timedelta

import pygal
from markupsafe import Markup

from ..charts import svg
from .aws import Client
from .store import Document

POINTS = 300
"""Of a curve, at most."""
ENDPOINT_S = 600
"""An endpoint's chart shows its last ten minutes."""
_PERIOD_S = 5


def charts(cloudwatch: Client, kind: str, name: str, item: Document) -> list[Markup]:
    """Charts of a job or an endpoint, as SVG that can be put into a page."""
    now = datetime.now(UTC)
    if kind == "TrainingJob":
        started = datetime.fromtimestamp(item["CreationTime"], UTC)
        ended = datetime.fromtimestamp(item["TrainingEndTime"], UTC) if "TrainingEndTime" in item else now
        period = max(1, int((ended - started).total_seconds() / POINTS))
        drawn = []
        for metric in item.get("FinalMetricDataList") or []:
            asked = {"MetricName": metric["MetricName"], "Period": period, "Namespace": "/aws/sagemaker/TrainingJobs"}
            dimensions = [{"Name": "TrainingJobName", "Value": name}]
            found = _points(cloudwatch, started, ended, "Average", Dimensions=dimensions, **asked)
            drawn.append(_draw(metric["MetricName"], {metric["MetricName"]: found}, "seconds"))
        return drawn
    if kind != "Endpoint":
        return []
    drawn = []
    for metric, title, statistic, scale in (
        ("Invocations", f"requests in {_PERIOD_S} s", "Sum", 1.0),
        ("ModelLatency", "latency of the model in ms", "Average", 1e-3),
    ):
        curves = {}
        for variant in item.get("ProductionVariants", []) + (item.get("ShadowProductionVariants") or []):
            names = {"EndpointName": name, "VariantName": variant["VariantName"]}
            dimensions = [{"Name": key, "Value": value} for key, value in names.items()]
            asked = {"MetricName": metric, "Period": _PERIOD_S, "Namespace": "AWS/SageMaker"}
            since = now - timedelta(seconds=ENDPOINT_S)
            found = _points(cloudwatch, since, now, statistic, Dimensions=dimensions, **asked)
            curves[variant["VariantName"]] = [(x - ENDPOINT_S, y * scale) for x, y in found]
        if any(curves.values()):
            drawn.append(_draw(title, curves, "seconds from now"))
    return drawn


def _points(
    cloudwatch: Client, start: datetime, end: datetime, statistic: str, **asked: object
) -> list[tuple[float, float]]:
    """Seconds since the start, and values."""
    found = cloudwatch.get_metric_statistics(
        StartTime=start, EndTime=end + timedelta(seconds=1), Statistics=[statistic], **asked
    )
    points = [((point["Timestamp"] - start).total_seconds(), point[statistic]) for point in found["Datapoints"]]
    return sorted(points)


def _draw(title: str, curves: dict[str, list[tuple[float, float]]], x_title: str) -> Markup:
    chart = pygal.XY(
        title=title,
        x_title=x_title,
        show_legend=len(curves) > 1,
        dots_size=2,
        width=640,
        height=300,
        print_values=False,
    )
    for name, points in curves.items():
        chart.add(name, points)
    # pygal escapes what it is given.
    return Markup(svg(chart))  # noqa: S704
