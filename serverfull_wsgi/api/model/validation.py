"""Constraints of the service model, and the texts of AWS for parameters that break them.

All violations of a request go into one message, in the order of the model's members. For example::

    2 validation errors detected: Value null at 'role' failed to satisfy constraint: Member must not be null; Value 'x'
    at 'snapStart.applyOn' failed to satisfy constraint: Member must satisfy enum value set: [PublishedVersions, None]

| value | path | constraint |
|---|---|---|
| scalar, or the length of a list or map | ``routingConfig.description`` | ``Member must …`` |
| scalar in a list | the list's | ``Member must satisfy constraint: [Member must …, Member must not be null]`` |
| key of a map | the map's | ``Map keys must satisfy constraint: […]`` |
| scalar value of a map | the map's | ``Map value must satisfy constraint: […, Member must not be null]`` |
| member of a structure in a list | ``fileSystemConfigs.1.member.arn`` | ``Member must …`` |

The texts are recorded from AWS Lambda, with these exceptions. The path into a list of structures, and the text without
the value of a sensitive member, are recorded from other services of AWS. The form of a structure's value is recorded
from another error of Lambda. The constraint of a list inside a map is put together from its parts. AWS's order of
several violations, and of the values of an enumeration, is not constant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

from serverfull_wsgi.api.model import recorded
from serverfull_wsgi.api.model.service import Operation, Shape
from serverfull_wsgi.errors import ValidationException

NOT_NULL = "Member must not be null"

# Java's classes of characters, which Python's patterns lack. `\w` is the letters, the numbers and "_". The only
# pattern of the model with such classes has the "_" too.
_JAVA_CLASSES = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\w",
    r"\p{Z}": r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
}


def validate(operation: Operation, parameters: Mapping[str, Any]) -> None:
    """Check the parameters of an operation.

    Raises:
        ValidationException: if parameters break the model's constraints. The message has all violations.
        InvalidParameterValueException: for an unknown runtime of a function.
    """
    checked = dict(parameters)
    if operation.name in recorded.RUNTIME_OPERATIONS:
        checked.pop("Runtime", None)
    if found := violations(operation.input, checked):
        raise ValidationException(found)
    recorded.check_runtime(operation.name, parameters)


def violations(shape: Shape, value: Mapping[str, Any]) -> list[str]:
    """Return the text of each constraint of a structure that ``value`` breaks."""
    return list(_of_members(shape, value, ""))


def _of_members(shape: Shape, value: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for member in recorded.in_order(shape):
        path = f"{prefix}{member.name[0].lower()}{member.name[1:]}"
        inner = value.get(member.name)
        if inner is not None:
            yield from _of_value(member.shape, inner, path)
        elif member.is_required:
            yield _sentence(member.shape, None, path, NOT_NULL)


def _of_value(shape: Shape, value: Any, path: str) -> Iterator[str]:
    """Yield the violations of a value, and of the values inside."""
    if shape.type == "structure":
        yield from _of_members(shape, value, f"{path}.")
        return
    for rule in _rules(shape):
        if not rule.is_kept(value):
            yield _sentence(shape, value, path, rule.text)
    if shape.type == "list" and shape.element:
        yield from _of_elements(shape, shape.element, value, path)
    elif shape.type == "map" and shape.element and shape.key:
        if not all(_is_valid(shape.key, key) for key in value):
            yield _sentence(shape, value, path, f"Map keys must satisfy constraint: {_constraints(shape.key)}")
        if not all(_is_valid(shape.element, inner) for inner in value.values()):
            constraint = f"Map value must satisfy constraint: {_constraints(shape.element, NOT_NULL)}"
            yield _sentence(shape, value, path, constraint)


def _of_elements(shape: Shape, element: Shape, values: list[Any], path: str) -> Iterator[str]:
    """Yield the violations of a list's elements: of each structure, or one for all scalars."""
    if element.type == "structure":
        for position, value in enumerate(values, 1):
            if value is None:
                yield _sentence(element, None, f"{path}.{position}.member", NOT_NULL)
            else:
                yield from _of_members(element, value, f"{path}.{position}.member.")
    elif not all(_is_valid(element, value) for value in values):
        constraint = f"Member must satisfy constraint: {_constraints(element, NOT_NULL)}"
        if shape.name in recorded.FLAT_LISTS:
            constraint = _constraints(element)[1:-1]
        yield _sentence(shape, values, path, constraint)


def _is_valid(shape: Shape, value: Any) -> bool:
    """Return whether a scalar, or a list of scalars, keeps all rules of its shape."""
    if value is None or not all(rule.is_kept(value) for rule in _rules(shape)):
        return False
    return shape.type != "list" or shape.element is None or all(_is_valid(shape.element, inner) for inner in value)


class Rule(NamedTuple):
    """One constraint of a shape."""

    text: str  # in AWS's words
    is_kept: Callable[[Any], bool]


@lru_cache(maxsize=1024)  # all shapes of the model
def _rules(shape: Shape) -> tuple[Rule, ...]:
    rules = []
    is_number = shape.type in ("integer", "long", "double")
    noun, least, most, pattern = "value" if is_number else "length", shape.minimum, shape.maximum, shape.pattern
    if pattern is not None:
        rules.append(Rule(f"Member must satisfy regular expression pattern: {pattern}", partial(_matches, pattern)))
    if most is not None:
        text = f"Member must have {noun} less than or equal to {most}"
        rules.append(Rule(text, lambda value: (value if is_number else len(value)) <= most))
    if least is not None:
        text = f"Member must have {noun} greater than or equal to {least}"
        rules.append(Rule(text, lambda value: (value if is_number else len(value)) >= least))
    if shape.enum:
        rules.append(Rule(f"Member must satisfy enum value set: [{', '.join(shape.enum)}]", shape.enum.__contains__))
    return tuple(rules)


def _constraints(shape: Shape, *more: str) -> str:
    """Return all rules of an element in brackets. As on AWS, the pattern comes after the lengths here."""
    texts = [rule.text for rule in _rules(shape)]
    if shape.pattern is not None:
        texts.append(texts.pop(0))
    if shape.type == "list" and shape.element:
        texts.append(f"Member must satisfy constraint: {_constraints(shape.element, NOT_NULL)}")
    return f"[{', '.join([*texts, *more])}]"


def _matches(pattern: str, text: str) -> bool:
    return compiled(pattern).fullmatch(text) is not None and not recorded.breaks_name_pattern(pattern, text)


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    r"""Return a pattern of the model for Python. As in Java, ``\d`` and ``\s`` match ASCII only.

    >>> bool(compiled(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)").fullmatch("Größe 3"))
    True
    """
    flags = re.ASCII
    for java, python in _JAVA_CLASSES.items():
        if java in pattern:
            pattern, flags = pattern.replace(java, python), re.UNICODE
    return re.compile(pattern, flags)


def _sentence(shape: Shape, value: Any, path: str, constraint: str) -> str:
    """Return AWS's text for one violation. The text leaves out the value of a sensitive member."""
    shown = " null" if value is None else f" '{written(shape, value)}'"
    if shape.is_sensitive or (value is not None and is_sensitive(shape)):
        shown = ""
    return f"Value{shown} at '{path}' failed to satisfy constraint: {constraint}"


@lru_cache(maxsize=1024)
def is_sensitive(shape: Shape) -> bool:
    """Return whether a value of the shape has a sensitive part."""
    inner = [member.shape for member in shape.members.values()]
    return shape.is_sensitive or any(is_sensitive(part) for part in (shape.key, shape.element, *inner) if part)


def written(shape: Shape, value: Any) -> str:
    """Return a value as AWS's messages write it, which is Java's form.

    >>> from serverfull_wsgi.api.model.service import load
    >>> shapes = load().shapes
    >>> written(shapes["AdditionalVersionWeights"], {"2": -1.0})
    '{2=-1.0}'
    >>> written(shapes["DestinationConfig"], {"OnSuccess": {"Destination": "X"}})
    'DestinationConfig(onSuccess=OnSuccess(destination=X), onFailure=null)'
    """
    if value is None:
        return "null"
    if shape.type == "list" and shape.element:
        return f"[{', '.join(written(shape.element, inner) for inner in value)}]"
    if shape.type == "map" and shape.element:
        element = shape.element
        return f"{{{', '.join(f'{key}={written(element, inner)}' for key, inner in value.items())}}}"
    if shape.type == "structure":
        members = shape.members.values()
        texts = (f"{m.name[0].lower()}{m.name[1:]}={written(m.shape, value.get(m.name))}" for m in members)
        return f"{shape.name}({', '.join(texts)})"
    if shape.type == "blob":
        return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    return str(value).lower() if shape.type == "boolean" else str(value)
