"""The smallest function."""


def handler(event, context):
    return "Hello ƛ!"
