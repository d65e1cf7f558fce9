import pytest
from twofold.contract.endpoint import MEGABYTE, Endpoint
from twofold.serve.transforms import parameters


def test_two_requests_for_each_worker_of_the_platforms_size():
    found = parameters(Endpoint(batch=True, max_payload_bytes=100 * MEGABYTE), 4)
    assert found == {"MaxConcurrentTransforms": 8, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}


@pytest.mark.parametrize("workers", [1, 8, 96])
@pytest.mark.parametrize("payload", [None, 1, MEGABYTE, 5 * MEGABYTE, 100 * MEGABYTE])
@pytest.mark.parametrize("asked", [None, 1, 64])
def test_their_product_is_within_the_platforms_bound(workers, payload, asked):
    endpoint = Endpoint(batch=True, max_payload_bytes=payload, max_concurrent_transforms=asked)
    found = parameters(endpoint, workers)
    assert 1 <= found["MaxConcurrentTransforms"] * found["MaxPayloadInMB"] <= 100


def test_what_the_job_says_is_kept():
    endpoint = Endpoint(batch=True, batch_strategy="SINGLE_RECORD", max_concurrent_transforms=3)
    assert parameters(endpoint, 2) | {"MaxPayloadInMB": 0} == {
        "MaxConcurrentTransforms": 3,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": 0,
    }
