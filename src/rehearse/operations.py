"""The operations of SageMaker that are rehearsed. Whatever is not in this table is refused."""

from . import endpoints, monitoring, notebook, processing, registry, tags, training, transform, tuning, warm_pool
from .operation import CREATED, FILTERS, PAGING, Operation

TRAINING = {
    "CreateTrainingJob": Operation(
        call=training.create,
        does="TrainingJobName HyperParameters Environment StoppingCondition.MaxRuntimeInSeconds "
        "StoppingCondition.MaxWaitTimeInSeconds EnableManagedSpotTraining EnableNetworkIsolation CheckpointConfig "
        "TensorBoardOutputConfig AlgorithmSpecification.TrainingImage AlgorithmSpecification.TrainingInputMode "
        "AlgorithmSpecification.MetricDefinitions AlgorithmSpecification.ContainerEntrypoint "
        "AlgorithmSpecification.ContainerArguments ResourceConfig.InstanceType ResourceConfig.InstanceCount "
        "ResourceConfig.InstanceGroups ResourceConfig.KeepAlivePeriodInSeconds OutputDataConfig.S3OutputPath "
        "OutputDataConfig.CompressionType "
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
        "spot restart, log streams, statuses of warm pools and which job reuses one",
        differs="FastFile copies at the start; instance types give no CPU, memory or GPU; roles, keys and VPC are not "
        "checked; Debugger and profiler do not run; AugmentedManifestFile is refused; a warm pool keeps no instance "
        "and no cache folder, and matches without session tags",
    ),
    "DescribeTrainingJob": Operation(
        call=training.describe, does="TrainingJobName", same="every field that the job has"
    ),
    "UpdateTrainingJob": Operation(
        call=warm_pool.update,
        does="TrainingJobName ResourceConfig.KeepAlivePeriodInSeconds",
        same="the time of a warm pool that is InUse or Available; 0 ends it",
        differs="nothing else is updated",
    ),
    "ListTrainingJobs": Operation(
        call=training.list_all, does=f"{FILTERS} StatusEquals WarmPoolStatusEquals", same="filters, order, pages"
    ),
    "StopTrainingJob": Operation(
        call=training.stop,
        does="TrainingJobName",
        same="SIGTERM, SIGKILL after 120 s, artifacts are sent",
    ),
    "DeleteTrainingJob": Operation(call=training.delete, does="TrainingJobName", same="refused while the job runs"),
}

_CONTAINER = (
    "Image Mode ContainerHostname MultiModelConfig ModelDataUrl Environment ModelPackageName "
    "ModelDataSource.S3DataSource.S3Uri ModelDataSource.S3DataSource.S3DataType "
    "ModelDataSource.S3DataSource.CompressionType"
)
_VARIANT = (
    "VariantName ModelName InitialInstanceCount InstanceType InitialVariantWeight ServerlessConfig.MemorySizeInMB "
    "ServerlessConfig.MaxConcurrency ContainerStartupHealthCheckTimeoutInSeconds"
)


def _each(prefix: str, fields: str) -> str:
    """Fields below a prefix."""
    return " ".join(f"{prefix}.{field}" for field in fields.split())


SERVING = {
    "CreateModel": Operation(
        call=endpoints.create_model,
        does="ModelName EnableNetworkIsolation Tags InferenceExecutionConfig "
        + _each("PrimaryContainer", _CONTAINER)
        + " "
        + _each("Containers", _CONTAINER),
        keeps="ExecutionRoleArn VpcConfig",
        same="archives, prefixes and single files in /opt/ml/model, packages of the registry, serial pipelines, direct "
        "mode, multi-model containers (loaded when asked for, unloaded at 507)",
        differs="containers of a pipeline have each an address of their own, not one with different ports",
    ),
    "DescribeModel": Operation(call=endpoints.describe_model, does="ModelName", same="every field"),
    "ListModels": Operation(call=endpoints.list_models, does=CREATED, same="filters, order, pages"),
    "DeleteModel": Operation(call=endpoints.delete_model, does="ModelName", same="endpoints that run go on"),
    "CreateEndpointConfig": Operation(
        call=endpoints.create_config,
        does="EndpointConfigName Tags DataCaptureConfig.EnableCapture DataCaptureConfig.InitialSamplingPercentage "
        "DataCaptureConfig.DestinationS3Uri DataCaptureConfig.CaptureOptions "
        "DataCaptureConfig.CaptureContentTypeHeader "
        "AsyncInferenceConfig.ClientConfig AsyncInferenceConfig.OutputConfig.S3OutputPath "
        "AsyncInferenceConfig.OutputConfig.S3FailurePath "
        "AsyncInferenceConfig.OutputConfig.NotificationConfig.SuccessTopic "
        "AsyncInferenceConfig.OutputConfig.NotificationConfig.ErrorTopic "
        + _each("ProductionVariants", _VARIANT)
        + " "
        + _each("ShadowProductionVariants", _VARIANT),
        keeps="KmsKeyId ExecutionRoleArn VpcConfig DataCaptureConfig.KmsKeyId "
        "AsyncInferenceConfig.OutputConfig.KmsKeyId "
        "ProductionVariants.VolumeSizeInGB ProductionVariants.InferenceAmiVersion "
        "ProductionVariants.ModelDataDownloadTimeoutInSeconds ShadowProductionVariants.VolumeSizeInGB",
        same="variants and weights, a shadow variant, data capture, asynchronous and serverless settings",
        differs="no inference components, managed scaling or explainer; a shadow gets the share of requests that its "
        "weight is of the production variant's",
    ),
    "DescribeEndpointConfig": Operation(call=endpoints.describe_config, does="EndpointConfigName", same="every field"),
    "ListEndpointConfigs": Operation(call=endpoints.list_configs, does=CREATED, same="filters, order, pages"),
    "DeleteEndpointConfig": Operation(
        call=endpoints.delete_config, does="EndpointConfigName", same="endpoints that run go on"
    ),
    "CreateEndpoint": Operation(
        call=endpoints.create,
        does="EndpointName EndpointConfigName Tags",
        same="in service when every container has answered /ping with 200; a dead container is started again; logs, "
        "CloudWatch metrics, data capture",
        differs="given up after three deaths before health, not after eight minutes; a serverless endpoint ends idle "
        "containers after a minute, and answers 503 beyond MaxConcurrency",
    ),
    "DescribeEndpoint": Operation(call=endpoints.describe, does="EndpointName", same="every field"),
    "ListEndpoints": Operation(call=endpoints.list_all, does=f"{FILTERS} StatusEquals", same="filters, order, pages"),
    "UpdateEndpoint": Operation(
        call=endpoints.update,
        does="EndpointName EndpointConfigName DeploymentConfig.BlueGreenUpdatePolicy.TrafficRoutingConfiguration "
        "DeploymentConfig.BlueGreenUpdatePolicy.TerminationWaitInSeconds DeploymentConfig.AutoRollbackConfiguration",
        keeps="DeploymentConfig.BlueGreenUpdatePolicy.MaximumExecutionTimeoutInSeconds",
        same="new fleet, healthy, switch all at once, canary or linear, alarms that roll back, old one drained; the "
        "old one serves on when the new is not healthy",
        differs="no rolling deployment; the new fleet is whole from the start, steps share out requests; alarms are "
        "looked at only while an update is watched",
    ),
    "UpdateEndpointWeightsAndCapacities": Operation(
        call=endpoints.update_weights,
        does="EndpointName DesiredWeightsAndCapacities.VariantName DesiredWeightsAndCapacities.DesiredWeight "
        "DesiredWeightsAndCapacities.DesiredInstanceCount",
        same="weights at once, instances started or drained",
    ),
    "DeleteEndpoint": Operation(
        call=endpoints.delete, does="EndpointName", same="Deleting until the containers have ended"
    ),
}

JOBS = {
    "CreateProcessingJob": Operation(
        call=processing.create,
        does="ProcessingJobName AppSpecification Environment ProcessingInputs.InputName ProcessingInputs.S3Input "
        "ProcessingOutputConfig.Outputs.OutputName ProcessingOutputConfig.Outputs.S3Output Tags "
        "ProcessingResources.ClusterConfig.InstanceCount StoppingCondition NetworkConfig.EnableNetworkIsolation",
        keeps="RoleArn ProcessingResources.ClusterConfig.InstanceType ProcessingResources.ClusterConfig.VolumeSizeInGB "
        "ProcessingResources.ClusterConfig.VolumeKmsKeyId ProcessingOutputConfig.KmsKeyId NetworkConfig.VpcConfig "
        "NetworkConfig.EnableInterContainerTrafficEncryption ExperimentConfig",
        same="hosts with names and network, configuration files, sharding, gzip, uploads at the end and continuous, "
        "exit message, SIGINT and SIGKILL after 120 s, log streams",
        differs="no Pipe mode, dataset definitions or Feature Store; the time to SIGKILL is not documented by AWS",
    ),
    "DescribeProcessingJob": Operation(call=processing.describe, does="ProcessingJobName", same="every field"),
    "ListProcessingJobs": Operation(
        call=processing.list_all, does=f"{FILTERS} StatusEquals", same="filters, order, pages"
    ),
    "StopProcessingJob": Operation(call=processing.stop, does="ProcessingJobName", same="outputs are sent"),
    "CreateTransformJob": Operation(
        call=transform.create,
        does="TransformJobName ModelName MaxConcurrentTransforms ModelClientConfig MaxPayloadInMB BatchStrategy "
        "Environment TransformInput TransformOutput.S3OutputPath TransformOutput.Accept TransformOutput.AssembleWith "
        "TransformResources.InstanceCount DataProcessing Tags",
        keeps="TransformOutput.KmsKeyId TransformResources.InstanceType TransformResources.VolumeKmsKeyId "
        "TransformResources.TransformAmiVersion ExperimentConfig",
        same="split, strategy, assembly, concurrency from /execution-parameters, retries, filters, join; whole objects",
        differs="objects come one after another; chunked requests are never sent; no data capture",
    ),
    "DescribeTransformJob": Operation(call=transform.describe, does="TransformJobName", same="every field"),
    "ListTransformJobs": Operation(
        call=transform.list_all, does=f"{FILTERS} StatusEquals", same="filters, order, pages"
    ),
    "StopTransformJob": Operation(call=transform.stop, does="TransformJobName", same="objects that are whole stay"),
}

_DEFINITION = (
    "StaticHyperParameters AlgorithmSpecification.TrainingImage AlgorithmSpecification.TrainingInputMode "
    "AlgorithmSpecification.MetricDefinitions OutputDataConfig.S3OutputPath OutputDataConfig.CompressionType "
    "ResourceConfig.InstanceType ResourceConfig.InstanceCount ResourceConfig.InstanceGroups "
    "StoppingCondition.MaxRuntimeInSeconds StoppingCondition.MaxWaitTimeInSeconds EnableNetworkIsolation "
    "EnableManagedSpotTraining CheckpointConfig Environment InputDataConfig.ChannelName InputDataConfig.ContentType "
    "InputDataConfig.CompressionType InputDataConfig.RecordWrapperType InputDataConfig.InputMode "
    "InputDataConfig.ShuffleConfig InputDataConfig.DataSource.S3DataSource.S3DataType "
    "InputDataConfig.DataSource.S3DataSource.S3Uri InputDataConfig.DataSource.S3DataSource.S3DataDistributionType "
    "InputDataConfig.DataSource.S3DataSource.InstanceGroupNames"
)

TUNING = {
    "CreateHyperParameterTuningJob": Operation(
        call=tuning.create,
        does="HyperParameterTuningJobName Tags HyperParameterTuningJobConfig.Strategy "
        "HyperParameterTuningJobConfig.StrategyConfig "
        "HyperParameterTuningJobConfig.HyperParameterTuningJobObjective HyperParameterTuningJobConfig.ResourceLimits "
        "HyperParameterTuningJobConfig.ParameterRanges.IntegerParameterRanges "
        "HyperParameterTuningJobConfig.ParameterRanges.ContinuousParameterRanges "
        "HyperParameterTuningJobConfig.ParameterRanges.CategoricalParameterRanges "
        "HyperParameterTuningJobConfig.TrainingJobEarlyStoppingType HyperParameterTuningJobConfig.RandomSeed "
        "HyperParameterTuningJobConfig.TuningJobCompletionCriteria.TargetObjectiveMetricValue "
        "HyperParameterTuningJobConfig.TuningJobCompletionCriteria.BestObjectiveNotImproving "
        + _each("TrainingJobDefinition", _DEFINITION),
        keeps="TrainingJobDefinition.RoleArn TrainingJobDefinition.VpcConfig "
        "TrainingJobDefinition.ResourceConfig.VolumeSizeInGB TrainingJobDefinition.ResourceConfig.VolumeKmsKeyId "
        "TrainingJobDefinition.OutputDataConfig.KmsKeyId TrainingJobDefinition.DefinitionName "
        "TrainingJobDefinition.EnableInterContainerTrafficEncryption",
        same="Random, Bayesian, Grid, Hyperband; scaling, parallel jobs, early stopping, completion criteria",
        differs="the search is optuna's (TPE for Bayesian), not AWS's: other points; one definition; no warm "
        "start, autotune, ReverseLogarithmic; a job is lost when the rehearsal ends",
    ),
    "DescribeHyperParameterTuningJob": Operation(
        call=tuning.describe, does="HyperParameterTuningJobName", same="counters, best training job"
    ),
    "ListHyperParameterTuningJobs": Operation(
        call=tuning.list_all, does=f"{FILTERS} StatusEquals", same="filters, order, pages"
    ),
    "ListTrainingJobsForHyperParameterTuningJob": Operation(
        call=tuning.list_jobs,
        does=f"{PAGING} HyperParameterTuningJobName StatusEquals",
        same="tuned values, objective, status, order, pages",
    ),
    "StopHyperParameterTuningJob": Operation(
        call=tuning.stop, does="HyperParameterTuningJobName", same="its training jobs are stopped"
    ),
}

_MONITORED = "MonitoringScheduleConfig.MonitoringJobDefinition"

MONITORING = {
    "CreateMonitoringSchedule": Operation(
        call=monitoring.create,
        does="MonitoringScheduleName MonitoringScheduleConfig.ScheduleConfig "
        + _each(
            _MONITORED,
            "BaselineConfig.ConstraintsResource BaselineConfig.StatisticsResource "
            "MonitoringInputs.EndpointInput.EndpointName "
            "MonitoringInputs.EndpointInput.LocalPath MonitoringOutputConfig.MonitoringOutputs "
            "MonitoringResources.ClusterConfig.InstanceCount MonitoringAppSpecification.ImageUri "
            "MonitoringAppSpecification.ContainerEntrypoint MonitoringAppSpecification.ContainerArguments "
            "StoppingCondition Environment NetworkConfig.EnableNetworkIsolation",
        )
        + " Tags",
        keeps="MonitoringScheduleConfig.MonitoringType "
        + _each(
            _MONITORED,
            "RoleArn MonitoringResources.ClusterConfig.InstanceType MonitoringResources.ClusterConfig.VolumeSizeInGB "
            "MonitoringResources.ClusterConfig.VolumeKmsKeyId MonitoringOutputConfig.KmsKeyId NetworkConfig.VpcConfig "
            "MonitoringInputs.EndpointInput.S3InputMode MonitoringInputs.EndpointInput.S3DataDistributionType "
            "NetworkConfig.EnableInterContainerTrafficEncryption",
        ),
        same="cron and NOW, a processing job over the captured hour with the platform's variables, baselines, "
        "violations by the exit message, CloudWatch metrics of the container",
        differs="only inline definitions of endpoint inputs; no separate job definitions, batch inputs or processors; "
        "the container gets all captured hours; NOW looks at the hour before it where it is not told",
    ),
    "DescribeMonitoringSchedule": Operation(
        call=monitoring.describe, does="MonitoringScheduleName", same="status, last execution"
    ),
    "ListMonitoringSchedules": Operation(
        call=monitoring.list_all, does=f"{FILTERS} StatusEquals EndpointName", same="filters, order, pages"
    ),
    "ListMonitoringExecutions": Operation(
        call=monitoring.list_executions,
        does="MonitoringScheduleName SortOrder NextToken MaxResults",
        same="status of each execution, its processing job, pages",
        differs="of one schedule",
    ),
    "StartMonitoringSchedule": Operation(call=monitoring.start, does="MonitoringScheduleName", same="goes on from now"),
    "StopMonitoringSchedule": Operation(
        call=monitoring.stop, does="MonitoringScheduleName", same="an execution that runs goes on"
    ),
    "DeleteMonitoringSchedule": Operation(
        call=monitoring.delete, does="MonitoringScheduleName", same="its executions stay as processing jobs"
    ),
}

_PACKAGE_LIST = "CreationTimeAfter CreationTimeBefore ModelApprovalStatus ModelPackageGroupName NameContains"

REGISTRY = {
    "CreateModelPackageGroup": Operation(
        call=registry.create_group,
        does="ModelPackageGroupName Tags",
        keeps="ModelPackageGroupDescription",
        same="name, status",
    ),
    "DescribeModelPackageGroup": Operation(
        call=registry.describe_group, does="ModelPackageGroupName", same="by name or ARN"
    ),
    "ListModelPackageGroups": Operation(call=registry.list_groups, does=CREATED, same="filters, order, pages"),
    "DeleteModelPackageGroup": Operation(
        call=registry.delete_group, does="ModelPackageGroupName", same="refused while it has packages"
    ),
    "CreateModelPackage": Operation(
        call=registry.create,
        does="ModelPackageGroupName ModelApprovalStatus Tags ClientToken InferenceSpecification.Containers.Image "
        "InferenceSpecification.Containers.ModelDataUrl InferenceSpecification.Containers.ModelDataSource "
        "InferenceSpecification.Containers.Environment CustomerMetadataProperties",
        keeps="ModelPackageDescription ModelMetrics DriftCheckBaselines MetadataProperties SourceUri Domain Task "
        "InferenceSpecification.SupportedContentTypes InferenceSpecification.SupportedResponseMIMETypes "
        "InferenceSpecification.SupportedRealtimeInferenceInstanceTypes "
        "InferenceSpecification.SupportedTransformInstanceTypes InferenceSpecification.Containers.Framework "
        "InferenceSpecification.Containers.FrameworkVersion InferenceSpecification.Containers.ImageDigest "
        "InferenceSpecification.Containers.NearestModelName InferenceSpecification.Containers.ModelInput "
        "SkipModelValidation",
        same="versions count up in their group, approval, deployment by ARN",
        differs="versioned packages only; no validation job, model cards or life cycle; no EventBridge event",
    ),
    "DescribeModelPackage": Operation(call=registry.describe, does="ModelPackageName", same="by ARN"),
    "ListModelPackages": Operation(
        call=registry.list_all, does=f"{PAGING} {_PACKAGE_LIST}", same="filters, order, pages"
    ),
    "UpdateModelPackage": Operation(
        call=registry.update,
        does="ModelPackageArn ModelApprovalStatus ApprovalDescription CustomerMetadataProperties "
        "CustomerMetadataPropertiesToRemove",
        same="approval, metadata",
    ),
    "DeleteModelPackage": Operation(call=registry.delete, does="ModelPackageName", same="by ARN"),
}

_NAMED, _CONFIG = "NotebookInstanceName", "NotebookInstanceLifecycleConfigName"
_CHANGED = f"{_NAMED} LifecycleConfigName DefaultCodeRepository AdditionalCodeRepositories"

NOTEBOOKS = {
    "CreateNotebookInstance": Operation(
        call=notebook.create,
        does=f"{_CHANGED} Tags",
        keeps="InstanceType RoleArn SubnetId SecurityGroupIds KmsKeyId DirectInternetAccess VolumeSizeInGB RootAccess "
        "PlatformIdentifier IpAddressType InstanceMetadataServiceConfiguration",
        same="JupyterLab with a folder that stays, lifecycle scripts with their 5 minutes and log streams, git clone",
        differs="JupyterLab of this machine, as you, with a folder for /home/ec2-user; on Docker "
        "a container of twofold:studio, as root, without git clone; no Git credentials, no CreateCodeRepository",
    ),
    "DescribeNotebookInstance": Operation(call=notebook.describe, does=_NAMED, same="every field"),
    "ListNotebookInstances": Operation(
        call=notebook.list_all,
        does=f"{FILTERS} StatusEquals NotebookInstanceLifecycleConfigNameContains",
        same="filters, order, pages",
    ),
    "StartNotebookInstance": Operation(call=notebook.start, does=_NAMED, same="OnStart again"),
    "StopNotebookInstance": Operation(call=notebook.stop, does=_NAMED, same="the folder stays"),
    "UpdateNotebookInstance": Operation(
        call=notebook.update,
        does=f"{_CHANGED} DisassociateLifecycleConfig",
        keeps="InstanceType RoleArn VolumeSizeInGB",
        same="only when it is stopped",
    ),
    "DeleteNotebookInstance": Operation(
        call=notebook.delete, does=_NAMED, same="refused while it runs", differs="gone at once"
    ),
    "CreatePresignedNotebookInstanceUrl": Operation(
        call=notebook.presign, does=_NAMED, same="an address that opens JupyterLab", differs="never runs out"
    ),
    "CreateNotebookInstanceLifecycleConfig": Operation(
        call=notebook.create_config, does=f"{_CONFIG} OnCreate OnStart Tags", same="scripts in base64"
    ),
    "DescribeNotebookInstanceLifecycleConfig": Operation(
        call=notebook.describe_config, does=_CONFIG, same="every field"
    ),
    "ListNotebookInstanceLifecycleConfigs": Operation(
        call=notebook.list_configs, does=FILTERS, same="filters, order, pages"
    ),
    "UpdateNotebookInstanceLifecycleConfig": Operation(
        call=notebook.update_config, does=f"{_CONFIG} OnCreate OnStart", same="counts from the next start"
    ),
    "DeleteNotebookInstanceLifecycleConfig": Operation(
        call=notebook.delete_config, does=_CONFIG, same="instances that run go on"
    ),
}

TAGS = {
    "AddTags": Operation(call=tags.add, does="ResourceArn Tags", same="tags of every rehearsed resource"),
    "ListTags": Operation(call=tags.list_all, does="ResourceArn NextToken MaxResults", same="tags, pages"),
    "DeleteTags": Operation(call=tags.delete, does="ResourceArn TagKeys", same="by key"),
}

TABLE: dict[str, Operation] = {**TRAINING, **TUNING, **SERVING, **JOBS, **MONITORING, **REGISTRY, **NOTEBOOKS, **TAGS}
"""By the name of the operation."""
