"""A server serves its configuration's functions and those of its registry together."""

import pytest

from serverfull_wsgi import StaticFetcher
from serverfull_wsgi.assembly.application import create_app
from serverfull_wsgi.assembly.registries import create_registry
from serverfull_wsgi.errors import ConfigurationError, NotFoundError, ResourceConflictException
from serverfull_wsgi.fetchers.abilities import configured_functions, function_names
from serverfull_wsgi.fetchers.fallback import FallbackFetcher
from serverfull_wsgi.fetchers.mocking import MockingFetcher
from serverfull_wsgi.fetchers.registry import RegistryFetcher
from serverfull_wsgi.settings.settings import Settings
from tests.support import handlers
from tests.support.registry import deploy, redeploy, registry_in


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Settings(registry=str(tmp_path / "registry"), events="memory", data_dir=str(tmp_path / "data"))


CONFIGURED = StaticFetcher({"hello": handlers.hello})


def test_functions_of_both_are_served(settings):
    deploy(create_registry(settings, CONFIGURED), "other")
    fetcher = create_app(settings, CONFIGURED).dispatcher.fetcher
    assert fetcher.fetch("hello").handler is handlers.hello
    assert fetcher.fetch("other").handler == "app.handler"
    assert function_names(fetcher) == ["hello", "other"]
    assert [one.name for one in fetcher.functions()] == ["hello", "other"]
    assert [one.name for one in configured_functions(fetcher)] == ["hello"]


def test_a_name_of_the_configuration_cannot_be_deployed(settings):
    registry = create_registry(settings, CONFIGURED)
    with pytest.raises(ResourceConflictException, match="hello is part of this server's configuration"):
        deploy(registry)
    assert registry.names() == []


class Unlisted:
    """A fetcher of a team's own that cannot list its functions."""

    def fetch(self, name, qualifier="$LATEST"):
        if name == "refused":
            raise ResourceConflictException("not now")
        return CONFIGURED.fetch(name, qualifier)


def test_a_fetcher_that_cannot_list_its_functions_wins_too(settings, tmp_path):
    registry = registry_in(tmp_path)
    for name in ("hello", "refused", "other"):
        deploy(registry, name, Publish=True)
    fetcher = FallbackFetcher(Unlisted(), RegistryFetcher(registry))
    assert fetcher.fetch("hello").handler is handlers.hello
    assert fetcher.fetch("other", "1").handler == "app.handler"
    with pytest.raises(ResourceConflictException):
        fetcher.fetch("refused")
    with pytest.raises(NotFoundError):
        fetcher.fetch("hello", "1")


def test_names_that_both_have_are_one_warning(settings, capsys):
    registry = create_registry(settings, StaticFetcher({}))
    for name in ("hello", "other", "third"):
        deploy(registry, name)
    fetcher = StaticFetcher({"hello": handlers.hello, "third": handlers.hello})
    app = create_app(settings, fetcher)
    (warning,) = [line for line in capsys.readouterr().out.splitlines() if "WARNING" in line]
    assert "hello, third are deployed, but the configuration's function of this name is served" in warning
    assert app.dispatcher.fetcher.fetch("hello").handler is handlers.hello


def test_mock_mode_mocks_deployed_functions_too(tmp_path):
    registry = registry_in(tmp_path)
    deploy(registry)
    fetcher = MockingFetcher(FallbackFetcher(CONFIGURED, RegistryFetcher(registry)))
    assert fetcher.fetch_for("hello", "$LATEST", "id").is_mocked
    assert [one.is_mocked for one in configured_functions(fetcher)] == [True]


def test_the_dispatcher_passes_the_request_id_to_the_weights(settings):
    registry = create_registry(settings, CONFIGURED)
    deploy(registry, "other", Publish=True)
    redeploy(registry, "other", Publish=True)
    weights = {"AdditionalVersionWeights": {"2": 0.5}}
    registry.create_alias("other", {"Name": "prod", "FunctionVersion": "1", "RoutingConfig": weights}, "tester")
    dispatcher = create_app(settings, CONFIGURED).dispatcher
    name = dispatcher.name("other:prod")
    versions = [dispatcher.resolve(name, request_id=f"id-{number}").version for number in range(40)]
    assert set(versions) == {"1", "2"}
    assert versions == [dispatcher.resolve(name, request_id=f"id-{number}").version for number in range(40)]


@pytest.mark.parametrize(
    ("path", "message"),
    [("s3://bucket/prefix", "only a directory is supported"), ("/proc/self/mounts", "is not a directory")],
)
def test_a_registry_in_another_place_is_refused(settings, path, message):
    with pytest.raises(ConfigurationError, match=f"SERVERFULL_REGISTRY={path}: .*{message}"):
        create_registry(Settings(registry=path), CONFIGURED)


def test_a_registry_to_which_others_can_write_is_refused(settings, tmp_path):
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry").chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        create_registry(settings, CONFIGURED)
