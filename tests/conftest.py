"""Fixtures: the application in every host that can serve it, and real clients."""

import contextlib
import functools
import linecache
import logging
import os
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from botocore.config import Config

from serverfull_wsgi import InProcessExecutor
from tests.support import gateway_hosts, hosts
from tests.support.battery import WHOLE, Battery
from tests.support.brokers import RabbitMQ, Redis, broker
from tests.support.isolated import executing, executing_without_client, needs_client
from tests.support.servers import ROOT, Server, free_port, gunicorn, running

# Python 3.13 prints the lines of ``python -c`` for each code without a file, and pytest-xdist starts so.
linecache.cache.pop("<string>", None)

# Modules that cannot be imported, on purpose, and code of functions that run in environments of their own.
collect_ignore = ["support/broken_syntax.py", "support/broken_import.py", "functions", "projects", "templates"]
collect_ignore += ["support/without_client"]


def pytest_collection_modifyitems(items):
    """Mark each test that records figures of the battery. Refuse ids that differ in each process of pytest-xdist."""
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(f"{item.nodeid}: the id has an address; give the parameters names")
        if "battery" in item.fixturenames:
            item.add_marker("battery")


def noted_by_boto3(port, count):
    """Send ``count`` events for the function ``note`` from 8 threads. Return their request ids."""
    client = aws_client(f"http://127.0.0.1:{port}")

    def call(number):
        with (answer := client.invoke(FunctionName="note", InvocationType="Event", Payload=str(number)))["Payload"]:
            return answer["ResponseMetadata"]["RequestId"]

    with contextlib.closing(client), ThreadPoolExecutor(8) as pool:
        return list(pool.map(call, range(count)))


@pytest.fixture(scope="session", params=hosts.NAMES)
def host(request, tmp_path_factory):
    """Return the application in one host; a test that uses it runs in every host."""
    with hosts.host(request.param, tmp_path_factory.mktemp(request.param) / "log") as it:
        yield it


@pytest.fixture(scope="session")
def sites_in(tmp_path_factory):
    """Return a function from a host's name to the sites of each kind in that host, which runs until the end."""
    with contextlib.ExitStack() as stack:
        yield functools.cache(
            lambda name: stack.enter_context(gateway_hosts.host(name, tmp_path_factory.mktemp(name) / "log"))
        )


@pytest.fixture(scope="module", params=gateway_hosts.NAMES)
def gateway_host(request, sites_in):
    """Return the sites of each kind in one host; a test that uses it runs in every host."""
    return sites_in(request.param)


EXECUTORS = {
    "InProcessExecutor": lambda: contextlib.nullcontext(InProcessExecutor()),
    "ProcessExecutor": executing,
    "ProcessExecutor-http": functools.partial(executing, python_transport="http"),
    "ProcessExecutor-fallback": functools.partial(executing_without_client, python_transport="http"),
}


@pytest.fixture(
    scope="module",
    params=["InProcessExecutor", *(pytest.param(name, marks=needs_client) for name in list(EXECUTORS)[1:])],
)
def executor(request):
    """Return one executor; a test that uses it runs over every executor."""
    with EXECUTORS[request.param]() as executor:
        yield executor


@pytest.fixture
def invoke(host):
    """Return ``invoke("name", payload, query="Qualifier=1", headers={})``, which returns a `hosts.Response`."""

    def invoke(name, payload=b"", query="", headers=None):
        target = f"/2015-03-31/functions/{name}/invocations{'?' if query else ''}{query}"
        return host.request("POST", target, payload, headers)

    return invoke


def aws_client(url):
    """Return a boto3 client as a user sets it up, with boto3's own retries."""
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
    """Return gunicorn with the options of the README."""
    log = tmp_path_factory.mktemp("gthread") / "log"
    with gunicorn(log, "--worker-class", "gthread", "--threads", "8") as server:
        yield server


@pytest.fixture
def boto3_client(gthread):
    client = aws_client(gthread.url)
    yield client
    client.close()


@pytest.fixture(scope="session")
def battery(tmp_path_factory):
    """Return the report to which a long check adds its figures."""
    default = "battery.json" if WHOLE else tmp_path_factory.getbasetemp() / "battery.json"
    return Battery(os.environ.get("SERVERFULL_BATTERY_JSON") or default)


@pytest.fixture(scope="session")
def readme():
    return (ROOT / "README.md").read_text()


@pytest.fixture(autouse=True)
def _restored_logger():
    """Restore the process's one logger after the test, since `create_app` configures it."""
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


@pytest.fixture(scope="module")
def moto(tmp_path_factory):
    """Return a server of AWS's other services."""
    port = free_port()
    argv = ["-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    log = tmp_path_factory.mktemp("moto") / "log"
    with running(Server(argv, log, port=port, ready="/moto-api/", env={"PYTHONWARNINGS": "ignore"})) as server:
        yield server
