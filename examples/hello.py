"""The smallest function there is."""


def handler(event, context):
    return "Hello ƛ!"
