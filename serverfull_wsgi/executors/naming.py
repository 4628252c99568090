"""How things of a function's are called: its callable, for a process that is to import it, and its log."""

from __future__ import annotations

import secrets
import sys
import time

from serverfull_wsgi.domain import Function


def handler_string(function: Function) -> str | None:
    """As it was given; else ``package.module.attribute`` if that is where the callable is found, None if it is not.

    >>> import json
    >>> handler_string(Function(json.dumps))
    'json.dumps'
    >>> handler_string(Function(lambda event, context: None))
    """
    handler = function.handler
    if isinstance(handler, str):
        return handler
    if function.handler_string and function.source is handler:  # no wrapper has put another in its place
        return function.handler_string
    module, name = getattr(handler, "__module__", None), getattr(handler, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__" or not name.isidentifier():
        return None
    found = getattr(sys.modules.get(module), name, None)
    return f"{module}.{name}" if found is handler else None


def log_group_name(function_name: str) -> str:
    """AWS's name for where all logs of a function are."""
    return f"/aws/lambda/{function_name}"


def log_stream_name(version: str) -> str:
    """A new name for one environment's log, as AWS makes them: ``2026/11/24/[$LATEST]`` and 32 hexadecimal digits."""
    return f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{version}]{secrets.token_hex(16)}"
