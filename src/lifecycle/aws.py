"""The door to AWS: questions are always asked, changes are made, or only shown when it is a dry run."""

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore import xform_name
from botocore.config import Config as ClientConfig
from botocore.validate import validate_parameters

from ..errors import ConfigError
from .refusals import explained

Document = dict[str, Any]
LOCAL_ADDRESS = "http://127.0.0.1:8055"
"""Where `twofold rehearse` answers unless it is told otherwise."""
LOCAL_CREDENTIALS = {"aws_access_key_id": "rehearse", "aws_secret_access_key": "rehearse"}
"""What opens nothing."""
LOCAL_ROLE = "arn:aws:iam::123456789012:role/rehearsal"
"""A role for --local, which nobody checks there."""
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/.+")


@dataclass(slots=True)
class Aws:
    """One account in one region, or a rehearsal."""

    session: Any
    """Session of boto3."""
    region: str
    """The region that everything is in."""
    address: str | None = None
    """Where a rehearsal answers; None: wherever boto3 finds AWS."""
    dry: bool = False
    """Whether changes are only shown."""
    show: Callable[[str], None] = print
    """Where a dry run says what would be asked."""
    poll_s: float = 10.0
    """Seconds between two looks at what runs."""
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def local(self) -> bool:
        """Whether this is a rehearsal."""
        return self.address is not None

    def ask(self, service: str, operation: str, **parameters: object) -> Document:
        """Ask what changes nothing; TwofoldError when it is refused."""
        return self._call(service, operation, parameters)

    def do(self, service: str, operation: str, **parameters: object) -> Document:
        """Change something, or in a dry run check and show the request; then the answer is empty.

        Raises:
            TwofoldError: it is refused, or the request cannot be right.
        """
        if not self.dry:
            return self._call(service, operation, parameters)
        client = self.client(service)
        with explained(operation):
            shape = client.meta.service_model.operation_model(operation).input_shape
            validate_parameters(parameters, shape)
        request = {"service": service, "operation": operation, "request": parameters}
        self.show(json.dumps(request, indent=2, default=_shown))
        return {}

    def pages(self, service: str, operation: str, result: str, **parameters: object) -> Iterator[Document]:
        """All items of a list, page by page."""
        # Each service writes it its own way: NextToken or nextToken.
        next_page = "nextToken" if service == "logs" else "NextToken"
        token: Document = {}
        while True:
            answer = self.ask(service, operation, **parameters, **token)
            yield from answer.get(result, [])
            if not answer.get(next_page):
                return
            token = {next_page: answer[next_page]}

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 has no types
        """Client of a service, made when it is first needed."""
        if service not in self._clients:
            options: Document = {"config": ClientConfig(retries={"mode": "standard", "total_max_attempts": 5})}
            if self.address is not None:
                options["config"] = ClientConfig(proxies={}, retries={"mode": "standard", "total_max_attempts": 2})
                options["endpoint_url"] = self.address
            with explained(service):
                self._clients[service] = self.session.client(service, **options)
        return self._clients[service]

    def account(self) -> str:
        """Number of the account."""
        return str(self.ask("sts", "GetCallerIdentity")["Account"])

    def role(self, wanted: str) -> str:
        """ARN of a role that is given by ARN or name; ConfigError when none is given on AWS."""
        if not wanted and self.local:
            return LOCAL_ROLE
        if not wanted:
            raise ConfigError(
                "There is no role. Expected the ARN or name of an IAM role that SageMaker may assume: set role in "
                "twofold.yaml, or give --role."
            )
        if _ROLE_ARN.fullmatch(wanted) or self.local:
            return wanted if _ROLE_ARN.fullmatch(wanted) else LOCAL_ROLE
        return str(self.ask("iam", "GetRole", RoleName=wanted)["Role"]["Arn"])

    def _call(self, service: str, operation: str, parameters: Document) -> Document:
        method = getattr(self.client(service), xform_name(operation))
        name = next((str(value) for key, value in parameters.items() if key.endswith("Name")), "")
        with explained(f"{operation} {name}".rstrip()):
            answer: Document = method(**parameters)
        return answer


def connect(*, region: str, local: bool, address: str | None, dry: bool, show: Callable[[str], None]) -> Aws:
    """Open the door.

    Args:
        region: AWS region; empty is that of the user's AWS configuration.
        local: whether a rehearsal is asked, with credentials that open nothing.
        address: where it answers (AWS_ENDPOINT_URL); None is where it does unless told otherwise.
        dry: whether changes are only shown.
        show: where they are shown.

    Raises:
        ConfigError: there is no region, or the profile does not exist.
    """
    if local:
        session = boto3.Session(**LOCAL_CREDENTIALS, region_name=region or "us-east-1")
        return Aws(session, session.region_name, address=address or LOCAL_ADDRESS, dry=dry, show=show, poll_s=0.2)
    with explained("AWS"):
        session = boto3.Session(region_name=region or None)
    if not session.region_name:
        raise ConfigError(
            "No AWS region is set. Expected one such as eu-central-1: set region in twofold.yaml or AWS_REGION."
        )
    return Aws(session, session.region_name, dry=dry, show=show)


def _shown(value: object) -> str:
    """What JSON has no form for: times, and what an upload brings."""
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    return f"<content of {value.name}>" if isinstance(value, io.BufferedReader) else str(value)
