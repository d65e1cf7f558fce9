"""Clients of the services that moto answers at our own address, and names of S3."""

from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from .weather import OURSELVES

Client = Any
"""A client of boto3, which has no types."""
ACCOUNT = "123456789012"
"""The account that everything belongs to; the one that moto uses."""
SECRET = {"aws_access_key_id": "rehearse", "aws_secret_access_key": "rehearse"}
"""Credentials that open nothing."""


@dataclass(frozen=True, slots=True)
class Clients:
    """What jobs need beside SageMaker."""

    s3: Client
    """Data, models, results."""
    logs: Client
    """Log groups and streams."""
    cloudwatch: Client
    """Metrics."""
    sns: Client
    """Notices of asynchronous invocations."""
    scaling: Client
    """Targets and policies of auto-scaling."""


def connect(address: str, region: str) -> Clients:
    """Make clients of the rehearsal at an address such as `http://127.0.0.1:8055`."""
    session = boto3.Session(**SECRET, region_name=region)
    config = Config(proxies={}, retries={"total_max_attempts": 1}, max_pool_connections=32, user_agent_extra=OURSELVES)
    names = ("s3", "logs", "cloudwatch", "sns", "application-autoscaling")
    return Clients(*(session.client(name, endpoint_url=address, config=config) for name in names))


def arn(kind: str, name: str, region: str) -> str:
    """ARN of a resource of SageMaker, e.g. of kind `training-job`."""
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{kind}/{name}"
