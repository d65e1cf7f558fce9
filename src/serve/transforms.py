"""What a batch transform is told at `GET /execution-parameters`, where its own request leaves it open.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html
"""

from ..contract.endpoint import MEGABYTE, Endpoint

PATH = "/execution-parameters"
_PAYLOAD_MB = 6
"""The platform's own default."""
_LARGEST_MB = 100
"""Bound of the platform on concurrency times payload."""
_PER_WORKER = 2
"""Requests at once for each worker: one is computed while the next is being received and decoded."""


def parameters(endpoint: Endpoint, workers: int) -> dict[str, int | str]:
    """Return the parameters for a number of workers: without them the platform sends one request at a time."""
    limit = endpoint.max_payload_bytes
    payload = _PAYLOAD_MB if limit is None else max(min(_PAYLOAD_MB, limit // MEGABYTE), 1)
    wanted = endpoint.max_concurrent_transforms or workers * _PER_WORKER
    return {
        "MaxConcurrentTransforms": max(min(wanted, _LARGEST_MB // payload), 1),
        "BatchStrategy": endpoint.batch_strategy or "MULTI_RECORD",
        "MaxPayloadInMB": payload,
    }
