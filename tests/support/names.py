"""Function names in the region and the account of all tests that need no other."""

from serverfull_wsgi import FunctionName


def function_name(text):
    """Return a name, a partial ARN or an ARN as a request addresses it."""
    return FunctionName.parse(text, region="us-east-1", account_id="123456789012")
