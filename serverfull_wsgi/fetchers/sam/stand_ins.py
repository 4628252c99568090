"""Stand-ins for values that are known only at AWS, so that a function can start without them.

``unresolved:Table.StreamArn`` stands for the attribute StreamArn of the resource Table. A value that decides which code
runs has no stand-in. Neither has a secret: everybody would know the key or password.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from serverfull_wsgi.fetchers.sam.parameters import SETTING, Unresolvable

PREFIX = "unresolved:"

_word = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRETS = frozenset(
    "apikey credential credentials hmac pass passcode passphrase passwd password passwords pepper pwd salt secret "
    "secrets token tokens".split()
)
_SECRET_KEYS = frozenset(  # the words before "key" that make it a secret
    "access api app auth encryption hash jwt license master private secret session shared signing webhook".split()
)


class ValueAtAws(Unresolvable):
    """A value that AWS or a deployment decides.

    Args:
        reference: the name of the value in the setting: ``"Table.StreamArn"``.
        reason: the reason why the value is not known.
        is_of_aws: True for the Ref or attribute of a resource of AWS's, which is a name, an ARN or an address.
    """

    def __init__(self, reference: str, reason: str, *, is_of_aws: bool = False) -> None:
        super().__init__(f"{reason}; {cure_of(reference)}")
        self.reference, self.reason, self.is_of_aws = reference, reason, is_of_aws

    @property
    def stand_in(self) -> str:
        """The text that stands for the value."""
        return f"{PREFIX}{self.reference}"

    def note(self, effect: str) -> str:
        """Return the text of a warning."""
        return f"{self.reason}; {effect}; {cure_of(self.reference)}"


class StandIn(NamedTuple):
    """A property's value with stand-ins in it."""

    value: Any
    missing: tuple[ValueAtAws, ...]

    def members(self) -> dict[str, Any]:
        """Return the members of a mapping, each with the stand-ins in it."""
        return {name: self._part(member) for name, member in self.value.items()}

    def _part(self, member: Any) -> Any:
        text = str(member)
        missing = tuple(each for each in self.missing if each.stand_in in text)
        return StandIn(member, missing) if missing else member


def cure_of(reference: str) -> str:
    """Return the cure for a value that is not known."""
    return f"set {SETTING}='{reference}=…'"


def may_name_secret(name: str) -> bool:
    """Return True if a variable, parameter or attribute of this name may hold a secret, and not only its name or place.

    >>> [name for name in ("JWT_SECRET", "SecretArn", "ApiKey", "API_KEY_ID", "TABLE") if may_name_secret(name)]
    ['JWT_SECRET', 'ApiKey']
    """
    *before, last = ["", *(word.lower() for word in _word.findall(name))]
    return last in _SECRETS or (last in ("key", "keys") and before[-1:] != [] and before[-1] in _SECRET_KEYS)
