"""A program that serves its functions itself: several functions, one in two versions, and an alias.

Run it, after ``pip install .`` in a checkout, from the checkout's directory:

    python -m examples.serve_http

Call it. A version or an alias follows the name, or is in the query as ``Qualifier``:

    curl -d '{"name": "Ada"}' http://localhost:8080/2015-03-31/functions/hello/invocations
    "Good day, Ada!"
    curl -d '{"name": "Ada"}' http://localhost:8080/2015-03-31/functions/hello:prod/invocations
    "Hello Ada!"
    curl -d '{"name": "Ada"}' 'http://localhost:8080/2015-03-31/functions/hello/invocations?Qualifier=prod'
    "Hello Ada!"
    curl -d '[1, 2, 3.5]' http://localhost:8080/2015-03-31/functions/total/invocations
    6.5

Settings come from the environment, for example SERVERFULL_RUNTIME_HTTPSERVER_ADDRESS=127.0.0.1:9000.
"""

from serverfull_wsgi import Function, StaticFetcher, logger_from_context, start_http


def hello(event, context):
    return f"Good day, {event['name']}!"


def first_hello(event, context):
    return f"Hello {event['name']}!"


def total(event, context):
    logger_from_context().info("adding %d numbers", len(event))
    return sum(event)


fetcher = StaticFetcher(
    {
        "hello": hello,
        "hello:1": first_hello,
        "total": Function(total, timeout=10, memory_size=256, description="The sum of a list of numbers"),
    },
    aliases={"hello:prod": "1"},  # callers of prod stay with version 1 while hello changes
)

if __name__ == "__main__":
    start_http(fetcher)
