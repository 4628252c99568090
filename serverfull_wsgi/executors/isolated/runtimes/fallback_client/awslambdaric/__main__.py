"""The command ``python -m awslambdaric HANDLER``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from . import bootstrap, lambda_runtime_hooks_runner  # noqa: F401  (a fork of the zygote then need not import it)
from .lambda_runtime_client import LambdaRuntimeClient


def main(args: Sequence[str]) -> None:
    """Run the handler that ``args[1]`` names, with the events of the Runtime API in AWS_LAMBDA_RUNTIME_API."""
    if len(args) < 2:
        raise ValueError("Handler not set")
    bootstrap.run(args[1], LambdaRuntimeClient(os.environ["AWS_LAMBDA_RUNTIME_API"]))


if __name__ == "__main__":
    main(sys.argv)
