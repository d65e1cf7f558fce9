"""The classic flow of SageMaker's guides with AWS's SDK v2 on a real instance type: only the address differs.

    rehearse_v2.py IMAGE FOLDER        reads training.csv and held.csv there, writes answer.json

AWS_ENDPOINT_URL in the environment points at the rehearsal.
"""

import json
import sys
from pathlib import Path

import sagemaker
from sagemaker.deserializers import JSONDeserializer
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.serializers import CSVSerializer

image, folder = sys.argv[1], Path(sys.argv[2])
# Without a name the SDK asks STS for one, at AWS's own address and not at AWS_ENDPOINT_URL.
session = sagemaker.Session(default_bucket="rehearsed-by-sdk-v2")
data = session.upload_data(str(folder / "training.csv"), key_prefix="data/training")
estimator = Estimator(
    image_uri=image,
    role="arn:aws:iam::123456789012:role/rehearsal",
    instance_count=2,
    instance_type="ml.m5.large",
    sagemaker_session=session,
    hyperparameters={"epochs": 2, "batch_size": 32, "learning_rate": 0.05, "model": "linear"},
    metric_definitions=[{"Name": "train:loss", "Regex": r"train:loss=([0-9.]+)"}],
)
estimator.fit({"training": TrainingInput(data, content_type="text/csv")})
predictor = estimator.deploy(
    initial_instance_count=1,
    instance_type="ml.m5.large",
    serializer=CSVSerializer(),
    deserializer=JSONDeserializer(),
)
answer = predictor.predict((folder / "held.csv").read_text())
(folder / "answer.json").write_text(json.dumps(answer))
predictor.delete_model()
predictor.delete_endpoint()
