"""The classic flow of every SageMaker guide, with AWS's SageMaker Python SDK v2 in local mode.

    flow_v2.py IMAGE DATA_FOLDER ROWS_JSON ANSWER_JSON

Runs in an environment of its own, never in ours. `~/.sagemaker/config.yaml` holds what a user of local mode sets
there; nothing here differs from the same flow on AWS but `local` and `file://`.
"""

import json
import sys
from pathlib import Path

from sagemaker.deserializers import JSONDeserializer
from sagemaker.estimator import Estimator
from sagemaker.serializers import JSONSerializer

image, data, rows, answer = sys.argv[1:]

estimator = Estimator(
    image_uri=image,
    role="arn:aws:iam::123456789012:role/SageMakerRole",
    instance_count=2,
    instance_type="local",
)
estimator.set_hyperparameters(epochs=10, batch_size=64, learning_rate=0.001)
estimator.fit({"training": f"file://{data}"})

predictor = estimator.deploy(
    initial_instance_count=1,
    instance_type="local",
    serializer=JSONSerializer(),
    deserializer=JSONDeserializer(),
)
try:
    reply = predictor.predict({"instances": json.loads(Path(rows).read_text(encoding="utf-8"))})
finally:
    predictor.delete_endpoint()

result = {"labels": reply["labels"], "model_data": estimator.model_data}
Path(answer).write_text(json.dumps(result), encoding="utf-8")
