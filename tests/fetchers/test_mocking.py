"""Mock mode: results made from return annotations, fixed or random, and documented errors on demand."""

import base64
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import json
import random
import subprocess
import sys
import time
import traceback
import typing
import uuid
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar, Union

import attr
import attrs
import pydantic
import pytest
import typing_extensions

from serverfull_wsgi import Application, Function, MockingFetcher, NotFoundError, Settings, StaticFetcher, create_app
from tests.support.hosts import InProcess
from tests.support.servers import ROOT, clean_environ
from tests.support.waiting import wait_until

pytestmark = pytest.mark.quick

# Types


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1


class Empty(enum.Enum):
    pass


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Item:
    name: str
    price: decimal.Decimal
    colour: Colour = Colour.BLUE


@dataclasses.dataclass
class Order:
    id: uuid.UUID
    items: list[Item]
    first: Item
    by_name: dict[str, Item]
    note: str | None
    placed: dt.datetime
    kind: typing.ClassVar[str] = "order"


@dataclasses.dataclass
class Inherited(Item):
    pass


@dataclasses.dataclass
class Extended(Item):
    weight: float = 1.5


@dataclasses.dataclass
class Particular:
    made_of: dataclasses.InitVar[int]
    _: dataclasses.KW_ONLY
    counted: int = dataclasses.field(init=False)

    def __post_init__(self, made_of):
        self.counted = made_of


@dataclasses.dataclass
class Node:
    value: int
    next: "Node"
    maybe: Optional["Node"]
    children: list["Node"]


@dataclasses.dataclass
class Husband:
    wife: "Wife"


@dataclasses.dataclass
class Wife:
    husband: Husband


class Person(TypedDict):
    name: str
    age: int


class Contact(Person, total=False):
    mail: typing_extensions.Required[str]
    phone: typing_extensions.NotRequired[list[str]]
    fax: int


class Point(NamedTuple):
    x: int
    y: float = 2.5


Untyped = collections.namedtuple("Untyped", "a b")


class Model(pydantic.BaseModel):
    name: str
    item: Item
    tags: set[str] = {"a"}
    many: int = pydantic.Field(gt=3)


class Heir(Model):
    pass


@attrs.define
class Modern:
    name: str
    item: Item
    factor: int = 7


@attr.s
class Classic:
    name = attr.ib()


class Plain:
    pass


class Demanding:
    def __init__(self, needed):
        self.needed = needed


T = TypeVar("T")


@dataclasses.dataclass
class Box(Generic[T]):
    content: T
    label: str


UserId = NewType("UserId", int)
Account = NewType("Account", Person)

ITEM = {"name": "", "price": 0, "colour": "red"}
EPOCH = "1970-01-01T00:00:00+00:00"

ZEROS = {
    "str": (str, ""),
    "int": (int, 0),
    "float": (float, 0.0),
    "bool": (bool, False),
    "complex": (complex, "0j"),
    "object": (object, None),
    "None": (None, None),
    "type of None": (type(None), None),
    "Any": (Any, None),
    "NoReturn": (typing.NoReturn, None),
    "a type variable": (T, None),
    "list": (list, []),
    "list of": (list[Item], []),
    "List of": (typing.List[Item], []),  # noqa: UP006
    "dict": (dict, {}),
    "dict of": (dict[str, int], {}),
    "Dict of": (typing.Dict[str, int], {}),  # noqa: UP006
    "set": (set[int], []),
    "frozenset": (frozenset[int], []),
    "deque": (collections.deque[int], []),
    "defaultdict": (collections.defaultdict[str, int], {}),
    "Counter": (typing.Counter[str], {}),
    "Sequence": (Sequence[int], []),
    "Mapping": (Mapping[str, int], {}),
    "Iterable": (Iterable[int], []),
    "Generator": (Generator[int, None, None], []),
    "AsyncIterator": (AsyncIterator[int], None),
    "Callable": (Callable[[int], str], None),
    "type": (type[int], None),
    "range": (range, []),
    "tuple": (tuple, []),
    "tuple of one and the other": (tuple[int, str], [0, ""]),
    "tuple of any number": (tuple[int, ...], []),
    "tuple of none": (tuple[()], []),
    "nested": (tuple[list[int], tuple[Item, dict[str, Item]]], [[], [ITEM, {}]]),
    "Optional": (Optional[Item], None),  # noqa: UP045
    "X | None": (Item | None, None),
    "Union": (Union[int, str], 0),  # noqa: UP007
    "X | Y": (str | int, ""),
    "a union of records": (Item | Person, ITEM),
    "Literal": (Literal["on", "off"], "on"),
    "Literal number": (Literal[2, 3], 2),
    "Literal member": (Literal[Colour.BLUE], "blue"),
    "Annotated": (Annotated[int, "of something"], 0),
    "Annotated record": (Annotated[Item, "of something"], ITEM),
    "NewType": (UserId, 0),
    "NewType of a record": (Account, {"name": "", "age": 0}),
    "Enum": (Colour, "red"),
    "IntEnum": (Size, 1),
    "Flag": (Rights, 1),
    "Enum without members": (Empty, None),
    "datetime": (dt.datetime, EPOCH),
    "date": (dt.date, "1970-01-01"),
    "time": (dt.time, "00:00:00"),
    "timedelta": (dt.timedelta, 0.0),
    "UUID": (uuid.UUID, "00000000-0000-0000-0000-000000000000"),
    "Decimal": (decimal.Decimal, 0),
    "dataclass": (Item, ITEM),
    "dataclass of dataclasses": (
        Order,
        {
            "id": "00000000-0000-0000-0000-000000000000",
            "items": [],
            "first": ITEM,
            "by_name": {},
            "note": None,
            "placed": EPOCH,
        },
    ),
    "dataclass that only inherits": (Inherited, ITEM),
    "dataclass that adds": (Extended, {**ITEM, "weight": 0.0}),
    "dataclass with members that are not fields": (Particular, {"counted": 0}),
    "dataclass that contains itself": (Node, {"value": 0, "next": None, "maybe": None, "children": []}),
    "dataclasses that contain each other": (Husband, {"wife": {"husband": None}}),
    "generic dataclass": (Box[int], {"content": None, "label": ""}),
    "TypedDict": (Person, {"name": "", "age": 0}),
    "TypedDict, not total": (Contact, {"name": "", "age": 0, "mail": "", "phone": [], "fax": 0}),
    "NamedTuple": (Point, {"x": 0, "y": 0.0}),
    "namedtuple": (Untyped, {"a": None, "b": None}),
    "list of NamedTuples": (list[Point], []),
    "pydantic": (Model, {"name": "", "item": ITEM, "tags": [], "many": 0}),
    "pydantic that only inherits": (Heir, {"name": "", "item": ITEM, "tags": [], "many": 0}),
    "attrs": (Modern, {"name": "", "item": ITEM, "factor": 0}),
    "attrs without annotations": (Classic, {"name": None}),
    "a class that can be instantiated": (float | Plain, 0.0),
    "a class that cannot be instantiated": (Demanding, None),
    "not a type": ([1, 2], None),
    "an unknown name": ("Nowhere", None),
    "a string": ("Item", ITEM),
    "a string with an operator": ("list[Item] | None", None),
}


class HandlerRan(Exception):
    """Raised by handlers that must not run."""


def returning(annotation):
    """Return a handler with this return annotation that must not run."""

    def handler(event, context):
        raise HandlerRan("it ran")

    handler.__annotations__["return"] = annotation
    return handler


def mocked(handler, **settings):
    given = {"SERVERFULL_MOCK": "true", "SERVERFULL_EVENTS": "memory", "SERVERFULL_RUNTIME_LOGGER_OUTPUT": "NULL"}
    given |= {f"SERVERFULL_{name}": value for name, value in settings.items()}
    fetcher = handler if hasattr(handler, "fetch") else StaticFetcher({"mocked": handler})
    return InProcess(create_app(Settings.from_mapping(given), fetcher))


def invoke(server, payload=b"", name="mocked", **headers):
    headers = {header.replace("_", "-"): value for header, value in headers.items()}
    return server.request("POST", f"/2015-03-31/functions/{name}/invocations", payload, headers)


def result(response):
    assert response.status == 200
    assert "X-Amz-Function-Error" not in response.headers, response
    return response.json


# Empty values


@pytest.mark.parametrize(("annotation", "value"), ZEROS.values(), ids=ZEROS)
def test_a_mocked_function_returns_the_empty_value_of_its_annotation(annotation, value):
    assert result(invoke(mocked(returning(annotation)))) == value


def test_the_empty_value_of_a_plain_class_is_made_by_calling_it():
    assert result(invoke(mocked(returning(Plain)))).startswith("<tests.fetchers.test_mocking.Plain object")


def test_empty_bytes_are_returned_unchanged():
    response = invoke(mocked(returning(bytes)))
    assert (response.status, response.body) == (200, b"")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement is new in Python 3.12")
def test_a_type_alias_stands_for_its_type():
    names = {"Item": Item}
    exec("type Items = tuple[Item, int]", names)
    assert result(invoke(mocked(returning(names["Items"])))) == [ITEM, 0]


def unannotated(event, context):
    raise HandlerRan


def base(first, event, context) -> list[int]:
    raise HandlerRan


class Handlers:
    def method(self, event, context) -> dict[str, int]:
        raise HandlerRan

    @classmethod
    def of_class(cls, event, context) -> list[int]:
        raise HandlerRan

    @staticmethod
    def static(event, context) -> str:
        raise HandlerRan

    def __call__(self, event, context) -> Point:
        raise HandlerRan


def decorator(function):
    @functools.wraps(function)
    def wrapper(*args):
        raise HandlerRan

    return wrapper


@decorator
def decorated(event, context) -> "Point":
    raise HandlerRan


@functools.lru_cache
def cached(event, context) -> "Point":
    raise HandlerRan


async def asynchronous(event, context) -> int:
    raise HandlerRan


POINT = {"x": 0, "y": 0.0}


@pytest.mark.parametrize(
    ("handler", "value"),
    [
        pytest.param(unannotated, None, id="unannotated"),
        pytest.param(lambda event, context: 1, None, id="lambda"),
        pytest.param(len, None, id="builtin"),
        pytest.param("tests.fetchers.test_mocking.base", None, id="Handler string"),
        pytest.param("no.such.handler", None, id="Handler string of a missing module"),
        pytest.param(functools.partial(base, 1), [], id="partial"),
        pytest.param(functools.partial(functools.partial(base), 1), [], id="partial of a partial"),
        pytest.param(functools.partial(Handlers()), POINT, id="partial of a callable object"),
        pytest.param(Handlers(), POINT, id="callable object"),
        pytest.param(Handlers().method, {}, id="method"),
        pytest.param(Handlers.of_class, [], id="class method"),
        pytest.param(Handlers.static, "", id="static method"),
        pytest.param(Handlers, None, id="class"),
        pytest.param(decorated, POINT, id="decorated"),
        pytest.param(cached, POINT, id="cached"),
        pytest.param(asynchronous, 0, id="async"),
    ],
)
def test_the_annotation_of_every_kind_of_handler_is_found(handler, value):
    assert result(invoke(mocked(handler))) == value


LATE = """
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from somewhere import Context, Event


@dataclass
class Late:
    number: int
    next: Late | None


def handler(event, context) -> Late:
    raise RuntimeError


def with_types_for_checkers_only(event: Event, context: Context) -> Late:
    raise RuntimeError


def with_a_result_for_checkers_only(event, context) -> Event:
    raise RuntimeError
"""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("handler", {"number": 0, "next": None}),
        ("with_types_for_checkers_only", {"number": 0, "next": None}),
        ("with_a_result_for_checkers_only", None),
    ],
)
def test_annotations_may_be_evaluated_late(tmp_path, monkeypatch, name, value):
    (tmp_path / "late_annotations.py").write_text(LATE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "late_annotations", raising=False)
    functions = f"mocked=late_annotations.{name}"
    given = {"SERVERFULL_MOCK": "true", "SERVERFULL_EVENTS": "memory", "SERVERFULL_FUNCTIONS": functions}
    server = InProcess(create_app(Settings.from_mapping(given)))
    assert result(invoke(server)) == value


# Fixed values

PEN = Item("pen", decimal.Decimal("1.50"))
PEN_JSON = {"name": "pen", "price": 1.5, "colour": "blue"}
NIL = str(uuid.UUID(int=0))


@pytest.mark.parametrize(
    ("mock", "value"),
    [
        (None, None),
        (0, 0),
        ("text", "text"),
        ({"a": [1, 2]}, {"a": [1, 2]}),
        (PEN, PEN_JSON),
        (Point(1), {"x": 1, "y": 2.5}),
        (Modern("a", PEN), {"name": "a", "item": PEN_JSON, "factor": 7}),
        (Model(name="a", item=PEN, many=4), {"name": "a", "item": PEN_JSON, "tags": ["a"], "many": 4}),
        ([dt.date(2026, 11, 24), Colour.BLUE, {1}, b"bytes"], ["2026-11-24", "blue", [1], "bytes"]),
        ({dt.date(2026, 11, 24): 1, Colour.RED: 2, uuid.UUID(int=0): 3}, {"2026-11-24": 1, "red": 2, NIL: 3}),
        ({(1, 2): 3}, {"[1, 2]": 3}),
        (lambda: {"made": "up"}, {"made": "up"}),
        (list, []),
        (lambda: PEN, PEN_JSON),
        (functools.partial(dict, a=1), {"a": 1}),
    ],
)
def test_a_functions_own_mock_has_precedence_over_its_annotation(mock, value):
    assert result(invoke(mocked(Function(returning(int), mock=mock)))) == value


def test_a_factory_is_called_at_every_invocation():
    numbers = iter(range(3))
    server = mocked(Function(returning(str), mock=lambda: next(numbers)))
    assert [result(invoke(server)) for _ in range(3)] == [0, 1, 2]


def test_a_functions_own_mock_has_precedence_over_random_values():
    server = mocked(Function(returning(int), mock="fixed"), MOCK_VALUES="random")
    assert result(invoke(server)) == "fixed"


def test_a_factory_that_fails_is_a_function_error():
    response = invoke(mocked(Function(returning(str), mock=lambda: {}["absent"])))
    assert response.headers["X-Amz-Function-Error"] == "Unhandled"
    assert response.json["errorType"] == "KeyError"


# Random values

RANDOM = {
    "str": str,
    "int": int,
    "list of numbers": list[int],
    "dict": dict[str, float],
    "dataclass": Item,
    "dataclass of dataclasses": Order,
    "TypedDict": Person,
    "NamedTuple": Point,
    "pydantic": Model,
    "attrs": Modern,
    "union": int | str,
    "set": set[str],
    "UUID": uuid.UUID,
    "datetime": dt.datetime,
    "Annotated": Annotated[str, "something"],
}


def sequence(annotation, seed, count=3):
    server = mocked(returning(annotation), MOCK_VALUES="random", MOCK_SEED=str(seed))
    return [invoke(server).body for _ in range(count)]


@pytest.mark.parametrize("annotation", RANDOM.values(), ids=RANDOM)
def test_the_same_seed_gives_the_same_sequence_of_values(annotation):
    assert sequence(annotation, 7) == sequence(annotation, 7)


@pytest.mark.parametrize(
    "annotation", [Order, dt.datetime, dt.date, dt.time, dt.timedelta], ids=lambda kind: kind.__name__
)
def test_the_same_seed_gives_the_same_sequence_at_another_time(annotation):
    now, values = int(time.time()), sequence(annotation, 7)
    wait_until(lambda: int(time.time()) > now)
    assert sequence(annotation, 7) == values


@pytest.mark.parametrize("annotation", RANDOM.values(), ids=RANDOM)
def test_another_seed_gives_another_sequence(annotation):
    assert sequence(annotation, 7) != sequence(annotation, 8)


@pytest.mark.parametrize("annotation", [str, Item, Model], ids=lambda annotation: annotation.__name__)
def test_the_values_of_a_sequence_differ(annotation):
    assert len(set(sequence(annotation, 7, 10))) > 1


def test_a_sequence_does_not_depend_on_calls_of_other_functions():
    functions = {"mocked": returning(Order), "other": returning(Item)}
    server = mocked(StaticFetcher(functions), MOCK_VALUES="random", MOCK_SEED="7")
    answers = []
    for _ in range(3):
        invoke(server, name="other")
        answers.append(invoke(server).body)
    assert answers == sequence(Order, 7)


def test_a_seed_does_not_affect_the_users_own_random_numbers():
    random.seed(1)
    expected = [random.random() for _ in range(2)]
    random.seed(1)
    first = random.random()
    sequence(Order, 7)
    assert [first, random.random()] == expected


def test_random_values_have_the_type_of_the_annotation():
    server = mocked(returning(Order), MOCK_VALUES="random", MOCK_SEED="7")
    for _ in range(20):
        order = result(invoke(server))
        assert str(uuid.UUID(order["id"])) == order["id"]
        assert dt.datetime.fromisoformat(order["placed"])
        assert order["note"] is None or isinstance(order["note"], str)
        assert {item["colour"] for item in [order["first"], *order["items"], *order["by_name"].values()]} <= {
            "red",
            "blue",
        }
        assert list(order) == ["id", "items", "first", "by_name", "note", "placed"]


@pytest.mark.parametrize("name", [name for name in ZEROS if name not in ("Generator", "Iterable")])
def test_every_annotation_has_a_random_value(name):
    annotation, _ = ZEROS[name]
    response = invoke(mocked(returning(annotation), MOCK_VALUES="random", MOCK_SEED="7"))
    assert response.status == 200
    assert "X-Amz-Function-Error" not in response.headers, response


@pytest.mark.parametrize(
    "handler", [unannotated, "tests.fetchers.test_mocking.base"], ids=["unannotated", "Handler string"]
)
def test_the_random_value_without_an_annotation_is_null(handler):
    assert result(invoke(mocked(handler, MOCK_VALUES="random"))) is None


def test_without_a_seed_values_are_random():
    server = mocked(returning(list[uuid.UUID]), MOCK_VALUES="random")
    assert len({invoke(server).body for _ in range(10)}) > 1


def test_classes_of_the_same_name_are_distinguished():
    def of(kind):
        @dataclasses.dataclass
        class Local:
            value: kind

        return Local

    server = mocked(
        StaticFetcher({"text": returning(of(str)), "number": returning(of(int))}), MOCK_VALUES="random", MOCK_SEED="7"
    )
    assert isinstance(result(invoke(server, name="text"))["value"], str)
    assert isinstance(result(invoke(server, name="number"))["value"], int)


MISSING = """
import sys
sys.modules["polyfactory"] = None  # an import of it now raises ImportError
from serverfull_wsgi.cli.main import main
main(["check"], prog_name="serverfull")
"""


def check(**settings):
    return subprocess.run(
        [sys.executable, "-c", MISSING],
        cwd=ROOT,
        env={**clean_environ(), "SERVERFULL_FUNCTIONS": "hello=tests.support.handlers.hello", **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_random_values_without_polyfactory_are_refused_at_the_start_with_one_line():
    run = check(SERVERFULL_MOCK="true", SERVERFULL_MOCK_VALUES="random")
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr == (
        "Error: SERVERFULL_MOCK_VALUES=random needs polyfactory: pip install 'serverfull-wsgi[mock]'\n"
    )


def test_empty_values_need_no_polyfactory():
    assert check(SERVERFULL_MOCK="true").returncode == 0


# Rules that hold in mock mode and without it


@pytest.mark.parametrize("payload", [b"no json", b"{", b"\xff", b"NaN"])
def test_the_payload_is_still_checked(payload):
    response = invoke(mocked(returning(int)), payload)
    assert response.status == 400
    assert response.headers["x-amzn-ErrorType"] == "InvalidRequestContentException"


def test_an_unknown_function_is_still_answered_with_404():
    assert invoke(mocked(returning(int)), name="other").status == 404


def test_versions_are_mocked_each_by_its_own_annotation():
    fetcher = StaticFetcher({"mocked": returning(int), "mocked:1": returning(str)}, aliases={"mocked:prod": "1"})
    server = mocked(fetcher)
    responses = [invoke(server, name=name) for name in ("mocked", "mocked:1", "mocked:prod")]
    assert [result(response) for response in responses] == [0, "", ""]
    assert [response.headers["X-Amz-Executed-Version"] for response in responses] == ["$LATEST", "1", "1"]


def test_an_event_does_not_run_the_handler():
    ran = []
    application = create_app(
        Settings.from_mapping({"SERVERFULL_MOCK": "true", "SERVERFULL_EVENTS": "memory"}),
        StaticFetcher({"mocked": lambda event, context: ran.append(1)}),
    )
    assert invoke(InProcess(application), X_Amz_Invocation_Type="Event").status == 202
    application.close()
    assert ran == []


def test_a_dry_run_is_answered_with_204():
    assert invoke(mocked(returning(int)), X_Amz_Invocation_Type="DryRun").status == 204


def test_the_settings_can_turn_mock_mode_off():
    response = invoke(mocked(returning(int), MOCK="false"))
    assert response.json["errorMessage"] == "it ran"


def test_a_parameter_of_the_application_turns_mock_mode_on():
    assert result(invoke(InProcess(Application(StaticFetcher({"mocked": returning(Item)}), mock=True)))) == ITEM


# Documented errors


class NeedsTwo(Exception):
    def __init__(self, one, two):
        super().__init__(one, two)


class Wordy(Exception):
    def __str__(self):
        return "always this"


DOCUMENTED = [KeyError, ValueError("of value"), NeedsTwo, Wordy(), ConnectionError]


def failing(name, errors=DOCUMENTED, payload=b"", function="mocked", **settings):
    headers = {} if name is None else {"X_Error_Type": name}
    server = mocked(Function(returning(int), errors=errors), **settings)
    return invoke(server, payload, function, X_Amz_Invocation_Type="Error", **headers)


@pytest.mark.parametrize(
    ("name", "type", "message"),
    [
        ("KeyError", "KeyError", ""),
        ("ValueError", "ValueError", "of value"),
        ("valueerror", "ValueError", "of value"),
        ("VALUEERROR", "ValueError", "of value"),
        ("NeedsTwo", "NeedsTwo", ""),
        ("Wordy", "Wordy", "always this"),
        ("ConnectionError", "ConnectionError", ""),
    ],
)
def test_a_documented_error_is_answered_as_if_the_handler_raised_it(name, type, message):
    response = failing(name)
    assert response.status == 200
    assert response.headers["X-Amz-Function-Error"] == "Unhandled"
    assert response.headers["X-Amz-Executed-Version"] == "$LATEST"
    assert response.json == {
        "errorMessage": message,
        "errorType": type,
        "requestId": response.headers["x-amzn-RequestId"],
        "stackTrace": [],
    }


def test_a_documented_system_exit_is_answered_as_an_exit_of_the_runtime():
    response = failing("systemexit", [SystemExit(3)])
    assert response.json["errorType"] == "Runtime.ExitError"
    assert response.json["errorMessage"].endswith("Runtime exited with error: exit status 3")


def test_a_documented_error_is_in_the_log_tail():
    server = mocked(Function(returning(int), errors=DOCUMENTED))
    response = invoke(server, X_Amz_Invocation_Type="Error", X_Error_Type="ValueError", X_Amz_Log_Type="Tail")
    assert b"[ERROR] ValueError: of value\n" in base64.b64decode(response.headers["X-Amz-Log-Result"])


def test_the_traceback_of_a_documented_instance_does_not_grow():
    error = ValueError("one for all")
    server = mocked(Function(returning(int), errors=[error]))
    depths = set()
    for _ in range(5):
        invoke(server, X_Amz_Invocation_Type="Error", X_Error_Type="ValueError")
        depths.add(len(list(traceback.walk_tb(error.__traceback__))))
    assert len(depths) == 1


@pytest.mark.parametrize("name", ["Other", "Key", "KeyErrors", "Exception", "", None])
def test_an_unknown_error_is_refused_with_the_choices(name):
    response = failing(name)
    assert response.status == 404
    assert response.headers["x-amzn-ErrorType"] == "UnknownRequestMockError"
    assert response.headers["Content-Type"] == "application/json"
    assert response.json["Type"] == "User"
    message = response.json["message"]
    assert message.startswith(f"Unknown mock error '{name or ''}'.")
    assert message.endswith("ConnectionError, KeyError, NeedsTwo, ValueError, Wordy")


def test_the_refusal_for_a_function_without_documented_errors_has_the_cure():
    response = failing("KeyError", [])
    assert response.status == 404
    assert "Function(handler, errors=[...])" in response.json["message"]


@pytest.mark.parametrize("name", ["ValueError", "Other", None])
def test_documented_errors_cannot_be_requested_outside_mock_mode(name):
    response = failing(name, MOCK="false")
    assert response.status == 400
    assert response.headers["x-amzn-ErrorType"] == "InvalidParameterValueException"
    assert response.json["Type"] == "User"
    assert "SERVERFULL_MOCK=true" in response.json["message"]


def test_the_payload_is_checked_before_an_error_is_raised():
    assert failing("ValueError", payload=b"no json").status == 400


def test_a_documented_error_of_an_unknown_function_is_answered_with_404():
    response = failing("ValueError", function="other")
    assert response.status == 404
    assert response.headers["x-amzn-ErrorType"] == "ResourceNotFoundException"


def test_an_error_type_without_the_invocation_type_changes_nothing():
    server = mocked(Function(returning(int), errors=DOCUMENTED))
    assert result(invoke(server, X_Error_Type="ValueError")) == 0


# The fetcher alone


class Directory:
    """A user's fetcher with one function that cannot list it."""

    def fetch(self, name, qualifier="$LATEST"):
        if name != "mine":
            raise NotFoundError(name)
        return Function(returning(Item), name=name, version=qualifier, timeout=7.0)


def test_the_fetcher_mocks_the_functions_of_another_fetcher():
    function = MockingFetcher(Directory()).fetch("mine", "3")
    assert json.loads(json.dumps(function.handler({}, None), default=float)) == ITEM
    assert (function.name, function.version, function.timeout) == ("mine", "3", 7.0)


def test_a_function_unknown_to_the_other_fetcher_is_not_found():
    with pytest.raises(NotFoundError):
        MockingFetcher(Directory()).fetch("other")


def test_the_fetcher_makes_values_with_the_given_function():
    fetcher = MockingFetcher(Directory(), lambda annotation: annotation.__name__)
    assert fetcher.fetch("mine").handler({}, None) == "Item"


def test_a_mocked_function_keeps_its_source():
    handler = returning(int)
    assert MockingFetcher(StaticFetcher({"mocked": handler})).fetch("mocked").source is handler


def test_a_mocking_fetcher_works_in_an_application_without_mock_mode():
    application = Application(MockingFetcher(StaticFetcher({"mocked": returning(Item)})))
    assert result(invoke(InProcess(application))) == ITEM


def test_an_application_in_mock_mode_keeps_a_given_mocking_fetcher():
    fetcher = MockingFetcher(StaticFetcher({"mocked": returning(Item)}), lambda annotation: "mine")
    assert result(invoke(InProcess(Application(fetcher, mock=True)))) == "mine"
