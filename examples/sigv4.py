r"""Callers have to sign, as every AWS SDK does anyway: with a key of a file, and for what that key may do.

Make a file of keys, for nobody else to read; the one may do everything, the other only call ``hello``:

    printf '[ada]\naws_access_key_id = AKIDADA\naws_secret_access_key = change-me\n' > keys
    printf '[bob]\naws_access_key_id = AKIDBOB\naws_secret_access_key = change-me-too\n' >> keys
    printf 'serverfull_functions = hello\nserverfull_actions = invoke\n' >> keys
    chmod 600 keys

Run it, with ``pip install serverfull-wsgi``, from there:

    gunicorn --threads 8 examples.sigv4:app

Call it. curl signs from version 7.75 on; who does not sign is refused:

    curl --aws-sigv4 aws:amz:us-east-1:lambda -u AKIDADA:change-me http://localhost:8000/2015-03-31/functions/total/invocations -d '[1, 2]'
    3
    curl http://localhost:8000/2015-03-31/functions/hello/invocations -d '{}'
    {"message":"Missing Authentication Token"}
    curl http://localhost:8000/healthcheck
    .

boto3 needs nothing new. With AWS_SHARED_CREDENTIALS_FILE=keys it is even the same file:

    session = boto3.Session(profile_name="bob", region_name="us-east-1")
    client = session.client("lambda", endpoint_url="http://localhost:8000")

The file is read again when it changes; the next request already needs the new keys. ``serverfull_wsgi:app`` and
``serverfull serve`` do all this for SERVERFULL_CREDENTIALS_FILE=keys. A signature keeps nothing secret: beyond one
machine, put TLS in front.
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
