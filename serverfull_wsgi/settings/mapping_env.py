"""environs over a mapping.

The import of environs compiles patterns of marshmallow, the library under it. That takes as long as the import of
gunicorn, so `Settings.from_mapping` imports this module only for values that `PlainEnv` does not read.
"""

from __future__ import annotations

from typing import Any

from environs import Env, EnvValidationError

PREFIX = "SERVERFULL_"


class MappingEnv(Env):
    """The variables of a mapping, as environs reads them.

    Args:
        given: the variables that have a value, by name. A reader may replace a value.
    """

    def __init__(self, given: dict[str, str]) -> None:
        super().__init__(eager=False, prefix=PREFIX)
        self.given = given

    def _get_value(self, env_key: str, default: Any) -> Any:
        return self.given.get(env_key, default)

    def problems(self) -> Any:
        """Return the rules that values break: lists by the variables' names."""
        try:
            self.seal()
        except EnvValidationError as error:
            return error.error_messages
        return {}
