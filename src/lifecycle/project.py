"""What every verb works with: the checked file, the door to AWS, the project's storage, and words for people."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..errors import ConfigError
from .aws import Aws, Document
from .resources import tag_list
from .sections import Config
from .storage import Storage, tree

LOCAL_IMAGE = "twofold:cpu"
"""The image of --local where the file names none."""


@dataclass(frozen=True)
class Project:
    """A project in an account."""

    config: Config
    """The file, with flags laid over it."""
    aws: Aws
    """Where it is."""
    folder: Path
    """Folder of the file, which its local paths start from."""
    say: Callable[[str], None]
    """Tells people what goes on; results go elsewhere."""

    @property
    def name(self) -> str:
        """Name that everything begins with."""
        return self.config.project

    @cached_property
    def storage(self) -> Storage:
        """The project's part of the bucket."""
        return Storage(self.aws, self.config.bucket, self.config.folder)

    @cached_property
    def role(self) -> str:
        """ARN of the role that SageMaker works under; ConfigError when there is none."""
        return self.aws.role(self.config.role)

    @property
    def image(self) -> str:
        """The image; ConfigError when none is named."""
        if not self.config.image and not self.aws.local:
            raise ConfigError(
                "There is no image. Expected one in ECR, e.g. 123456789012.dkr.ecr.us-east-1.amazonaws.com/"
                "twofold@sha256:...: set image in twofold.yaml, or give --image."
            )
        return self.config.image or LOCAL_IMAGE

    @property
    def tags(self) -> list[Document]:
        """Tags of everything that is created."""
        return tag_list(self.name, self.config.tags)

    @property
    def vpc(self) -> Document:
        """`VpcConfig` of requests that take it, or nothing."""
        if not self.config.subnets:
            return {}
        return {"VpcConfig": {"Subnets": self.config.subnets, "SecurityGroupIds": self.config.security_groups}}

    def path(self, text: str) -> Path:
        """A path as the file has it."""
        return self.folder / Path(text).expanduser()

    def data(self, text: str) -> str:
        """URI of data: as it is when it is one, else that of the uploaded folder or file.

        Raises:
            UserError: there is no such folder or file.
        """
        if text.startswith("s3://"):
            return text
        path = self.path(text)
        if path.is_file():
            return self.storage.put_files("data", {path.name: path}) + path.name
        return self.storage.put_files("data", tree(path))
