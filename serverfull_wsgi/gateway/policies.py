"""The policies that Lambda authorizers return: does a policy allow a call of this route?

An explicit Deny has precedence over an Allow. A statement with members that are not evaluated here, such as Condition,
allows nothing as an Allow, and denies everything as a Deny.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

ACTION = "execute-api:Invoke"
_EVALUATED = frozenset({"Action", "Effect", "Resource", "Sid"})


class Decision(Enum):
    """The result of a policy."""

    ALLOW = "allow"
    DENY = "deny"  # nothing allows it
    EXPLICIT_DENY = "explicit deny"


def evaluate(policy: Mapping[str, Any], arn: str) -> Decision:
    """Return the decision about a call of ``arn``, the ARN of a method.

    >>> allow = {"Statement": [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "arn:*/GET/pets"}]}
    >>> evaluate(allow, "arn:aws:execute-api:us-east-1:123456789012:shop/Prod/GET/pets")
    <Decision.ALLOW: 'allow'>

    Raises ValueError for a document that is not a policy.
    """
    statements = policy.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise ValueError("a policy must have a list of statements")
    decision = Decision.DENY
    for statement in statements:
        if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
            raise ValueError("a statement must have the effect Allow or Deny")
        is_deny = statement["Effect"] == "Deny"
        if not statement.keys() <= _EVALUATED:
            if is_deny:
                return Decision.EXPLICIT_DENY
            continue
        if _names(statement, "Action", ACTION) and _names(statement, "Resource", arn):
            if is_deny:
                return Decision.EXPLICIT_DENY
            decision = Decision.ALLOW
    return decision


def _names(statement: Mapping[str, Any], member: str, value: str) -> bool:
    """Return whether a member has a pattern of ``value``. Only the case of resources counts."""
    patterns = statement.get(member)
    patterns = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise ValueError(f"{member} must be a text or a list of texts")
    if member == "Action":
        return any(matches(pattern.lower(), value.lower()) for pattern in patterns)
    return any(matches(pattern, value) for pattern in patterns)


def matches(pattern: str, text: str) -> bool:
    """Return whether a text matches a pattern in which ``*`` is any text and ``?`` one character.

    A search with a regular expression would take steps that grow with a power of the text, which a client chooses.

    >>> matches("arn:*/GET/pets/*", "arn:aws:shop/Prod/GET/pets/7"), matches("a?c", "ac")
    (True, False)
    """
    place = position = 0
    star, after_star = -1, 0  # the last ``*``, and the end of the text that it takes
    while position < len(text):
        if place < len(pattern) and pattern[place] == "*":
            star, after_star = place, position
            place += 1
        elif place < len(pattern) and pattern[place] in ("?", text[position]):
            place, position = place + 1, position + 1
        elif star >= 0:
            after_star += 1
            place, position = star + 1, after_star
        else:
            return False
    return pattern[place:].strip("*") == ""
