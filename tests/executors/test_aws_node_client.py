"""The project's Node.js runtime compared with AWS's own client, on the same handlers and the same Runtime API."""

import json
import re
import shutil

import pytest

from tests.support.aws_node_client import COMPARED, Pair, missing, reference

pytestmark = [pytest.mark.once, pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")]

SOURCE = (COMPARED / "handlers.js").read_text()
_, *HANDLERS = re.findall(r"^exports\.(\w+) =", SOURCE, re.MULTILINE)
ALONE = ["takesThree", *re.findall(r"^exports\.(\w+) = .*setInterval", SOURCE, re.MULTILINE)]  # timers stay
ADVICE = ("no_module", "same_name_folder", "package_folder")
LATE = ("callbackInTimer", "callbackErrorInTimer", "asyncCallbackLater", "promiseAndCallback")
DIFFERENCES = {  # by runtime and case
    ("nodejs20.x", "streaming_request"): "AWS's client raises a ReferenceError by a fault of its own",
    **{("nodejs24.x", name): "the error's advice names the file from the place of the client" for name in ADVICE},
    **{("nodejs24.x", name): "there is no callback, and the process ends some time after its answer" for name in LATE},
    ("nodejs24.x", "listeners"): "the project's runtime listens to beforeExit, for Runtime.NodeJsExit",
    ("nodejs24.x", "requestIdSymbol"): "the symbol belongs to AWS's client 3.x",
}

MODULES = json.loads((COMPARED / "modules.json").read_text())


@pytest.fixture(params=[3, 4], scope="module")
def client(request):
    """Return AWS's client of one major version."""
    if reason := missing(request.param):
        pytest.skip(reason)
    return reference(request.param)


@pytest.fixture(scope="module")
def shared_pair(client, tmp_path_factory):
    """Return a function that returns a pair of processes for many handlers; a new pair if one of them has ended."""
    pairs = []

    def shared_pair():
        if not pairs or pairs[-1].ended:
            pairs.append(Pair(client, tmp_path_factory.mktemp("pair")))
        return pairs[-1]

    yield shared_pair
    for pair in pairs:
        pair.stop()


@pytest.fixture
def own_pair(client, tmp_path):
    """Return a function that starts a pair of processes for one test."""
    pairs = []

    def own_pair(**options):
        pairs.append(Pair(client, tmp_path, **options))
        return pairs[-1]

    yield own_pair
    for pair in pairs:
        pair.stop()


def skip_difference(client, name):
    if reason := DIFFERENCES.get((client.runtime, name)):
        pytest.skip(reason)


def agree(ours, theirs):
    assert (ours.answers, ours.ended) == (theirs.answers, theirs.ended)
    assert ours.log == theirs.log


@pytest.mark.parametrize("name", HANDLERS)
def test_a_handler_has_the_answers_ends_and_log_lines_of_awss_client(client, shared_pair, own_pair, name):
    skip_difference(client, name)
    if name in ALONE:
        agree(*own_pair(handler=f"handlers.{name}").results(1, 1))
    else:  # the last invocation shows that the process goes on, and that its log is complete
        agree(*shared_pair().results({"name": name}, {"name": name}, {"name": "returnsNothing"}))


@pytest.mark.parametrize("name", MODULES)
def test_a_module_loads_or_fails_as_under_awss_client(client, own_pair, name, tmp_path):
    skip_difference(client, name)
    root = tmp_path / "code"
    root.mkdir()
    for file, text in MODULES[name]["files"].items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text)
    agree(*own_pair(handler=MODULES[name]["handler"], root=root).results(1, 1))


LOGGING = [
    "returnsNothing",
    "throwsError",
    "throwsText",
    "throwsCycle",
    "throwsOwnMembers",
    "callbackError",
    "unhandled",
]
LOGGING += [name for name in HANDLERS if name.startswith("logs")]


@pytest.mark.parametrize("level", ["TRACE", "warn", "FATAL", "nonsense"])
@pytest.mark.parametrize("format", ["JSON", "text"])
def test_the_log_has_the_format_and_level_of_awss_client(client, own_pair, format, level):
    pair = own_pair(AWS_LAMBDA_LOG_FORMAT=format, AWS_LAMBDA_LOG_LEVEL=level)
    agree(*pair.results(*({"name": name} for name in LOGGING if name != "unhandled"), {"name": "unhandled"}))
