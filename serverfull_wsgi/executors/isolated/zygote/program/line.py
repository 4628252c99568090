"""What goes over an environment's line."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any


def say(line: socket.socket, **message: Any) -> None:
    """One message; there may be nobody to hear it."""
    with contextlib.suppress(OSError):
        line.send(json.dumps(message).encode())
