"""The client for S3, and what its errors mean.

It is obstore (the object_store crate): of those we measured it had the highest throughput and took the least of
Python's time. It retries what may pass (5xx, throttling, broken connections, time-outs) with growing pauses; what stays
broken is raised here with the object's name.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from obstore.exceptions import (
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from ..errors import ConfigError, DataError, PlatformError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

SCHEME = "s3://"
RETRY_SECONDS = 120.0
"""Total time that one request may take with all its repetitions."""
CONNECTIONS = 96
"""Requests that wait at the same time, and idle connections that are kept besides."""
STALL_SECONDS = 20.0
"""A connection that brings nothing for so long is given up, and the request repeated."""

_OWN_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "S3_ENDPOINT_URL")


def parse_uri(uri: str) -> tuple[str, str]:
    """Bucket and key, or prefix, of `s3://bucket/key`.

    Raises:
        ConfigError: the address is of another form.
    """
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    if not uri.startswith(SCHEME) or not bucket:
        raise ConfigError(f"{uri!r} is no address in S3. Expected s3://bucket/prefix.")
    return bucket, key


def open_store(bucket: str, environ: Mapping[str, str], retry_seconds: float) -> S3Store:
    """Make a client for one bucket; nothing is connected yet.

    Args:
        bucket: its name.
        environ: endpoint, region and credentials as the AWS tools take them.
        retry_seconds: bound on the time of one request with its repetitions.

    Raises:
        ConfigError: no credentials are found.
    """
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    endpoint = next((environ[name] for name in _ENDPOINTS if environ.get(name)), None)
    config: S3Config = {"s3_express": bucket.endswith("--x-s3")}
    for name in _KEYS:
        if environ.get(name):
            config[name] = environ[name]  # type: ignore[literal-required]
    if region:
        config["region"] = region
    if endpoint:
        config["endpoint"] = endpoint.rstrip("/")
    client: ClientConfig = {
        "allow_http": bool(endpoint and endpoint.startswith("http://")),
        "connect_timeout": timedelta(seconds=min(10.0, retry_seconds)),
        "read_timeout": timedelta(seconds=min(STALL_SECONDS, retry_seconds)),
        "timeout": timedelta(seconds=retry_seconds),
        "pool_max_idle_per_host": str(CONNECTIONS),
    }
    retry: RetryConfig = {
        "max_retries": 20,
        "retry_timeout": timedelta(seconds=retry_seconds),
        "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=10), "base": 2},
    }
    provider = None
    if environ.get("AWS_SKIP_SIGNATURE"):
        config["skip_signature"] = True
    elif not any(environ.get(name) for name in _OWN_CREDENTIALS):
        provider = _profile()
    return S3Store(bucket, config=config, client_options=client, retry_config=retry, credential_provider=provider)


@contextmanager
def named(name: str) -> Iterator[None]:
    """Turn the client's errors into ours; the name has bucket and key."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{name} does not exist (any more). Expected objects that stay while a job runs.") from error
    except PreconditionError as error:
        raise DataError(
            f"{name} has changed since it was listed. Expected objects that stay as they are while a job reads "
            f"them: write new data under a new prefix."
        ) from error
    except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
        raise DataError(
            f"{name} may not be read: {_reason(error)}. Expected s3:ListBucket on the bucket and s3:GetObject on "
            f"its objects (and kms:Decrypt on their key) for the job's role."
        ) from error
    except BaseError as error:
        if "<Code>NoSuchBucket</Code>" in str(error):
            raise DataError(
                f"{name}: the bucket does not exist. Check its name, and the endpoint and region."
            ) from error
        raise PlatformError(
            f"{name} cannot be read, and trying again did not help: {_reason(error)}. Check the endpoint, the "
            f"region and the network (a VPC needs an endpoint for S3)."
        ) from error


def _profile() -> Any:  # noqa: ANN401  obstore's types cannot be imported
    """Credentials that only boto3 knows how to find: profiles, single sign-on, the role of an instance.

    Raises:
        ConfigError: there are none.
    """
    from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415  boto3 takes long to load

    try:
        return Boto3CredentialProvider()
    except ValueError as error:
        raise ConfigError(
            "No credentials for S3 were found. Expected the role of a job, a profile, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY in the environment."
        ) from error


def _reason(error: Exception) -> str:
    """First line of the client's message, cut to a length that a log takes."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
