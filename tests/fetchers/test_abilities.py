"""Optional abilities of fetchers, also through wrappers."""

import pytest

from serverfull_wsgi import Application, ConfigurationError, Function, MockingFetcher, NotFoundError, StaticFetcher
from serverfull_wsgi.fetchers.abilities import find_function, list_functions, reporting
from serverfull_wsgi.fetchers.chain import ChainFetcher
from serverfull_wsgi.protocols import ListableFetcher, ReportingFetcher, is_listable


def hello(event, context) -> str:
    return "Hello!"


class FindingFetcher:
    """A fetcher that cannot list its functions."""

    def fetch(self, name, qualifier="$LATEST"):
        if name != "hello":
            raise NotFoundError(name)
        return hello


class HalfFetcher(StaticFetcher):
    """A fetcher that also has a function that cannot run."""

    def refused(self):
        return {"broken": ["broken: ruby is not supported"]}

    def problems(self):
        return ["broken: ruby is not supported"]

    def notes(self):
        return ["hello is served"]


class PassingFetcher:
    """A user's wrapper that passes everything on."""

    def __init__(self, fetcher):
        self._fetcher = fetcher

    def __getattr__(self, name):
        return getattr(self._fetcher, name)


FETCHERS = {
    "static": lambda: StaticFetcher({"hello": hello}),
    "mocking": lambda: MockingFetcher(StaticFetcher({"hello": hello})),
    "mocking twice": lambda: MockingFetcher(MockingFetcher(StaticFetcher({"hello": hello}))),
    "mocking a user's wrapper": lambda: MockingFetcher(PassingFetcher(StaticFetcher({"hello": hello}))),
    "chain": lambda: ChainFetcher([StaticFetcher({"hello": hello})]),
    "a user's wrapper": lambda: PassingFetcher(StaticFetcher({"hello": hello})),
}


@pytest.mark.parametrize("make", FETCHERS.values(), ids=FETCHERS)
def test_a_fetcher_of_listable_fetchers_lists_functions(make):
    assert is_listable(make())
    assert [function.name for function in list_functions(make())] == ["hello"]


@pytest.mark.parametrize("name", [name for name in FETCHERS if name != "a user's wrapper"])
def test_the_wrappers_of_this_package_implement_the_protocol(name):
    assert isinstance(FETCHERS[name](), ListableFetcher)


def test_a_mocking_fetcher_lists_mocked_functions():
    needs_environment = Function("app.handler", code="/srv/app", environment={"A": "1"})
    (function,) = MockingFetcher(StaticFetcher({"it": needs_environment})).functions()
    assert function.is_mocked
    assert function.handler({}, None) is None


@pytest.mark.parametrize("fetcher", [FindingFetcher(), MockingFetcher(FindingFetcher())])
def test_a_fetcher_without_functions_is_not_listable(fetcher):
    assert not isinstance(fetcher, ListableFetcher)
    with pytest.raises(ConfigurationError, match=r"finds functions by name and has no functions\(\) to list them"):
        list_functions(fetcher)


@pytest.mark.parametrize("wrap", [MockingFetcher, lambda fetcher: ChainFetcher([fetcher])], ids=["mocking", "chain"])
def test_a_wrapper_reports_as_its_fetcher_does(wrap):
    fetcher = wrap(HalfFetcher({"hello": hello}))
    assert isinstance(fetcher, ReportingFetcher)
    assert fetcher.refused() == {"broken": ["broken: ruby is not supported"]}
    assert fetcher.problems() == ["broken: ruby is not supported"]
    assert fetcher.notes() == ["hello is served"]


def test_reports_pass_through_a_users_wrapper():
    assert reporting(PassingFetcher(HalfFetcher({}))).notes() == ["hello is served"]


def test_a_fetcher_without_reports_has_nothing_to_report():
    report = reporting(MockingFetcher(StaticFetcher({"hello": hello})))
    assert (report.refused(), report.problems(), report.notes()) == ({}, [], [])


def test_a_mocking_fetcher_passes_other_attributes_on():
    fetcher = MockingFetcher(StaticFetcher({"hello": hello, "hello:1": hello}, {"hello:prod": "1"}))
    assert fetcher.aliases() == {"hello:prod": "1"}


def test_mock_mode_needs_no_environment_of_listed_functions():
    fetcher = StaticFetcher({"it": Function(lambda event, context: None, environment={"A": "1"})})
    Application(MockingFetcher(fetcher)).close()


@pytest.mark.parametrize(
    ("fetcher", "message"),
    [
        (StaticFetcher({"hello": hello, "hello:1": hello}), "there is no function 'absent'; there are: hello, hello:1"),
        (StaticFetcher({}), "there is no function 'absent'; there are none"),
        (
            FindingFetcher(),
            "there is no function 'absent'; FindingFetcher finds functions by name and has no functions() to list them",
        ),
    ],
)
def test_a_function_that_does_not_exist_is_refused_with_the_choices(fetcher, message):
    with pytest.raises(ConfigurationError) as caught:
        find_function(fetcher, "absent")
    assert str(caught.value) == message


def test_a_function_is_found_by_its_qualifier():
    fetcher = StaticFetcher({"hello": hello, "hello:1": hello}, {"hello:prod": "1"})
    assert find_function(fetcher, "hello:prod").version == "1"
    assert find_function(FindingFetcher(), "hello").name == "hello"


# Chains


def test_a_chain_fetches_from_the_fetcher_that_has_the_name():
    chain = ChainFetcher([StaticFetcher({"first": hello}), StaticFetcher({"second": hello})])
    assert chain.fetch("second").name == "second"
    with pytest.raises(NotFoundError):
        chain.fetch("third")


def test_a_chain_refuses_a_name_that_two_fetchers_have():
    with pytest.raises(ConfigurationError, match="function 'hello' is in both StaticFetcher and StaticFetcher"):
        ChainFetcher([StaticFetcher({"hello": hello}), StaticFetcher({"hello": hello})])


def test_a_chain_refuses_a_name_that_one_serves_and_another_reports():
    with pytest.raises(ConfigurationError, match="function 'broken' is in both HalfFetcher and StaticFetcher"):
        ChainFetcher([HalfFetcher({}), StaticFetcher({"broken": hello})])


def test_a_chain_refuses_a_fetcher_that_cannot_list_its_functions():
    with pytest.raises(ConfigurationError, match="FindingFetcher finds functions by name"):
        ChainFetcher([FindingFetcher()])
