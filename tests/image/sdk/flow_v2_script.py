"""A script of the user's own with AWS's SageMaker Python SDK v2 in local mode, as with AWS's framework images.

    flow_v2_script.py IMAGE DATA_FOLDER SOURCE_FOLDER

Runs in an environment of its own, never in ours. Two hosts: each has `SM_HOSTS`, and torchrun joins them.
"""

import sys

from sagemaker.estimator import Estimator

image, data, source = sys.argv[1:]

estimator = Estimator(
    image_uri=image,
    role="arn:aws:iam::123456789012:role/SageMakerRole",
    instance_count=2,
    instance_type="local",
    entry_point="train.py",
    source_dir=source,
    hyperparameters={"epochs": 10, "batch_size": 64, "learning_rate": 0.001},
)
estimator.fit({"train": f"file://{data}"})
print(f"model_data={estimator.model_data}")
