"""From a callable to the Handler string that names it, for code that is to be imported in another process."""

from __future__ import annotations

import sys
from typing import Any


def handler_string(handler: Any) -> str | None:
    """``package.module.attribute`` if that is where ``handler`` is found, None if it cannot be named so.

    >>> import json
    >>> handler_string(json.dumps)
    'json.dumps'
    >>> handler_string(lambda event, context: None)
    """
    if isinstance(handler, str):
        return handler
    module, name = getattr(handler, "__module__", None), getattr(handler, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__" or not name.isidentifier():
        return None
    found = getattr(sys.modules.get(module), name, None)
    return f"{module}.{name}" if found is handler else None
