r"""Signed requests: a file holds the keys and their permissions. AWS SDKs sign each request anyway.

Make a file of keys that only you can read. The first key may do everything, the second may only call ``hello``:

    printf '[ada]\naws_access_key_id = AKIDADA\naws_secret_access_key = change-me\n' > keys
    printf '[bob]\naws_access_key_id = AKIDBOB\naws_secret_access_key = change-me-too\n' >> keys
    printf 'serverfull_functions = hello\nserverfull_actions = invoke\n' >> keys
    chmod 600 keys

Run it, after ``pip install .`` in a checkout, from the checkout's directory, with the file there:

    gunicorn --threads 8 examples.sigv4:app

Call it. curl signs requests from version 7.75 on. A request without a signature is refused:

    curl --aws-sigv4 aws:amz:us-east-1:lambda -u AKIDADA:change-me http://localhost:8000/2015-03-31/functions/total/invocations -d '[1, 2]'
    3
    curl http://localhost:8000/2015-03-31/functions/hello/invocations -d '{}'
    {"message":"Missing Authentication Token"}
    curl http://localhost:8000/healthcheck
    .

boto3 needs no change. With AWS_SHARED_CREDENTIALS_FILE=keys it reads the same file:

    session = boto3.Session(profile_name="bob", region_name="us-east-1")
    client = session.client("lambda", endpoint_url="http://localhost:8000")

A changed file is in force at the next request. ``serverfull_wsgi:app`` and ``serverfull serve`` do the same with
SERVERFULL_CREDENTIALS_FILE=keys. A signature encrypts nothing. Put TLS in front if callers are on other machines.
"""  # noqa: E501  (a line to paste)

from functools import partial

from serverfull_wsgi import Application, CredentialsFile, SigV4Middleware, StaticFetcher


def hello(event, context):
    return f"Hello {event.get('name', 'you')}!"


def total(event, context):
    return sum(event)


app = Application(
    StaticFetcher({"hello": hello, "total": total}),
    authentication=partial(SigV4Middleware, credentials=CredentialsFile("keys"), region="us-east-1"),
)
