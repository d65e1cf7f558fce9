"""Everything that Twofold raises on purpose; each class knows whose fault it is, its exit code and its HTTP status.

    TwofoldError                     exit 1    500
    ├── UserError                    what was asked for cannot be done as asked
    │   ├── ConfigError              exit 2    500   a hyperparameter, a setting or a file of the job is wrong
    │   ├── DataError                exit 3    500   a channel is empty, a record is broken
    │   │   └── FormatError          exit 3    400   these bytes are not what their type says
    │   ├── ModelError               exit 4    500   the model folder is missing something or does not fit together
    │   └── RequestError             exit 1    400   the client of an endpoint sent what cannot be answered
    │       ├── ProtocolError                  400   no HTTP/1.1; or 408, 414, 417, 431, 501, 505 where these say more
    │       ├── PayloadTooLarge                413
    │       ├── UnsupportedMediaType           415
    │       ├── NotAcceptable                  406
    │       ├── NotLoaded                      404   no model of this name is loaded
    │       ├── AlreadyLoaded                  409   a model of this name is
    │       └── ApiError                       400   an operation of AWS that `twofold rehearse` refuses
    └── PlatformError                exit 5    503   machine, network, disk: a second try may help
        ├── InsufficientMemory   exit 5    507   one more model does not fit
        ├── Overloaded           exit 5    503   more requests than can be answered in time; says when to come again
        ├── TooSlow              exit 5    504   the model did not answer in time
        └── NetworkError             exit 5    503   a host that cannot be found or reached

Messages have three parts: what was found (with the value), what was expected (with the bound), what to change (in the
user's own word for it: the hyperparameter, channel, header or file).
"""


class TwofoldError(Exception):
    """Base of all errors that Twofold raises on purpose; by itself it means a fault of ours."""

    exit_code = 1
    """Exit code of a job that ends with this error."""
    status = 500
    """HTTP status of a request that ends with this error."""
    cause = "internal"
    """Class of the cause as the failure file names it."""


class UserError(TwofoldError):
    """What was asked for cannot be done as asked; trying again will not help."""

    cause = "user"


class ConfigError(UserError):
    """A hyperparameter, an environment variable or a configuration file of the job is wrong."""

    exit_code = 2
    cause = "configuration"


class DataError(UserError):
    """A channel is missing or empty, or a record in it cannot be read."""

    exit_code = 3
    cause = "data"


class FormatError(DataError):
    """Bytes are not what their content type says; the message says where, the caller adds the file or the channel."""

    status = 400


class ModelError(UserError):
    """The model folder is missing something or does not fit together."""

    exit_code = 4
    cause = "model"


class RequestError(UserError):
    """The client of an endpoint sent something that cannot be answered."""

    status = 400
    cause = "request"


class ProtocolError(RequestError):
    """A request is no HTTP/1.1, or could be understood in two ways; its connection is of no use any more."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class PayloadTooLarge(RequestError):
    """The body of a request is over the limit in force."""

    status = 413


class UnsupportedMediaType(RequestError):
    """No decoder for the Content-Type of a request."""

    status = 415


class NotAcceptable(RequestError):
    """No encoder for any type in the Accept header of a request."""

    status = 406


class ApiError(RequestError):
    """An operation of AWS that the rehearsal refuses, with the code by which clients know why."""

    def __init__(self, message: str, *, code: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class NotLoaded(RequestError):
    """No model of the name that a request gives is loaded."""

    status = 404


class AlreadyLoaded(RequestError):
    """A model of the name that a request gives is loaded, or being loaded."""

    status = 409


class PlatformError(TwofoldError):
    """The machine, the network or the disk failed; a second try may help."""

    exit_code = 5
    status = 503
    cause = "platform"


class InsufficientMemory(PlatformError):
    """One more model does not fit into memory; others have to be unloaded first."""

    status = 507


class Overloaded(PlatformError):
    """A request would wait longer than it may."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which the client should try again."""


class TooSlow(PlatformError):
    """The model did not answer within the time that a request may take."""

    status = 504


class NetworkError(PlatformError):
    """Another machine cannot be found or reached."""

    cause = "network"
