"""Values made from type annotations, for mock mode, and any value made ready for JSON."""

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
    """The type a handler says it returns; None where it says nothing that can be understood."""
    while isinstance(source, functools.partial):
        source = source.func
    if not inspect.isroutine(source) and not isinstance(source, (str, type)):
        source = type(source).__call__
    try:  # without its parameters, whose types are often imported for type checkers only
        returns = types.SimpleNamespace(__annotations__={"return": source.__annotations__["return"]})
        return get_type_hints(returns, inspect.unwrap(source).__globals__, include_extras=True)["return"]
    except Exception:  # annotations are expressions of the user's: anything may go wrong in them
        return None


def zero(annotation: Any, _outer: tuple[Any, ...] = ()) -> Any:
    """The empty value of a type: ``""``, ``0``, ``[]``, the first member of an Enum, an object of empty members.

    None for a type that has none, and where a type contains itself.

    >>> zero(typing.Optional[int]), zero(list[str]), zero(Literal["on", "off"])
    (None, [], 'on')
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated or getattr(origin, "_name", None) in _WRAPPERS:
        return zero(arguments[0], _outer)
    for inner in ("__supertype__", "__value__"):  # of a NewType, of a type statement
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
    if kind is tuple and arguments and arguments[-1] not in (Ellipsis, ()):  # Python 3.10 says tuple[()] is of ()
        return [zero(argument, _outer) for argument in arguments]
    if members := _members(kind):
        return {name: zero(member, (*_outer, kind)) for name, member in members.items()}
    return _empty(kind)


def _members(kind: type) -> dict[str, Any]:
    """The fields of a class that is a record: a dataclass, TypedDict, NamedTuple, pydantic or attrs class."""
    names = _field_names(kind)
    if not names:
        return {}
    try:
        hints = get_type_hints(kind, include_extras=True)
    except Exception:
        hints = {}
    return {name: hints.get(name) for name in names if get_origin(hints.get(name)) is not typing.ClassVar}


def _field_names(kind: Any) -> list[str]:
    """The names of a record's fields, in their order; none for what is no record."""
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


class Random:
    """Random values of a type, by polyfactory (the extra ``mock``); the same seed gives the same row of values.

    Raises `ConfigurationError` when polyfactory is not installed.
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
            import polyfactory.factories.attrs_factory  # noqa: F401  (which makes attrs known)
        _know_named_tuples()
        self._factory = DataclassFactory
        self._faker = Faker
        self._seed = seed
        self._factories: dict[Any, Any] = {}

    def __call__(self, annotation: Any) -> Any:
        """A value of this type; an empty one where polyfactory knows no way to make it."""
        try:
            return self._of(annotation).build().value
        except Exception:  # polyfactory's ParameterException, and what constructors of the user's raise
            return zero(annotation)

    def _of(self, annotation: Any) -> Any:
        if annotation not in self._factories:
            box = dataclasses.make_dataclass("Box", [("value", annotation)])
            faker = self._faker()  # of its own: the one all factories have by default would mix up their rows
            self._factories[annotation] = self._factory.create_factory(
                box,
                __faker__=faker,
                __random_seed__=self._seed,
                __use_defaults__=False,
                __set_as_default_factory_for_type__=False,
                _extra_providers=_timeless(faker),
            )
        return self._factories[annotation]


def _timeless(faker: Any) -> dict[Any, Any]:
    """How dates and times are made: polyfactory's own count from now, so that no seed would bring them back."""
    start, end = _EPOCH, _EPOCH.replace(year=2038)

    def moment() -> dt.datetime:
        made: dt.datetime = faker.date_time_between_dates(start, end, tzinfo=dt.timezone.utc)
        return made

    return {
        dt.datetime: moment,
        dt.date: lambda: moment().date(),
        dt.time: lambda: moment().time(),
        dt.timedelta: lambda: moment() - start,
    }


@functools.cache
def _know_named_tuples() -> None:
    """Tells polyfactory of a kind of record it does not know by itself."""
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
    """``value`` in what JSON can say: records as objects, sets as lists, dates in ISO 8601, UUIDs as text.

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
    if members := _parts(type(value)):
        return {name: json_ready(getattr(value, name, None)) for name in members}
    if isinstance(value, Iterable):
        return [json_ready(item) for item in value]
    return str(value)


def _key(name: Any) -> Any:
    return name if name is None or isinstance(name, (str, int, float, bytes)) else str(name)


def _parts(kind: type) -> list[str]:
    """As `_field_names`, without those classes whose annotations alone make them look like records."""
    known = dataclasses.is_dataclass(kind) or any(
        hasattr(kind, name) for name in ("__attrs_attrs__", "model_fields", "_fields")
    )
    return _field_names(kind) if known else []
