"""Space that is kept on the disk, so that what makes events end can be written when the disk is full."""

from __future__ import annotations

import os
from pathlib import Path

RESERVE = 8 * 1024 * 1024  # bytes


class DiskReserve:
    """Space on the disk that is given back when acknowledgements need it; without it no event is accepted."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def is_full(self) -> bool:
        return self._path.exists()

    def fill(self) -> None:
        """Takes the space again. Raises OSError while there is none."""
        if self.is_full():
            return
        filling = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        fd = os.open(filling, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, RESERVE)
            os.rename(filling, self._path)
        except OSError:
            os.unlink(filling)
            raise
        finally:
            os.close(fd)

    def release(self) -> bool:
        """Whether there was space to give back."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
