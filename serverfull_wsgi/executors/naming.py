"""The Handler string that names a function's callable, for code that is to be imported in another process."""

from __future__ import annotations

import sys

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
    if function.handler_string:
        return function.handler_string
    module, name = getattr(handler, "__module__", None), getattr(handler, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__" or not name.isidentifier():
        return None
    found = getattr(sys.modules.get(module), name, None)
    return f"{module}.{name}" if found is handler else None
