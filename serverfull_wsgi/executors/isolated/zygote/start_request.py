"""What a zygote is told of an environment that it is to start."""

from __future__ import annotations

import os
from typing import Any

from serverfull_wsgi.domain import Function
from serverfull_wsgi.executors.isolated.runtimes.launch import LaunchSpec
from serverfull_wsgi.executors.isolated.sandbox.cgroups import Group
from serverfull_wsgi.names import log_stream_name

MIB = 1024 * 1024
HEADROOM = 256 * MIB  # what RLIMIT_DATA allows over the memory size: it counts stacks that threads may never use
FILES = 1024  # open files, as on Lambda


def job(function: Function, beginning: LaunchSpec, *, port: int, group: Group | None, tmp: str) -> dict[str, Any]:
    """The job but for what all environments of a spawner have in common, which that adds."""
    keep = [beginning.root, *function.layers, *beginning.path, os.path.dirname(beginning.python)]
    limits = {"CORE": 0, "NOFILE": FILES}
    if group is None:
        limits["DATA"] = int(function.memory_size) * MIB + HEADROOM
    return {
        "argv": beginning.argv,
        "handler": beginning.handler,
        "env": {
            **beginning.variables,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
            "AWS_LAMBDA_LOG_STREAM_NAME": log_stream_name(function.version),
        },
        "cwd": beginning.root,
        "path": beginning.path,
        "limits": limits,
        "cgroups": group.doors() if group else [],
        "tmp": tmp,
        "keep": sorted(set(keep)),
    }
