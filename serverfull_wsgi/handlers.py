"""Handler strings: from ``"package.module.attribute"`` to a callable, and back."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import RuntimeFault


def load_handler(handler: str) -> Any:
    """Return the object that ``"package.module.attribute"`` names. As on AWS, ``/`` may separate packages.

    Raises `RuntimeFault` with the error type and text of AWS's Python runtime. Any other exception that the module
    raises during its import passes through.

    >>> load_handler("json.dumps").__name__
    'dumps'
    """
    module_name, dot, attribute = handler.rpartition(".")
    if not dot:
        raise RuntimeFault(
            "Runtime.MalformedHandlerName", f"Bad handler '{handler}': not enough values to unpack (expected 2, got 1)"
        )
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise RuntimeFault(
            "Runtime.BuiltInModuleConflict", f"Cannot use built-in module {module_name} as a handler module"
        )
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise RuntimeFault("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}") from error
    except SyntaxError as error:
        where = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
        raise RuntimeFault(
            "Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}", [where]
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        raise RuntimeFault(
            "Runtime.HandlerNotFound", f"Handler '{attribute}' missing on module '{module_name}'"
        ) from error


def handler_string(function: Function) -> str | None:
    """Return the Handler string by which another process can import the function's handler.

    This is the string the function was given, or else the place where its callable was defined. Return None if the
    callable cannot be imported from there, as for a lambda or a wrapped handler.

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
    is_there = getattr(sys.modules.get(module), name, None) is handler
    return f"{module}.{name}" if is_there else None
