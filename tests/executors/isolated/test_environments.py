"""Execution environments: their variables, files, memory, and use for further invocations."""

import logging
import os
import re
import shutil
import sys
import tempfile

import pytest

from serverfull_wsgi import ConfigurationError, Function
from serverfull_wsgi.env_vars import RESERVED_VARIABLES, SERVER_VARIABLES
from serverfull_wsgi.executors.isolated.sandbox import cgroups, linux
from tests.support.isolated import (
    FUNCTIONS,
    executing,
    function,
    needs_client,
    result,
    run,
    task_root,
)
from tests.support.waiting import wait_until

pytestmark = needs_client


def test_an_environment_serves_the_next_invocation(executor):
    first, second = (result(executor, function()) for _ in range(2))
    assert (second["pid"], second["calls"]) == (first["pid"], first["calls"] + 1)


def test_an_error_of_the_handler_keeps_the_environment(executor):
    before = result(executor, function("evaluate", name="failing"), "os.getpid(), threading.get_ident()")
    assert run(executor, function("evaluate", name="failing"), "1 / 0")[0].function_error
    assert result(executor, function("evaluate", name="failing"), "os.getpid(), threading.get_ident()") == before


def test_each_version_has_its_own_environments(executor):
    outcomes = [result(executor, function(name=name, version=version)) for name, version in (("a", "1"), ("a", "2"))]
    assert [outcome["calls"] for outcome in outcomes] == [1, 1]


def test_a_changed_function_gets_a_new_environment(executor):
    assert result(executor, function(name="changing", environment={"A": "1"}))["calls"] == 1
    assert result(executor, function(name="changing", environment={"A": "2"}))["calls"] == 1


def test_modules_of_the_same_name_in_two_functions_are_separate(executor):
    one, two = (function("app.handler", code=FUNCTIONS / name, name=name) for name in ("one", "two"))
    for number in range(20):
        assert result(executor, one, number) == ["one", number]
        assert result(executor, two, number) == ["two", number]


def test_the_variables_are_those_of_lambda_and_of_the_function(executor, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "1")
    own = {"TABLE": "orders", "EMPTY": ""}
    seen = result(executor, function("variables", name="v", memory_size=256, environment=own))
    assert own.items() <= seen.items()
    assert seen["AWS_LAMBDA_FUNCTION_NAME"] == "v"
    assert seen["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert seen["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert seen["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"
    assert seen["AWS_EXECUTION_ENV"] == f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}"
    assert seen["AWS_REGION"] == seen["AWS_DEFAULT_REGION"] == "us-east-1"
    assert (seen["_HANDLER"], seen["LAMBDA_TASK_ROOT"]) == ("app.variables", task_root(executor))
    assert seen["TZ"] == ":UTC"
    allowed = RESERVED_VARIABLES | set(own) | {
        "AWS_XRAY_CONTEXT_MISSING", "AWS_XRAY_DAEMON_ADDRESS", "LANG", "TZ", "PATH", "LD_LIBRARY_PATH", "PYTHONPATH",
        "TMPDIR",
    }  # fmt: skip
    assert set(seen) - allowed == set()


def test_the_trace_id_is_a_variable_during_its_invocation_only(executor):
    root = "Root=1-64f7ba59-40378aa81e4eecc34002f96a"
    with_trace = run(executor, function("variables"), trace_id=root)[1]
    assert with_trace["_X_AMZN_TRACE_ID"].startswith(root)
    assert "_X_AMZN_TRACE_ID" not in run(executor, function("variables"))[1]


@pytest.mark.parametrize(
    ("trace_id", "seen"),
    [
        ("Root=1-64f7ba59-40378aa81e4eecc34002f96a", "Root=1-64f7ba59-40378aa81e4eecc34002f96a;Parent=P;Sampled=0"),
        (
            "Root=1-64f7ba59-40378aa81e4eecc34002f96a;Sampled=1;Lineage=68fd508a:0",
            "Root=1-64f7ba59-40378aa81e4eecc34002f96a;Parent=P;Sampled=1;Lineage=68fd508a:0",
        ),
        (
            "Root=1-64f7ba59-40378aa81e4eecc34002f96a;Parent=53995c3f42cd8ad8;Sampled=?",
            "Root=1-64f7ba59-40378aa81e4eecc34002f96a;Parent=53995c3f42cd8ad8;Sampled=?",
        ),
        ("Lineage=68fd508a:0", "Root=R;Parent=P;Sampled=0;Lineage=68fd508a:0"),
    ],
)
def test_the_trace_of_a_function_has_a_root_a_parent_and_sampled(executor, trace_id, seen):
    trace = run(executor, function("variables"), trace_id=trace_id)[1]["_X_AMZN_TRACE_ID"]
    pattern = re.escape(seen).replace("=P;", "=[0-9a-f]{16};").replace("=R;", "=1-[0-9a-f]{8}-[0-9a-f]{24};")
    assert re.fullmatch(pattern, trace)


def test_credentials_of_the_operator_reach_the_function(executor):
    keyed = function("variables", name="keyed", environment={"AWS_ACCESS_KEY_ID": "a key"})
    assert result(executor, keyed)["AWS_ACCESS_KEY_ID"] == "a key"


@pytest.mark.parametrize("name", sorted(SERVER_VARIABLES))
def test_a_variable_that_the_server_sets_is_refused(name):
    with pytest.raises(ConfigurationError, match=name):
        function(environment={name: "x"})


def test_the_process_has_the_directory_descriptors_and_encoding_of_lambda(executor):
    seen = result(executor, function("surroundings", name="around"))
    assert (seen["cwd"], seen["path"][0]) == (task_root(executor),) * 2
    assert not [path for path in seen["path"] if "executors" in path]
    assert seen["argv"] == ["app.surroundings"]
    assert seen["encoding"] == ["utf-8", "strict"]
    assert seen["timezone"] == "+0000"
    own = {"0": "/dev/null", "1": "pipe", "2": "pipe", "3": "pipe"}  # and the sockets of the runtime client
    assert {fd: "pipe" if to.startswith("pipe") else to for fd, to in seen["fds"].items() if "socket" not in to} == own
    assert sum("socket" in to for to in seen["fds"].values()) <= 3
    if executor.sandbox != "process":
        assert len(seen["processes"]) == 2


def test_a_later_layer_comes_first_on_the_paths(executor, tmp_path):
    for number in (1, 2):
        (tmp_path / f"layer{number}/python").mkdir(parents=True)
        (tmp_path / f"layer{number}/bin").mkdir()
        (tmp_path / f"layer{number}/python/layered.py").write_text(f"NUMBER = {number}")
    layers = [str(tmp_path / "layer1"), str(tmp_path / "layer2")]
    layered = function("evaluate", name="layered", layers=layers)
    assert result(executor, layered, "__import__('layered').NUMBER") == 2
    first = "/opt/bin:" if executor.sandbox == "root" else f"{layers[1]}/bin:{layers[0]}/bin:"
    assert result(executor, layered, "os.environ['PATH']").startswith(first)


def test_forks_have_independent_random_numbers(executor):
    seen = [result(executor, function("chances", name=f"chance{number}")) for number in range(3)]
    for kind in zip(*seen, strict=True):
        assert len(set(kind)) == 3


def test_temporary_files_belong_to_one_function_and_outlive_its_process(executor):
    run(executor, function("files", name="keeper"), "a text")
    assert result(executor, function("files", name="keeper")) == "a text"
    assert result(executor, function("files", name="other")) is None


@pytest.mark.parametrize("ending", ["", "; os._exit(1)"], ids=["stays", "ends"])
def test_a_removed_temporary_directory_exists_again_in_the_next_invocation(ending):
    """Only without a private /tmp: that one cannot be removed, and its content may be the code and Python."""
    removal = f"import shutil; assert tmp() != '/tmp'; shutil.rmtree(tmp(), True){ending}"
    check = "assert os.path.isdir(tmp()) and not os.listdir(tmp())\nPath(tmp(), 'new').touch()"
    with executing(sandbox="process") as executor:
        careless = function("execute", name="careless")
        for _ in range(2):
            run(executor, careless, removal)
            assert result(executor, careless, check) is None


def test_a_link_that_replaces_the_temporary_directory_is_not_used_again():
    link = "import shutil; assert tmp() != '/tmp'; shutil.rmtree(tmp(), True); os.symlink('/', tmp()); os._exit(1)"
    with executing(sandbox="process") as executor:
        run(executor, function("execute", name="linking"), link)
        assert result(executor, function("execute", name="linking"), "assert not os.path.islink(tmp())") is None
    assert os.path.isdir("/usr")


def test_deeply_nested_temporary_files_are_removed(executor):
    parent = executor.statistics().directory
    before = set(os.listdir(parent))
    result(executor, function("make_deep_folders", name="deep"), 2000)
    (directory,) = set(os.listdir(parent)) - before
    result(executor, function("whoami", name="deep"))  # a changed function: the old environment and its files go
    wait_until(lambda: not os.path.exists(f"{parent}/{directory}"))


def test_a_directory_is_removed_without_programs_on_the_path(tmp_path, monkeypatch):
    folder = tmp_path / "left"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").touch()
    monkeypatch.setenv("PATH", "/nowhere")
    linux.remove_tree(str(folder))
    assert not folder.exists()


def test_the_first_report_has_the_init_duration_and_each_the_memory_of_the_function(executor):
    outcome, _ = run(executor, function("evaluate", name="reported"), "1")
    assert re.search(r"Max Memory Used: \d+ MB\tInit Duration: \d+\.\d\d ms\t\n$", outcome.log.decode())
    assert b"Init Duration" not in run(executor, function("evaluate", name="reported"), "1")[0].log
    before = outcome.memory
    after, _ = run(executor, function("evaluate", name="reported"), "len(bytearray(b'x' * 40 * 2**20))")
    assert 30 <= after.memory - before <= 120


@pytest.fixture(params=["control groups", "none"])
def groups(request, monkeypatch, tmp_path, caplog):
    """Return an executor that limits memory by control groups, if the machine has them, and one that does not."""
    if request.param == "none":
        monkeypatch.setattr(cgroups, "ROOT", str(tmp_path))
    with caplog.at_level(logging.INFO, "serverfull_wsgi"), executing() as executor:
        if (request.param == "control groups") != ("memory limited by control groups" in caplog.text):
            pytest.skip("no control group can be created here")
        executor.memory_limit = request.param
        yield executor


def test_the_memory_of_all_processes_is_reported(groups):
    breeding = function("breed", name="breeding", memory_size=256)
    before = run(groups, breeding, {"mib": 1, "seconds": 0})[0].memory
    more = []

    def is_reported():
        """Call again if memory was read too early, which may happen on a busy machine without control groups."""
        more.append(run(groups, breeding, {"mib": 80, "seconds": 2})[0].memory - before)
        return more[-1] >= 60

    wait_until(is_reported)
    assert max(more) <= 200


def test_processes_that_exceed_the_memory_size_together_are_killed(groups):
    """The kernel kills the largest process of a control group. Otherwise the server kills the whole environment.

    A group that also pays for files in /tmp has a higher limit, which the processes alone do not reach.
    """
    _, value = run(groups, function("breed", name="overbreeding", memory_size=128), {"mib": 140, "seconds": 20})
    if groups.memory_limit == "control groups" and groups.statistics().sandbox != "root":
        assert value == "it ended with -9"
    else:
        assert value["errorMessage"].endswith("Runtime exited with error: signal: killed")


def test_a_handler_without_a_code_directory_is_imported_from_the_servers_directory(executor):
    plain = Function("tests.support.handlers.hello", name="plain", timeout=30)
    assert result(executor, plain) == "Hello ƛ!"


def test_a_code_directory_may_be_a_link_below_tmp(executor, tmp_path):
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        folder = os.path.join(place, "releases", "1")
        shutil.copytree(FUNCTIONS, folder)
        os.symlink(folder, os.path.join(place, "current"))
        os.symlink(place, os.path.join(place, "again"))
        for name in ("releases/1", "current", "again/current"):
            code = os.path.join(place, name)
            linked = function("evaluate", name=f"linked-{name.replace('/', '-')}", code=code)
            assert result(executor, linked, "os.environ['LAMBDA_TASK_ROOT']") == task_root(executor, code)
