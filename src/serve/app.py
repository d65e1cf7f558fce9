"""The web application: `/ping` and `/invocations`.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

from flask import Flask, Response, request

from ..contract.endpoint import Endpoint
from .body import read_body
from .codecs import choose_answer, default_answer, read_rows
from .model import Model
from .replies import answer_errors

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


def create_app(model: Model, endpoint: Endpoint) -> Flask:
    """Put a loaded model behind HTTP.

    Raises:
        ConfigError: the default of Accept names a type that cannot be written.
    """
    app = Flask("twofold.serve", static_folder=None)
    default = default_answer(endpoint.default_accept)
    answer_errors(app)

    @app.route("/ping", methods=["GET", "POST"])
    def ping() -> Response:
        # The server listens only after the model has answered its warm-up row, so whoever gets here may say yes.
        response = Response(status=200)
        del response.headers["Content-Type"]
        return response

    @app.post("/invocations")
    def invocations() -> Response:
        answer = choose_answer(request.headers.get("Accept", ""), default)
        body = read_body(request, endpoint.max_payload_bytes)
        rows = read_rows(body, request.headers.get("Content-Type", ""), model.row_shape)
        model.check(rows)
        predictions = model.predict(rows)
        encoded = answer.format.encode(predictions, model.labels(predictions))
        return Response(encoded, content_type=answer.content_type)

    @app.after_request
    def echo(response: Response) -> Response:
        attributes = request.headers.get(CUSTOM_ATTRIBUTES)
        if attributes:
            response.headers[CUSTOM_ATTRIBUTES] = attributes
        return response

    return app
