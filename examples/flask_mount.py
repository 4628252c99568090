"""Lambda functions in a Flask application: the functions are below ``/lambda``, and the pages stay as they are.

Run it, after ``pip install . flask`` in a checkout, from the checkout's directory:

    gunicorn --threads 8 examples.flask_mount:app

Call it:

    curl http://localhost:8000/
    A Flask page.
    curl -d '{"name": "Ada"}' http://localhost:8000/lambda/2015-03-31/functions/hello/invocations
    "Hello Ada!"

AWS clients take the mount as their endpoint: ``aws lambda invoke --endpoint-url http://localhost:8000/lambda …``.
Flask's ``before_request``, sessions and login do not apply to the functions.
"""

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from serverfull_wsgi import Application, StaticFetcher

app = Flask(__name__)


@app.get("/")
def index():
    return "A Flask page.\n"


def hello(event, context):
    return f"Hello {event.get('name', app.name)}!"  # for more of Flask, use app.app_context()


# This replaces app.wsgi_app and not app, so "flask run" and the test client still work.
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/lambda": Application(StaticFetcher({"hello": hello}))})
