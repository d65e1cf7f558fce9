"""The operations of SageMaker that are rehearsed. Whatever is not in this table is refused."""

from . import training
from .operation import FILTERS, Operation

TRAINING = {
    "CreateTrainingJob": Operation(
        call=training.create,
        does="TrainingJobName HyperParameters Environment StoppingCondition.MaxRuntimeInSeconds "
        "StoppingCondition.MaxWaitTimeInSeconds EnableManagedSpotTraining EnableNetworkIsolation CheckpointConfig "
        "TensorBoardOutputConfig AlgorithmSpecification.TrainingImage AlgorithmSpecification.TrainingInputMode "
        "AlgorithmSpecification.MetricDefinitions AlgorithmSpecification.ContainerEntrypoint "
        "AlgorithmSpecification.ContainerArguments ResourceConfig.InstanceType ResourceConfig.InstanceCount "
        "ResourceConfig.InstanceGroups OutputDataConfig.S3OutputPath OutputDataConfig.CompressionType "
        "InputDataConfig.ChannelName InputDataConfig.ContentType InputDataConfig.CompressionType "
        "InputDataConfig.RecordWrapperType InputDataConfig.InputMode InputDataConfig.ShuffleConfig "
        "InputDataConfig.DataSource.S3DataSource.S3DataType InputDataConfig.DataSource.S3DataSource.S3Uri "
        "InputDataConfig.DataSource.S3DataSource.S3DataDistributionType "
        "InputDataConfig.DataSource.S3DataSource.InstanceGroupNames Tags",
        keeps="RoleArn ResourceConfig.VolumeSizeInGB ResourceConfig.VolumeKmsKeyId OutputDataConfig.KmsKeyId VpcConfig "
        "EnableInterContainerTrafficEncryption AlgorithmSpecification.EnableSageMakerMetricsTimeSeries ProfilerConfig "
        "DebugHookConfig.S3OutputPath DebugHookConfig.LocalPath DebugHookConfig.CollectionConfigurations",
        same="hosts with names and network, configuration files, channels in File and Pipe mode, sharding, manifests, "
        "instance groups, checkpoints both ways, artifacts, metrics, secondary statuses, FailureReason, MaxRuntime, "
        "spot restart, log streams",
        differs="FastFile copies at the start; instance types give no CPU, memory or GPU; roles, keys and VPC are not "
        "checked; Debugger and profiler do not run; AugmentedManifestFile and warm pools are refused",
    ),
    "DescribeTrainingJob": Operation(
        call=training.describe, does="TrainingJobName", same="every field that the job has"
    ),
    "ListTrainingJobs": Operation(call=training.list_all, does=f"{FILTERS} StatusEquals", same="filters, order, pages"),
    "StopTrainingJob": Operation(
        call=training.stop,
        does="TrainingJobName",
        same="SIGTERM, SIGKILL after 120 s, artifacts are sent",
    ),
    "DeleteTrainingJob": Operation(call=training.delete, does="TrainingJobName", same="refused while the job runs"),
}

TABLE: dict[str, Operation] = {**TRAINING}
"""By the name of the operation."""
