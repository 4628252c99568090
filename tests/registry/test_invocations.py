"""Functions of a registry run: a change is in force at the next call, and calls by alias follow the weights."""

import contextlib
import json
import random
import sys
import uuid
from collections import Counter

import pytest
from werkzeug.test import Client

from serverfull_wsgi import Application
from serverfull_wsgi.errors import NotFoundError
from serverfull_wsgi.fetchers.registry import RegistryFetcher
from tests.support.isolated import needs_client
from tests.support.registry import deploy, redeploy, registry_in

RUNTIME = f"python3.{sys.version_info.minor}"


@pytest.fixture
def registry(tmp_path):
    return registry_in(tmp_path)


@pytest.fixture
def invoke(registry):
    """Invoke a function over HTTP: ``invoke("hello:prod")``. Return its result and X-Amz-Executed-Version."""
    application = Application(RegistryFetcher(registry))
    client = Client(application)

    def call(name):
        response = client.post(f"/2015-03-31/functions/{name}/invocations", data=b"{}")
        assert response.status_code == 200, response.text
        return json.loads(response.data), response.headers["X-Amz-Executed-Version"]

    yield call
    application.close()


def versions(registry):
    """Deploy versions 1 and 2 of hello, and an alias that sends a tenth of the calls to version 2."""
    deploy(registry, text="one", Publish=True, Runtime=RUNTIME)
    redeploy(registry, text="two", Publish=True)
    weights = {"AdditionalVersionWeights": {"2": 0.1}}
    registry.create_alias("hello", {"Name": "prod", "FunctionVersion": "1", "RoutingConfig": weights}, "tester")


@needs_client
def test_a_call_after_an_update_runs_the_new_code(registry, invoke):
    deploy(registry, text="one", Runtime=RUNTIME)
    assert invoke("hello") == (["one", "$LATEST"], "$LATEST")
    redeploy(registry, text="two")
    assert invoke("hello") == (["two", "$LATEST"], "$LATEST")


@needs_client
def test_a_version_keeps_its_code_and_an_alias_shows_the_version_that_ran(registry, invoke):
    deploy(registry, text="one", Publish=True, Runtime=RUNTIME)
    redeploy(registry, text="two")
    registry.create_alias("hello", {"Name": "prod", "FunctionVersion": "1"}, "tester")
    assert invoke("hello:1") == (["one", "1"], "1")
    assert invoke("hello:prod") == (["one", "1"], "1")


def test_an_alias_follows_its_weights(registry):
    versions(registry)
    fetcher, ids = RegistryFetcher(registry), random.Random(7)
    counts = Counter(
        fetcher.fetch_for("hello", "prod", str(uuid.UUID(int=ids.getrandbits(128), version=4))).version
        for _ in range(10_000)
    )
    assert abs(counts["2"] - 1_000) < 3 * (10_000 * 0.1 * 0.9) ** 0.5
    assert counts["1"] + counts["2"] == 10_000


def test_all_attempts_of_one_request_run_the_same_version(registry):
    versions(registry)
    fetcher = RegistryFetcher(registry)
    for _ in range(50):
        request_id = str(uuid.uuid4())
        assert len({fetcher.fetch_for("hello", "prod", request_id).version for _ in range(5)}) == 1


def test_a_change_of_the_weights_holds_at_the_next_call(registry):
    versions(registry)
    fetcher = RegistryFetcher(registry, draw=lambda request_id: 0.05)
    assert fetcher.fetch_for("hello", "prod", "id").version == "2"
    registry.update_alias("hello", "prod", {"RoutingConfig": {}}, "tester")
    assert fetcher.fetch_for("hello", "prod", "id").version == "1"


def test_a_deleted_function_is_gone_at_the_next_call_and_can_return(registry):
    fetcher = RegistryFetcher(registry)
    for text in ("one", "two"):
        with pytest.raises(NotFoundError):
            fetcher.fetch("hello")
        deploy(registry, text=text)
        with open(f"{fetcher.fetch('hello').code}/app.py") as file:
            assert text in file.read()
        registry.delete_function("hello", None, "tester")


def test_a_reserved_concurrency_holds_at_the_next_call_of_every_version(registry):
    deploy(registry, Publish=True)
    fetcher = RegistryFetcher(registry)
    with contextlib.closing(Application(fetcher)) as application:
        client = Client(application)
        for executions, status in ((0, 429), (None, 204)):
            if executions is None:
                registry.delete_concurrency("hello", "tester")
            else:
                registry.put_concurrency("hello", executions, "tester")
            assert [fetcher.fetch("hello", qualifier).reserved for qualifier in ("$LATEST", "1")] == [executions] * 2
            headers = {"X-Amz-Invocation-Type": "DryRun"} if executions is None else {}
            assert client.post("/2015-03-31/functions/hello/invocations", headers=headers).status_code == status


@pytest.mark.parametrize("qualifier", ["2", "prod", "$latest", "x" * 128])
def test_an_unknown_qualifier_is_not_found(registry, qualifier):
    deploy(registry, Publish=True)
    with pytest.raises(NotFoundError):
        RegistryFetcher(registry).fetch("hello", qualifier)


def test_a_change_of_another_process_is_seen(registry, tmp_path):
    deploy(registry)
    fetcher = RegistryFetcher(registry)
    assert fetcher.fetch("hello").timeout == 3
    registry_in(tmp_path).update_configuration("hello", {"Timeout": 9}, "tester")
    assert fetcher.fetch("hello").timeout == 9
