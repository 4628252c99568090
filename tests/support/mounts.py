"""Applications that mount another WSGI application below a path."""

import django
import flask
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from werkzeug.middleware.dispatcher import DispatcherMiddleware

settings.configure(SECRET_KEY="only for tests", ROOT_URLCONF=[], ALLOWED_HOSTS=["*"])
django.setup(set_prefix=False)


def in_flask(path, application):
    app = flask.Flask(__name__)
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {path: application})
    return app


def in_django(path, application):
    return DispatcherMiddleware(WSGIHandler(), {path: application})


def below(path, application):
    """Serve an application below a path, as a router mounts it."""
    return DispatcherMiddleware(_not_found, {path: application})


def _not_found(environ, start_response):
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return []
