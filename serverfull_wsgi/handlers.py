"""From a Handler string to the callable it names, failing in the words of AWS's Python runtime."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from serverfull_wsgi.errors import RuntimeFault


def load_handler(handler: str) -> Any:
    """What ``"package.module.attribute"`` names; ``/`` may stand for ``.`` in the module, as on AWS.

    Raises `RuntimeFault` with AWS's error type, or whatever the module raises while it is imported.

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
