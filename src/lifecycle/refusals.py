"""What AWS says no to, in one line that tells what to change."""

import contextlib
from collections.abc import Iterator

from botocore import exceptions

from ..errors import ConfigError, NetworkError, PlatformError, TwofoldError, UserError

CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.TokenRetrievalError,
    exceptions.SSOError,
    exceptions.UnauthorizedSSOTokenError,
)
HOW_TO_SIGN_IN = (
    "Expected those of an AWS account: run `aws configure` or `aws sso login`, or set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY; on a rehearsal use --local."
)


class NotRehearsed(UserError):
    """A rehearsal does not do what AWS would; so there is nothing of that kind in it either."""


_ADVICE: tuple[tuple[tuple[str, ...], type[TwofoldError], str], ...] = (
    (("NotRehearsed",), NotRehearsed, ""),
    (
        (
            "ExpiredToken",
            "InvalidClientTokenId",
            "UnrecognizedClient",
            "Signature",
            "InvalidAccessKeyId",
            "AuthFailure",
        ),
        ConfigError,
        HOW_TO_SIGN_IN,
    ),
    (
        ("AccessDenied", "UnauthorizedOperation", "403"),
        ConfigError,
        "Expected your own user or role to be allowed this: add it to its policy.",
    ),
    (
        ("LimitExceeded", "QuotaExceeded"),
        PlatformError,
        "Expected a larger quota: ask for it in Service Quotas, or take another instance_type or region.",
    ),
    (
        ("Throttl", "TooManyRequests", "SlowDown", "InternalFailure", "InternalServer", "Unavailable", "500", "503"),
        PlatformError,
        "A second try may help: run the same command again.",
    ),
)
"""Parts of an error's code, what kind of error it is, and what to change; the first that fits counts."""


@contextlib.contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn what botocore raises into an error of ours.

    Args:
        doing: what is asked for, e.g. `CreateTrainingJob digits-train-1`.

    Raises:
        TwofoldError: anything was refused or could not be asked.
    """
    try:
        yield
    except exceptions.ClientError as error:
        raise _refused(error, doing) from error
    except CREDENTIALS as error:
        raise ConfigError(f"{doing}: no credentials that work ({_line(error)}). {HOW_TO_SIGN_IN}") from error
    except exceptions.ProfileNotFound as error:
        raise ConfigError(f"{_line(error)}. Expected one of your AWS configuration: correct AWS_PROFILE.") from error
    except exceptions.NoRegionError as error:
        raise ConfigError(
            "No AWS region is set. Expected one such as eu-central-1: set region in twofold.yaml or AWS_REGION."
        ) from error
    except exceptions.ParamValidationError as error:
        raise ConfigError(f"{doing}: {_line(error)}. Correct that value in twofold.yaml or its flag.") from error
    except (exceptions.HTTPClientError, exceptions.ConnectionError) as error:
        raise NetworkError(
            f"{doing}: no answer ({_line(error)}). Check the network, and region in twofold.yaml; with --local start "
            f"`twofold rehearse`."
        ) from error
    except exceptions.BotoCoreError as error:
        raise UserError(f"{doing}: {_line(error)}.") from error


def _refused(error: exceptions.ClientError, doing: str) -> TwofoldError:
    found = error.response.get("Error", {})
    code, said = str(found.get("Code", "")), " ".join(str(found.get("Message", "")).split()).rstrip(".")
    text = f"{doing}: {code}: {said}."
    for words, kind, advice in _ADVICE:
        if any(word in code for word in words):
            return kind(f"{text} {advice}".rstrip())
    if "role" in said.lower():
        return ConfigError(f"{text} Correct role in twofold.yaml: one of this account that SageMaker may assume.")
    return UserError(text)


def _line(error: Exception) -> str:
    """What an error says, on one line without the last dot."""
    return " ".join(str(error).split()).rstrip(".")
