"""What AWS says no to, in one line that tells what to change, with the exit code of whose fault it is."""

import pytest
from botocore import exceptions
from twofold.errors import ConfigError, NetworkError, PlatformError, UserError
from twofold.lifecycle.refusals import NotRehearsed, explained


def refused(code, message):
    return exceptions.ClientError({"Error": {"Code": code, "Message": message}}, "CreateTrainingJob")


@pytest.mark.parametrize(
    ("raised", "kind", "said"),
    [
        (
            refused("AccessDeniedException", "User: arn is not authorized to perform: sagemaker:CreateTrainingJob"),
            ConfigError,
            "Expected your own user or role to be allowed this: add it to its policy.",
        ),
        (
            refused("ValidationException", "Could not assume role arn:aws:iam::1:role/x.\nPlease ensure"),
            ConfigError,
            "Correct role in twofold.yaml",
        ),
        (
            refused("ResourceLimitExceeded", "The account-level service limit 'ml.p4d' is 0 Instances"),
            PlatformError,
            "ask for it in Service Quotas",
        ),
        (refused("ThrottlingException", "Rate exceeded"), PlatformError, "run the same command again"),
        (refused("ExpiredTokenException", "The security token is expired"), ConfigError, "aws sso login"),
        (refused("NotRehearsed", "x is not rehearsed"), NotRehearsed, "x is not rehearsed"),
        (refused("ValidationException", "1 validation error detected"), UserError, "1 validation error detected"),
        (exceptions.NoCredentialsError(), ConfigError, "no credentials that work"),
        (exceptions.ProfileNotFound(profile="x"), ConfigError, "correct AWS_PROFILE"),
        (exceptions.NoRegionError(), ConfigError, "set region in twofold.yaml or AWS_REGION"),
        (exceptions.EndpointConnectionError(endpoint_url="http://x"), NetworkError, "start `twofold rehearse`"),
        (exceptions.ParamValidationError(report="Invalid length"), ConfigError, "Correct that value"),
        (exceptions.DataNotFoundError(data_path="x"), UserError, "CreateTrainingJob a: "),
    ],
)
def test_it_is_one_line_with_what_to_change(raised, kind, said):
    with pytest.raises(kind) as caught, explained("CreateTrainingJob a"):
        raise raised
    text = str(caught.value)
    assert type(caught.value) is kind
    assert said in text
    assert "\n" not in text
    assert text.endswith(".")
