"""The application of the HTTP tests, alone and mounted in other applications."""

from serverfull_wsgi import Application, Function, SigV4Middleware, StaticFetcher
from serverfull_wsgi.errors import InvalidRuntimeException, ResourceConflictException
from tests.support import handlers, mounts

HANDLERS = """hello echo describe broken nameless missing_key caused leave nothing unserialisable marshal large noisy
chatty slow record"""


REFUSED = {
    "pending": ResourceConflictException("The function is pending"),
    "outdated": InvalidRuntimeException("No such runtime"),
    "faulty": RuntimeError("the cause is for the log"),
}


class Fetcher(StaticFetcher):
    """A fetcher of a team's own: some functions cannot run now, and one fails."""

    def fetch(self, name, qualifier="$LATEST"):
        if name in REFUSED:
            raise REFUSED[name]
        return super().fetch(name, qualifier)


def make(**options):
    """Return a new application."""
    functions = {name: getattr(handlers, name) for name in HANDLERS.split()}
    functions |= {
        "hello:1": handlers.version_one,
        "describe:7": Function(handlers.describe, memory_size=512, timeout=60),
        "reserved": Function(handlers.hello, reserved=0),
        "quick": Function(handlers.slow, timeout=0.01),
        "function": handlers.hello,
        "with.dot": handlers.hello,
        "no-module": "no_such_module.handler",
        "no-handler": "tests.support.handlers.no_such_handler",
        "no-dot": "handler",
        "slashes": "tests/support/handlers.nothing",
        "builtin": "sys.exit",
        "syntax": "tests.support.broken_syntax.handler",
        "raises-at-import": "tests.support.broken_import.handler",
    }
    aliases = {"hello:prod": "1", "hello:latest": "$LATEST", "describe:live": "7"}
    return Application(Fetcher(functions, aliases), **options)


application = make()
signed = SigV4Middleware(application, {"key": "secret"}, "us-east-1")  # the key of the tests' clients

PREFIX = "/a lambda/here"

prefixed = mounts.below(PREFIX, application)
__getattr__ = mounts.made_on_first_use(globals(), "/lambda", application)  # in_flask and in_django
