"""Lambda functions in a Django project: the functions are below ``/lambda``, and the pages stay as they are.

Run it, after ``pip install . django`` in a checkout, from the checkout's directory:

    gunicorn --threads 8 examples.django_mount:application

Call it:

    curl http://localhost:8000/
    A Django page.
    curl -d '{"name": "Ada"}' http://localhost:8000/lambda/2015-03-31/functions/hello/invocations
    "Hello Ada!"

In a project of several files, the last line of this file goes into ``wsgi.py``. Django's middleware (hosts, CSRF,
login) does not apply to the functions.
"""

import os
import secrets

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from serverfull_wsgi import Application, StaticFetcher

settings.configure(
    # A random key is different in each worker. Pages with sessions or signed links need DJANGO_SECRET_KEY.
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY") or secrets.token_urlsafe(50),
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    ROOT_URLCONF=__name__,
)


def index(request):
    return HttpResponse("A Django page.\n")


urlpatterns = [path("", index)]


def hello(event, context):
    return f"Hello {event.get('name', 'Django')}!"


application = DispatcherMiddleware(get_wsgi_application(), {"/lambda": Application(StaticFetcher({"hello": hello}))})
