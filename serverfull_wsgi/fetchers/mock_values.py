"""Values for mock mode: made from type annotations, and converted to JSON's types.

`zero` makes the empty value of a type, `RandomValues` a random one. `json_ready` converts either. A user's annotation
may be any expression: for an annotation that is not supported, the value is None and nothing is raised.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import inspect
import types
import typing
import uuid
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from serverfull_wsgi.errors import ConfigurationError

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_ZEROS: dict[Any, Any] = {
    dt.datetime: _EPOCH,
    dt.date: _EPOCH.date(),
    dt.time: dt.time(),
    dt.timedelta: dt.timedelta(),
    uuid.UUID: uuid.UUID(int=0),
    decimal.Decimal: decimal.Decimal(0),
}
_WRAPPERS = ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar")


def return_annotation(source: Any) -> Any:
    """Return the return type of a handler; None without an annotation, or if evaluating it fails."""
    while isinstance(source, functools.partial):
        source = source.func
    if not inspect.isroutine(source) and not isinstance(source, (str, type)):
        source = type(source).__call__
    try:  # the return type only: parameter types are often imported for type checkers only
        returns = types.SimpleNamespace(__annotations__={"return": source.__annotations__["return"]})
        return get_type_hints(returns, inspect.unwrap(source).__globals__, include_extras=True)["return"]
    except Exception:  # an annotation is an expression of the user's and may raise anything
        return None


def zero(annotation: Any, _outer: tuple[Any, ...] = ()) -> Any:
    """Return the empty value of a type: ``""``, ``0``, ``[]``, the first member of an Enum, a dict of empty members.

    Return None for a type without an empty value, and where a type contains itself. ``_outer`` are the types around
    this one.

    >>> zero(typing.Optional[int]), zero(list[str]), zero(Literal["on", "off"])
    (None, [], 'on')
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated or getattr(origin, "_name", None) in _WRAPPERS:
        return zero(arguments[0], _outer)
    for inner in ("__supertype__", "__value__"):  # of a NewType, and of a type statement
        if hasattr(annotation, inner):
            return None if annotation in _outer else zero(getattr(annotation, inner), (*_outer, annotation))
    if origin in (Union, types.UnionType):
        return None if type(None) in arguments else zero(arguments[0], _outer)
    if origin is Literal:
        return arguments[0]
    kind = origin or annotation
    if not isinstance(kind, type) or kind in _outer or kind in (object, type(None)):
        return None
    if kind in _ZEROS:
        return _ZEROS[kind]
    if issubclass(kind, enum.Enum):
        return next(iter(kind), None)
    if kind is tuple and arguments and arguments[-1] not in (Ellipsis, ()):  # Python 3.10 has ((),) for tuple[()]
        return [zero(argument, _outer) for argument in arguments]
    if types_by_field := _field_types(kind):
        return {name: zero(member, (*_outer, kind)) for name, member in types_by_field.items()}
    return _empty(kind)


def _field_types(kind: type) -> dict[str, Any]:
    """Return the types of a record's fields: of a dataclass, TypedDict, NamedTuple, pydantic or attrs class."""
    names = _field_names(kind)
    if not names:
        return {}
    try:
        hints = get_type_hints(kind, include_extras=True)
    except Exception:
        hints = {}
    return {name: hints.get(name) for name in names if get_origin(hints.get(name)) is not typing.ClassVar}


def _field_names(kind: Any) -> list[str]:
    """Return the names of a record's fields in order; an empty list for any other class."""
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    if hasattr(kind, "__attrs_attrs__"):
        return [field.name for field in kind.__attrs_attrs__]
    names: Any = getattr(kind, "model_fields", None) or getattr(kind, "_fields", None)
    if not names and kind.__module__ != "builtins":
        names = getattr(kind, "__annotations__", None)
    return list(names or ())


def _empty(kind: type) -> Any:
    if issubclass(kind, Mapping):
        return {}
    if issubclass(kind, Iterable) and not issubclass(kind, (str, bytes, bytearray)):
        return []
    try:
        return kind()
    except Exception:
        return None


class RandomValues:
    """A maker of random values, with polyfactory (the extra ``mock``).

    Args:
        seed: the same seed gives each type the same sequence of values; None for another sequence in each process.

    Raises:
        ConfigurationError: if polyfactory is not installed.
    """

    def __init__(self, seed: int | None = None) -> None:
        try:
            from faker import Faker
            from polyfactory.factories import DataclassFactory
        except ImportError as error:
            raise ConfigurationError(
                "SERVERFULL_MOCK_VALUES=random needs polyfactory: pip install 'serverfull-wsgi[mock]'"
            ) from error
        with contextlib.suppress(ImportError):
            import polyfactory.factories.attrs_factory  # noqa: F401  (registers attrs classes with polyfactory)
        _register_named_tuples()
        self._factory = DataclassFactory
        self._faker = Faker
        self._seed = seed
        self._factories: dict[Any, Any] = {}

    def __call__(self, annotation: Any) -> Any:
        """Return a random value of this type; the empty value if polyfactory cannot make one."""
        try:
            return self._factory_for(annotation).build().value
        except Exception:  # polyfactory's ParameterException, and errors of the user's constructors
            return zero(annotation)

    def _factory_for(self, annotation: Any) -> Any:
        if annotation not in self._factories:
            box = dataclasses.make_dataclass("Box", [("value", annotation)])
            faker = (
                self._faker()
            )  # its own: with the shared default, one type's values would depend on calls for another
            self._factories[annotation] = self._factory.create_factory(
                box,
                __faker__=faker,
                __random_seed__=self._seed,
                __use_defaults__=False,
                __set_as_default_factory_for_type__=False,
                _extra_providers=_date_providers(faker),
            )
        return self._factories[annotation]


def _date_providers(faker: Any) -> dict[Any, Any]:
    """Return makers of dates and times from 1970 to 2037. polyfactory's own start at the present time, seed or not."""
    start, end = _EPOCH, _EPOCH.replace(year=2038)  # the range of a signed 32-bit time, which every client can read

    def moment() -> dt.datetime:
        value: dt.datetime = faker.date_time_between_dates(start, end, tzinfo=dt.timezone.utc)
        return value

    return {
        dt.datetime: moment,
        dt.date: lambda: moment().date(),
        dt.time: lambda: moment().time(),
        dt.timedelta: lambda: moment() - start,
    }


@functools.cache
def _register_named_tuples() -> None:
    """Register a polyfactory factory for NamedTuples, which has none of its own."""
    from polyfactory.factories.base import BaseFactory
    from polyfactory.field_meta import FieldMeta

    class NamedTupleFactory(BaseFactory[Any]):
        __is_base_factory__ = True

        @classmethod
        def is_supported_type(cls, value: Any) -> typing.TypeGuard[type[Any]]:
            return isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields")

        @classmethod
        def get_model_fields(cls) -> list[FieldMeta]:
            hints = get_type_hints(cls.__model__, include_extras=True)
            return [FieldMeta.from_type(annotation=hints.get(name, Any), name=name) for name in cls.__model__._fields]


def json_ready(value: Any) -> Any:
    """Convert a value to JSON's types: records to objects, sets to lists, dates to ISO 8601, UUIDs to text.

    Decimals and bytes stay; the executor's marshalling converts them as AWS's runtime does.

    >>> json_ready({"at": dt.date(2026, 11, 24), "of": {1}})
    {'at': '2026-11-24', 'of': [1]}
    """
    if isinstance(value, enum.Enum):
        return json_ready(value.value)
    if value is None or isinstance(value, (str, int, float, decimal.Decimal, bytes)):
        return value
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {_key(json_ready(name)): json_ready(member) for name, member in value.items()}
    if names := _record_fields(type(value)):
        return {name: json_ready(getattr(value, name, None)) for name in names}
    if isinstance(value, Iterable):
        return [json_ready(item) for item in value]
    return str(value)


def _key(name: Any) -> Any:
    return name if name is None or isinstance(name, (str, int, float, bytes)) else str(name)


def _record_fields(kind: type) -> list[str]:
    """Return `_field_names` of a dataclass, NamedTuple, pydantic or attrs class; an empty list for any other class.

    Annotations alone do not make a record of an object.
    """
    is_record = dataclasses.is_dataclass(kind) or any(
        hasattr(kind, name) for name in ("__attrs_attrs__", "model_fields", "_fields")
    )
    return _field_names(kind) if is_record else []
