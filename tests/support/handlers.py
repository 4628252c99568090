"""Small real handlers that the tests serve."""

import collections
import logging
import os
import sys
import time
from decimal import Decimal
from enum import IntEnum

from serverfull_wsgi import Function, logger_from_context

Point = collections.namedtuple("Point", "x y")


class Colour(IntEnum):
    RED = 1


class NamelessError(Exception):
    pass


def hello(event, context):
    return "Hello ƛ!"


def echo(event, context):
    return event


def version_one(event, context):
    return "one"


def describe(event, context):
    """Return the context as plain JSON."""
    client_context = context.client_context
    return {
        "aws_request_id": context.aws_request_id,
        "function_name": context.function_name,
        "function_version": context.function_version,
        "invoked_function_arn": context.invoked_function_arn,
        "memory_limit_in_mb": context.memory_limit_in_mb,
        "log_group_name": context.log_group_name,
        "log_stream_name": context.log_stream_name,
        "tenant_id": context.tenant_id,
        "identity": [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
        "remaining": context.get_remaining_time_in_millis(),
        "client_context": client_context
        and {
            "custom": client_context.custom,
            "env": client_context.env,
            "client": client_context.client
            and [
                client_context.client.installation_id,
                client_context.client.app_title,
                client_context.client.app_version_name,
                client_context.client.app_version_code,
                client_context.client.app_package_name,
            ],
        },
        "repr": repr(context),
        "class": type(context).__name__,
    }


def broken(event, context):
    raise ValueError(event.get("message", "boom") if isinstance(event, dict) else "boom")


def nameless(event, context):
    raise NamelessError


def missing_key(event, context):
    return {}["absent"]


def caused(event, context):
    try:
        return {}["absent"]
    except KeyError as error:
        raise RuntimeError("outer") from error


def leave(event, context):
    """Raise the exit that the event names."""
    how = event["how"]
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "generator":
        raise GeneratorExit
    if how == "none":
        sys.exit()
    sys.exit(how)


def nothing(event, context):
    return None


def unserialisable(event, context):
    return {1, 2}


def marshal(event, context):
    """Return the value that the event names; JSON has no form for most of them."""
    values = {
        "decimal": lambda: {"n": Decimal("1.10")},
        "tuple": lambda: (1, 2),
        "namedtuple": lambda: Point(1, 2),
        "nested bytes": lambda: {"b": b"caf\xc3\xa9"},
        "keys": lambda: {1: "a", None: "b", False: "c", 1.5: "d"},
        "intenum": lambda: Colour.RED,
        "nan": lambda: float("nan"),
        "infinity": lambda: [float("inf"), float("-inf")],
        "decimal nan": lambda: Decimal("NaN"),
        "non-ascii": lambda: "ƛ é 漢",
        "bytes": lambda: b"\x00raw\xff",
        "surrogate": lambda: "\ud800",
        "set": lambda: {1},
        "object": lambda: object(),
        "bad bytes": lambda: {"b": b"\xff"},
        "cycle": lambda: _cycle(),
        "deep": lambda: _deep(100_000),
        "empty": dict,
        "big int": lambda: 2**70,
        "generator": lambda: (n for n in range(3)),
    }
    return values[event]()


def _cycle():
    cycle = []
    cycle.append(cycle)
    return cycle


def _deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def large(event, context):
    """Return a string whose JSON form has ``event`` bytes, quotes included."""
    return "x" * (event - 2)


def noisy(event, context):
    print("printed")
    sys.stderr.write("to stderr\n")
    sys.stdout.buffer.write(b"as bytes\n")
    logging.warning("warned %s", 1)
    logging.info("too quiet to hear")
    context.log("through the context\n")
    return "ok"


def complain(event, context):
    """Write to the server's log and raise."""
    logger_from_context().warning("warned through the context")
    raise ValueError("failed")


def chatty(event, context):
    for number in range(1000):
        print(f"line {number:04}")


def slow(event, context):
    time.sleep(event)
    return context.get_remaining_time_in_millis()


def wait_for_file(event, context):
    """Make the file ``PATH.NUMBER``, and return once ``PATH`` exists. The event is ``PATH NUMBER``."""
    path, _, number = event.rpartition(" ")
    with open(f"{path}.{number}", "w"):
        pass
    while not os.path.exists(path):
        time.sleep(0.01)


def record(event, context):
    """Append the request id to a file, so that a test can see the run."""
    with open(event["file"], "a") as file:
        file.write(f"{context.aws_request_id}\n")


patient = Function(slow, timeout=60)


def chat(event, context):
    """Print a text a number of times."""
    text, count = event
    for _ in range(count):
        print(text, flush=True)


def trace(event, context):
    return os.environ.get("_X_AMZN_TRACE_ID")
