"""The hooks of SnapStart, which functions register with the package snapshot_restore_py."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

_Hook = tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]


def run_before_snapshot() -> None:
    """Run the hooks before the snapshot, the last one first. Each runs once, even if one fails."""
    hooks = _registered("get_before_snapshot")
    while hooks:
        _run(hooks.pop())


def run_after_restore() -> None:
    """Run the hooks after a restore, in the order of their registration."""
    for hook in _registered("get_after_restore"):
        _run(hook)


def _registered(name: str) -> list[_Hook]:
    """Return the list that a function of snapshot_restore_py returns; without that package there are no hooks."""
    registry = sys.modules.get("snapshot_restore_py")
    hooks: list[_Hook] = getattr(registry, name)() if registry else []
    return hooks


def _run(hook: _Hook) -> None:
    function, arguments, options = hook
    function(*arguments, **options)
