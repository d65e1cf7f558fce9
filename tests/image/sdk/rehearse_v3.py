"""A model's life with the objects of AWS's SDK v3, on real instance types: only the address differs from AWS.

    rehearse_v3.py IMAGE FOLDER        reads training.csv and held.csv there, writes answer.json

AWS_ENDPOINT_URL in the environment points at the rehearsal.
"""

import sys
from pathlib import Path

from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import Endpoint, EndpointConfig, Model, TrainingJob
from sagemaker.core.shapes import ContainerDefinition, ProductionVariant
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData

image, folder = sys.argv[1], Path(sys.argv[2])
role = "arn:aws:iam::123456789012:role/rehearsal"
# Without a name the SDK asks STS for one, at AWS's own address and not at AWS_ENDPOINT_URL.
session = Session(default_bucket="rehearsed-by-sdk-v3")
data = session.upload_data(str(folder / "training.csv"), key_prefix="data/training")
trainer = ModelTrainer(
    training_image=image,
    role=role,
    sagemaker_session=session,
    base_job_name="by-v3",
    compute=Compute(instance_type="ml.m5.large", instance_count=2, volume_size_in_gb=1),
    hyperparameters={"epochs": 2, "batch_size": 32, "learning_rate": 0.05, "model": "linear"},
)
channel = InputData(channel_name="training", data_source=data, content_type="text/csv")
trainer.train(input_data_config=[channel])
(job,) = TrainingJob.get_all(name_contains="by-v3")
job.refresh()

container = ContainerDefinition(image=image, model_data_url=job.model_artifacts.s3_model_artifacts)
model = Model.create(model_name="by-v3", primary_container=container, execution_role_arn=role)
variant = ProductionVariant(
    variant_name="all", model_name="by-v3", instance_type="ml.m5.large", initial_instance_count=1
)
config = EndpointConfig.create(endpoint_config_name="by-v3", production_variants=[variant])
endpoint = Endpoint.create(endpoint_name="by-v3", endpoint_config_name="by-v3")
endpoint.wait_for_status("InService", poll=1)
answer = endpoint.invoke(body=(folder / "held.csv").read_bytes(), content_type="text/csv", accept="application/json")
(folder / "answer.json").write_bytes(answer.body.read())
assert [found.endpoint_name for found in Endpoint.get_all()] == ["by-v3"]
endpoint.delete()
endpoint.wait_for_delete(poll=1)
config.delete()
model.delete()
