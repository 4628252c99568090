"""A well-behaved function, called while others do harm."""

import os

import hostile

calls = 0


def handler(event, context):
    global calls
    calls += 1
    return {
        "name": context.function_name,
        "event": event,
        "pid": os.getpid(),
        "calls": calls,
        "address": hostile.address(),
        "fingerprint": hostile.fingerprint(),
    }
