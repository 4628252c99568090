"""One program for two places: an HTTP server on your own machine, and a native function on AWS Lambda.

Run it, after ``pip install .`` in a checkout, from the checkout's directory:

    python -m examples.native_lambda

Call it:

    curl -d '{"name": "Ada"}' http://localhost:8080/2015-03-31/functions/hello/invocations
    "Hello Ada!"

On AWS it is the command of a container image, with the function's name as its argument. Without an argument, it runs
the function with the name of the AWS function:

    python -m examples.native_lambda hello

AWS Lambda sets AWS_LAMBDA_RUNTIME_API, the address from which awslambdaric takes events. awslambdaric is installed
with serverfull-wsgi on Linux for x86-64 and aarch64.
"""

import os
import sys

from serverfull_wsgi import ConfigurationError, StaticFetcher, logger_from_context, start_http, start_lambda


def hello(event, context):
    logger_from_context().info("greeting %s", event["name"])
    return f"Hello {event['name']}!"


def total(event, context):
    return sum(event)


fetcher = StaticFetcher({"hello": hello, "total": total})


def main(arguments):
    if arguments or "AWS_LAMBDA_RUNTIME_API" in os.environ:
        start_lambda(fetcher, arguments[0] if arguments else os.environ.get("AWS_LAMBDA_FUNCTION_NAME", ""))
    else:
        start_http(fetcher)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ConfigurationError as error:
        sys.exit(f"native_lambda: {error}")
