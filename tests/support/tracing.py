"""strace, for tests that observe system calls or make them fail."""

import shutil
import subprocess

import pytest


def can_trace():
    """Return whether strace is installed and may trace processes."""
    if not shutil.which("strace"):
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0


needs_strace = pytest.mark.skipif(not can_trace(), reason="needs strace, and the right to trace")
