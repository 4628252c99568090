"""One function in two dialects: what every application here serves."""


def echo(event, context):
    """For the Lambda API, and for the bare application."""
    return event


def http_echo(request):
    """For functions-framework, which hands its functions Flask's request."""
    return request.get_json()
