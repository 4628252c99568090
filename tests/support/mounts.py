"""Applications that mount another WSGI application below a path.

A framework is imported when it is used: an import of Django takes longer than that of a whole server of the tests.
"""

import functools

from werkzeug.middleware.dispatcher import DispatcherMiddleware


def in_flask(path, application):
    import flask

    app = flask.Flask(__name__)
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {path: application})
    return app


def in_django(path, application):
    from django.core.handlers.wsgi import WSGIHandler

    _set_up_django()
    return DispatcherMiddleware(WSGIHandler(), {path: application})


@functools.cache
def _set_up_django():
    import django
    from django.conf import settings

    settings.configure(SECRET_KEY="only for tests", ROOT_URLCONF=[], ALLOWED_HOSTS=["*"])
    django.setup(set_prefix=False)


def made_on_first_use(namespace, path, application):
    """Return the ``__getattr__`` of a module with an application that is also mounted in Flask and in Django."""

    def get(name):
        if name not in ("in_flask", "in_django"):
            raise AttributeError(name)
        namespace[name] = globals()[name](path, application)
        return namespace[name]

    return get


def below(path, application):
    """Serve an application below a path, as a router mounts it."""
    return DispatcherMiddleware(_not_found, {path: application})


def _not_found(environ, start_response):
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return []
