"""A function that greets a name with the layer's function."""

import os

from greetings import greet


def handler(event, context):
    return greet(os.environ["GREETING"], event.get("name", "world"))
