"""The code of the function: each release changes the text."""

GREETING = "Hello from release 1!"


def handler(event, context):
    return {"greeting": GREETING, "version": context.function_version}
