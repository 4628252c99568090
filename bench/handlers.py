"""The function that every application serves, with the two signatures in use."""


def echo(event, context):
    """Return the event: for the Lambda API and the bare application."""
    return event


def web(event, context):
    """Return the body of a request to a route: for HTTP APIs and function URLs."""
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": event["body"]}


def http_echo(request):
    """Return the event: for functions-framework, which passes Flask's request."""
    return request.get_json()


def large(event, context):
    """Return 5 MB, more than the buffers of two sockets hold."""
    return "x" * 5_000_000
