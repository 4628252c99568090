"""strace, for tests that look at system calls or make them fail."""

import shutil
import subprocess

import pytest


def traces():
    """Whether strace is here and may trace."""
    if not shutil.which("strace"):
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0


needs_strace = pytest.mark.skipif(not traces(), reason="needs strace, and the right to trace")
