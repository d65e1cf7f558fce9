"""The Flask app, with the routes and the answers of AWS's template."""

import csv
import io
import json
from pathlib import Path

import flask

app = flask.Flask(__name__)


class ScoringService:
    model = None

    @classmethod
    def get_model(cls):
        if cls.model is None:
            cls.model = json.loads(Path("/opt/ml/model/model.json").read_text())
        return cls.model

    @classmethod
    def predict(cls, rows):
        means = cls.get_model()

        def nearest(row):
            return min(means, key=lambda label: sum((a - b) ** 2 for a, b in zip(row, means[label], strict=True)))

        return [nearest([float(value) for value in row]) for row in rows]


@app.route("/ping", methods=["GET"])
def ping():
    health = ScoringService.get_model() is not None
    return flask.Response(response="\n", status=200 if health else 404, mimetype="application/json")


@app.route("/invocations", methods=["POST"])
def transformation():
    if flask.request.content_type == "text/csv":
        rows = csv.reader(io.StringIO(flask.request.data.decode("utf-8")))
    else:
        return flask.Response(response="This predictor only supports CSV data", status=415, mimetype="text/plain")
    out = "".join(f"{label}\n" for label in ScoringService.predict(rows))
    return flask.Response(response=out, status=200, mimetype="text/csv")
