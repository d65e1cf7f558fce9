"""Who answers while the model loads: 503 and the reason, to whatever is asked."""

import select
import socket
import threading

from ..errors import PlatformError
from .replies import error_body

_BACKLOG = 2048
_SECONDS = 1.0
"""For a client to send what it wants; it is not looked at."""
_HEAD = 64 << 10


class Porter:
    """Holds the port from the first moment, and hands it over to the server."""

    def __init__(self, port: int) -> None:
        """Take the port.

        Raises:
            PlatformError: somebody else has it.
        """
        self.state = "loading"
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listener.bind(("0.0.0.0", port))  # noqa: S104  the platform asks by any of the host's addresses
        except OSError as error:
            self._listener.close()
            raise PlatformError(
                f"Port {port} cannot be opened: {error}. Stop what has it, or set SAGEMAKER_BIND_TO_PORT."
            ) from error
        self._listener.listen(_BACKLOG)
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="porter", daemon=True)
        self._thread.start()

    def hand_over(self) -> int:
        """Answer nobody any more; return the listening socket. No thread is left that a fork could catch."""
        self._stop.close()
        self._thread.join()
        self._stopped.close()
        return self._listener.detach()

    def _serve(self) -> None:
        self._listener.setblocking(False)
        while True:
            ready, _, _ = select.select([self._listener, self._stopped], [], [])
            if self._stopped in ready:
                return
            try:
                client, _ = self._listener.accept()
            except OSError:
                continue
            with client:
                self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        body = error_body(503, f"{self.state}: the model is not ready yet. Try again in a few seconds.")
        head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        client.settimeout(_SECONDS)
        try:
            data = client.recv(_HEAD)
            client.sendall(f"{head}Retry-After: 2\r\nConnection: close\r\n\r\n".encode())
            if not data.startswith(b"HEAD"):
                client.sendall(body)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            # It has gone, or never wanted anything.
            return
