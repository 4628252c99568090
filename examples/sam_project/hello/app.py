"""A function that greets a name with the layer's function."""

import os

from greetings import greet


def handler(event, context):
    """Greet the name in the event, or in the path of an HTTP request."""
    names = event.get("pathParameters", event)
    return greet(os.environ["GREETING"], names.get("name", "world"))
