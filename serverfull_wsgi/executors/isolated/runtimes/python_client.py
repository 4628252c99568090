"""The choice between AWS's runtime client for Python, awslambdaric, and the fallback client.

AWS's client has a C module, which needs a wheel for the machine or a compiler. This module also runs under other
interpreters, and as a module of its own for an environment that is not forked.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from types import ModuleType

FALLBACK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fallback_client")
_PACKAGE, _C_MODULE = "awslambdaric", "runtime_client"


def import_client() -> ModuleType:
    """Return the main module of AWS's client, or else of the fallback client, imported under the same name.

    A client in the code of a function counts too: the module search path decides.
    """
    try:
        importlib.import_module(_C_MODULE)
        return importlib.import_module(f"{_PACKAGE}.__main__")
    except ImportError:
        return import_fallback()


def import_fallback() -> ModuleType:
    """Return the main module of the fallback client, in the place of a client that has been imported in part."""
    _forget_client()
    sys.path.insert(0, FALLBACK)
    try:
        return importlib.import_module(f"{_PACKAGE}.__main__")
    finally:
        sys.path.remove(FALLBACK)


def is_fallback() -> bool:
    """Return whether the fallback client has been imported."""
    return f"{_PACKAGE}.{_C_MODULE}" in sys.modules


def prefer_own_client(folders: Sequence[str]) -> None:
    """Replace the fallback client by AWS's, if the function has it in one of these folders and it can be imported."""
    if is_fallback() and PathFinder.find_spec(_PACKAGE, folders):
        fallback = _forget_client()
        try:
            importlib.import_module(_C_MODULE)
            importlib.import_module(f"{_PACKAGE}.__main__")
        except ImportError:
            _forget_client()
            sys.modules.update(fallback)


def _forget_client() -> dict[str, ModuleType]:
    """Remove all modules of the client from ``sys.modules``, and return them."""
    names = [name for name in sys.modules if name.partition(".")[0] in (_PACKAGE, _C_MODULE)]
    return {name: sys.modules.pop(name) for name in names}
