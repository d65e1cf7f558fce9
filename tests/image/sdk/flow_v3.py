"""A training job with AWS's SageMaker Python SDK v3, `ModelTrainer` in local container mode.

    flow_v3.py IMAGE DATA_FOLDER WORK_FOLDER HOSTS image|source|torchrun

`image` gives no source code: the SDK then starts the image without any command. `source` runs v3_source/train.py
through the SDK's own driver, `torchrun` the same on two processes. Runs in an environment of its own, never in ours.
"""

import sys
from pathlib import Path

from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode
from sagemaker.train.distributed import Torchrun
from sagemaker.train.model_trainer import Mode

image, data, work, hosts, what = sys.argv[1:]

source = SourceCode(source_dir=str(Path(__file__).parent / "v3_source"), entry_script="train.py")
trainer = ModelTrainer(
    training_image=image,
    training_mode=Mode.LOCAL_CONTAINER,
    compute=Compute(instance_type="local_cpu", instance_count=int(hosts)),
    source_code=None if what == "image" else source,
    distributed=Torchrun(process_count_per_node=2) if what == "torchrun" else None,
    hyperparameters={"epochs": 10, "batch_size": 64, "learning_rate": 0.001},
    local_container_root=work,
)
trainer.train(input_data_config=[InputData(channel_name="train", data_source=data)])
