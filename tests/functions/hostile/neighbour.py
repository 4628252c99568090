"""A function that behaves."""

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
