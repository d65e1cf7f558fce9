"""What SageMaker promises a container and demands of it, as values; no torch, flask or boto3 in here.

    reads                                                           writes
    ──────────────────────────────────────────────────────          ────────────────────────────────────────
    input/config/hyperparameters.json   hyperparameters ┐           output/failure, output/message   outcome
    input/config/inputdataconfig.json   channels        ├─ job      model/                           artifact
    input/config/resourceconfig.json    cluster         │           lines on stdout                  logs
    environment variables (training)                    ┘           SM_* of the user's script        environment
    environment variables (serving)     endpoint
    config/resourceconfig.json          cluster  (processing)       everything under /opt/ml is named in paths
    cgroup, /dev/shm, nvidia-smi        machine                     the JSON files are opened by json_file

Missing optional files are fine, unknown files and keys are ignored, broken ones raise `ConfigError` naming file and
key. Environment variables come in as an argument: entry points pass `os.environ`, nobody here reads it.
"""
