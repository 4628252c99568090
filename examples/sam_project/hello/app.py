"""Greets whom the event names, with the words of the layer."""

import os

from greetings import greet


def handler(event, context):
    return greet(os.environ["GREETING"], event.get("name", "world"))
