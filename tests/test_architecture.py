"""The layers of the package: imports point down, and packages of one layer never import each other."""

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import serverfull_wsgi
from tests.support.servers import ROOT, clean_environ

pytestmark = pytest.mark.quick

PACKAGE = Path(serverfull_wsgi.__file__).parent
LAYERS = [
    {"evidence"},  # values of callers in log lines
    {"errors"},  # every error of the service, and its form on the wire
    {
        "names",
        "server_exits",
        "payloads",
        "event_config",
        "logging_config",
        "env_vars",
        "timestamps",
    },  # values
    {"domain"},  # functions, invocations, outcomes
    {"context"},  # a handler's view of its invocation
    {"protocols"},  # the interfaces of the parts
    {"handlers", "auth.principal", "gateway.formats"},
    {"telemetry", "storage"},
    {"registry"},  # functions that are deployed
    {"events", "concurrency"},  # rules of asynchronous and of simultaneous invocations
    {"fetchers", "executors", "queues"},  # which, how, when
    {"dispatcher"},
    {"wsgi", "settings"},
    {"api.model"},  # AWS's service model: which operation a request addresses
    {"auth"},
    {"console", "gateway"},
    {"api"},
    {"assembly"},  # the one module that names concrete classes
    {"servers"},
    {"front", "hooks", "workers", "cli", "celery"},  # entry points
    {"__init__"},
    {"__main__"},
]
INNER = {
    "auth.principal",
    "gateway.formats",
    "api.model",
}  # parts of a folder that are in a lower layer than the folder
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def part_of(module):
    """``serverfull_wsgi.api.invoke`` → ``api``; the package itself → ``__init__``."""
    _, *names = module.split(".")
    inner = ".".join(names[:2])  # a part inside a folder has a layer of its own
    return inner if inner in LEVEL else [*names, "__init__"][0]


def imports(file):
    """Yield each module that a file imports, with its line, including imports in functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "serverfull_wsgi" else []
            yield from ((name, node.lineno) for name in names or [node.module])
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)


FILES = sorted(PACKAGE.rglob("*.py"))
ISOLATED = PACKAGE / "executors/isolated"
ZYGOTE = [
    *sorted((ISOLATED / "zygote/program").glob("*.py")),
    *(ISOLATED / folder / "__init__.py" for folder in (".", "zygote", "sandbox")),
    ISOLATED / "zygote/protocol.py",
    *(ISOLATED / f"runtimes/{name}.py" for name in ("packages", "python_client", "python_transport")),
    *sorted((ISOLATED / "runtimes/fallback_client").rglob("*.py")),
    *(ISOLATED / f"sandbox/{name}.py" for name in ("linux", "mounts", "root", "root_template")),
]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_down(file):
    here = part_of(".".join(("serverfull_wsgi", *file.relative_to(PACKAGE).with_suffix("").parts)))
    for module, line in imports(file):
        if module.split(".")[0] != "serverfull_wsgi" or part_of(module) == here:
            continue
        there = part_of(module)
        below = LEVEL[there] < LEVEL[here] and there != "__init__"
        assert below, f"{file.name}:{line}: {here} (layer {LEVEL[here]}) imports {there} (layer {LEVEL[there]})"


def test_every_part_has_a_layer():
    assert {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in FILES} | INNER == set(LEVEL)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_only_settings_and_native_mode_read_the_environment(file):
    if file.stem in ("settings", "bootstrap") or file in ZYGOTE:  # a forked environment sets its own variables
        return
    names = [node.attr for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)]
    assert not {"environ", "getenv", "environb"} & set(names), f"{file.name} reads the environment"


@pytest.mark.parametrize("file", ZYGOTE, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_code_for_other_interpreters_imports_the_standard_library_only(file):
    assert {name.split(".")[0] for name, _ in imports(file)} <= {"awslambdaric", *sys.stdlib_module_names}


def test_every_public_name_has_a_docstring():
    missing = [
        name
        for name in serverfull_wsgi.__all__
        if not (getattr(serverfull_wsgi, name).__doc__ or "").strip()
    ]  # fmt: skip
    assert missing == []


SUBMODULES = [info.name for info in pkgutil.walk_packages([str(PACKAGE)], "serverfull_wsgi.")]


def python(code, **environ):
    argv = [sys.executable, "-c", code]
    return subprocess.run(
        argv, capture_output=True, text=True, cwd=ROOT, env={**clean_environ(), **environ}, check=False
    )


def test_app_is_the_application_after_every_submodule_was_imported():
    result = python(f"import {', '.join(SUBMODULES)}\nimport serverfull_wsgi\nassert callable(serverfull_wsgi.app)")
    assert result.returncode == 0, result.stderr


def test_importing_opens_nothing_and_reads_no_settings():
    code = """
import sys, threading, os
before, out = set(os.listdir("/proc/self/fd")), sys.stdout
import serverfull_wsgi, logging
assert threading.active_count() == 1
assert sys.stdout is out and not logging.getLogger().handlers
assert set(os.listdir("/proc/self/fd")) == before
assert "gunicorn.app.base" not in sys.modules and "awslambdaric" not in sys.modules
"""
    result = python(code, SERVERFULL_MOCK="neither true nor false")
    assert result.returncode == 0, result.stderr


# Imports that a server with default settings needs later or never, and the milliseconds of each. `bench.start` compares
# the start with a bare application's, which takes about 100.
LATE = {
    "boto3": 300,
    "werkzeug": 25,  # routes of a user's own, and the console
    "serverfull_wsgi.api.model": 20,  # all operations but Invoke
    "serverfull_wsgi.executors.isolated.open_executor": 15,  # with the sandbox, the fork server and the pools
    "environs": 37,  # settings that are not valid, or spelled in another way than the documentation
    "serverfull_wsgi.gateway": 10,
    "serverfull_wsgi.registry": 7,
    "asyncio": 20,
    "subprocess": 1,
    "ctypes": 1.5,
    "gunicorn.workers.gthread": 3,  # with a pool of threads: the default worker is sync
    "http.client": 2,  # webhooks
    "configparser": 1.3,  # keys
    "dotenv": 2,
    "hashlib": 1.2,  # OpenSSL
    "uuid": 0.6,
    "statsd": 1.3,  # with the clients for metrics
    "serverfull_wsgi.logging_config": 0.6,
    "serverfull_wsgi.fetchers.mocking": 0.5,
    "serverfull_wsgi.servers.native": 0.2,
}


def test_the_default_start_imports_only_what_the_first_answer_needs(tmp_path):
    code = f"""
import sys, gunicorn.workers.sync, gunicorn.app.wsgiapp
before = set(sys.modules)
import serverfull_wsgi
serverfull_wsgi.app.start()
print([name for name in sys.modules if name not in before and name.startswith({tuple(LATE)})])
"""
    settings = {"SERVERFULL_FUNCTIONS": "hello=tests.support.handlers.hello", "SERVERFULL_DATA_DIR": str(tmp_path)}
    result = python(code, **{name: "" for name in clean_environ() if name.startswith("SERVERFULL_")}, **settings)
    assert result.stdout.splitlines()[-1] == "[]", result.stderr


def test_the_version_is_the_distributions():
    from importlib.metadata import version

    assert version("serverfull-wsgi") == serverfull_wsgi.__version__


TESTS = [folder for folder in sorted((ROOT / "tests").rglob("*")) if any(folder.glob("test_*.py"))]


@pytest.mark.parametrize("folder", TESTS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_every_folder_of_tests_has_quick_ones(folder):
    assert any("mark.quick" in file.read_text() for file in folder.rglob("test_*.py"))
