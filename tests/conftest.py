"""What tests are given: the application in every place it can be served from, and real clients."""

import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from botocore.config import Config

from serverfull_wsgi import InProcessExecutor, ProcessExecutor
from tests.support import hosts
from tests.support.brokers import RabbitMQ, Redis, broker
from tests.support.isolated import executing, needs_client
from tests.support.servers import ROOT, gunicorn

# Handlers that cannot be loaded, for tests of just that, and code that only runs in processes of its own.
collect_ignore = ["support/broken_syntax.py", "support/broken_import.py", "functions", "templates"]


def pytest_collection_modifyitems(items):
    """Every test that notes its figures with the battery is a share of it."""
    for item in items:
        if "battery" in item.fixturenames:
            item.add_marker("battery")


def noted_by_boto3(port, count):
    """The request ids of so many events for the function ``note``, from 8 threads."""
    client = aws_client(f"http://127.0.0.1:{port}")

    def call(number):
        with (answer := client.invoke(FunctionName="note", InvocationType="Event", Payload=str(number)))["Payload"]:
            return answer["ResponseMetadata"]["RequestId"]

    with contextlib.closing(client), ThreadPoolExecutor(8) as pool:
        return list(pool.map(call, range(count)))


@pytest.fixture(scope="session", params=hosts.NAMES)
def host(request, tmp_path_factory):
    """The application, served in one of the ways it can be; the HTTP tests run in all of them."""
    with hosts.host(request.param, tmp_path_factory.mktemp(request.param) / "log") as it:
        yield it


EXECUTORS = [InProcessExecutor, pytest.param(ProcessExecutor, marks=needs_client)]


@pytest.fixture(scope="module", params=EXECUTORS, ids=lambda kind: kind.__name__)
def executor(request):
    """Each answer to *how*: what all of them promise is tested over all."""
    with executing() if request.param is ProcessExecutor else contextlib.nullcontext(InProcessExecutor()) as executor:
        yield executor


@pytest.fixture
def invoke(host):
    """``invoke("name", payload, query="Qualifier=1", Log_Type="Tail")`` → `hosts.Response`."""

    def invoke(name, payload=b"", query="", headers=None):
        target = f"/2015-03-31/functions/{name}/invocations{'?' if query else ''}{query}"
        return host.request("POST", target, payload, headers)

    return invoke


def aws_client(url):
    """boto3 as a user of ours sets it up; retries are boto3's own."""
    return boto3.client(
        "lambda",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(connect_timeout=10, read_timeout=30),
    )


@pytest.fixture(scope="session")
def gthread(tmp_path_factory):
    """gunicorn as the README runs it."""
    log = tmp_path_factory.mktemp("gthread") / "log"
    with gunicorn(log, "--worker-class", "gthread", "--threads", "8") as server:
        yield server


@pytest.fixture
def boto3_client(gthread):
    client = aws_client(gthread.url)
    yield client
    client.close()


@pytest.fixture(scope="session")
def readme():
    return (ROOT / "README.md").read_text()


@pytest.fixture(autouse=True)
def _the_servers_logger_as_it_was():
    """`create_app` sets up the one logger of the process; here that is over with the test."""
    logger = logging.getLogger("serverfull_wsgi")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], level, logger.propagate = before
    logger.setLevel(level)


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory):
    with broker(RabbitMQ, tmp_path_factory.mktemp("rabbitmq")) as running:
        yield running


@pytest.fixture(scope="session")
def redis(tmp_path_factory):
    with broker(Redis, tmp_path_factory.mktemp("redis")) as running:
        yield running
