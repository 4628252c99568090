"""Warnings about isolated functions that lack something on this machine: a program, a build, or packages."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from serverfull_wsgi.domain import Function
from serverfull_wsgi.executors.isolated.runtimes.launch import INTERPRETER_VARIABLES, OWN_RUNTIME, python_layer_folders

READ_FILES = 2000  # of one function, in search of imports; their reading takes about a second
CLIENT_TIMEOUT = 30.0  # seconds for an interpreter to import AWS's client
_IMPORT_CLIENT = """
try:
    import runtime_client, awslambdaric.bootstrap
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""
_TYPESCRIPT, _JAVASCRIPT = (".ts", ".tsx", ".mts", ".cts"), (".js", ".mjs", ".cjs")
_requirement = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^]]*\])?\s*([@=<>!~,(#]|$)")
_boto3 = re.compile(rb"^\s*(?:import|from)\s+(boto3|botocore)\b", re.MULTILINE)
# Distributions with another name than their package, among the requirements that functions have most often
_PACKAGES = {
    "attrs": "attr",
    "beautifulsoup4": "bs4",
    "dnspython": "dns",
    "opencv-python": "cv2",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "protobuf": "google",
    "psycopg2-binary": "psycopg2",
    "pycryptodome": "Crypto",
    "pyjwt": "jwt",
    "pymysql": "pymysql",
    "pyopenssl": "OpenSSL",
    "python-dateutil": "dateutil",
    "python-dotenv": "dotenv",
    "python-jose": "jose",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
}
_BOTO3 = frozenset({"boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"})


def runtime_warnings(functions: Iterable[Function], python_modules: str, preload: Collection[str]) -> list[str]:
    """Return a warning for each thing that functions with a code directory need and that is missing.

    Args:
        functions: functions of any runtime; those without a code directory need nothing.
        python_modules: the folder of packages for all Python functions, or an empty text.
        preload: the modules of SERVERFULL_ZYGOTE_PRELOAD.
    """
    isolated = {(function.name, function.code): function for function in functions if function.code}.values()
    python = [function for function in isolated if (function.runtime or OWN_RUNTIME).startswith("python")]
    node = [function for function in isolated if function.runtime.startswith("nodejs")]
    lines = list(_interpreters(python))
    if node and not shutil.which("node"):
        lines.append(f"{names_of(node)} cannot run: no 'node' is on the server's PATH; install Node.js")
    lines += [line for function in node if (line := _unbuilt_typescript(function))]
    lines += [line for function in isolated if (line := _missing_bootstrap(function))]
    shared = [python_modules] if python_modules else []
    has_boto3 = bool(importlib.util.find_spec("boto3")) or _has(shared, "boto3")
    by_place: dict[tuple[object, ...], list[Function]] = {}
    for function in python:
        by_place.setdefault((function.code, function.runtime, *function.layers), []).append(function)
    for those in by_place.values():  # functions of one place have the same packages
        function = those[0]
        folders = [str(function.code), *python_layer_folders(function), *shared]
        lines += _missing_requirements(those, folders, {*preload, *(_BOTO3 if has_boto3 else ())})
        if not has_boto3 and not _has(folders, "boto3") and _imports_boto3(str(function.code)):
            lines.append(
                f"{names_of(those)}: no boto3 here; AWS's runtimes bring boto3. Install it for the server, in a layer "
                f"or in {function.code}, or set SERVERFULL_PYTHON_MODULES to a folder in which pip has installed it"
            )
    return lines


def _interpreters(functions: list[Function]) -> Iterator[str]:
    """Yield a line for each runtime of Python that has no interpreter, or whose interpreter lacks AWS's client."""
    by_runtime: dict[str, list[Function]] = {}
    for function in functions:
        by_runtime.setdefault(function.runtime or OWN_RUNTIME, []).append(function)
    for runtime, those in by_runtime.items():
        is_own = runtime == OWN_RUNTIME
        path = sys.executable if is_own else shutil.which(runtime)
        fault, client_fault = "", ""
        if path is None:
            fault = f"no {runtime} is on the server's PATH; install it, with awslambdaric"
        else:
            fault, client_fault = interpreter_faults(path, sys.path if is_own else ())
        if fault and not is_own:
            yield f"{names_of(those)} with runtime {runtime} would run under the server's {OWN_RUNTIME}: {fault}"
        elif client_fault:
            yield (
                f"{names_of(those)} would run under serverfull_wsgi's own runtime client: {path} cannot import AWS's, "
                f"awslambdaric ({client_fault}); to have AWS's, install it: {path} -m pip install awslambdaric"
            )


def interpreter_faults(python: str, search_path: Sequence[str] = ()) -> tuple[str, str]:
    """Return why an interpreter cannot run functions, with the cure, and why it cannot import AWS's client.

    Both are empty texts if all is well. ``search_path`` is added to the interpreter's own.
    """
    more = {"PYTHONPATH": os.pathsep.join(search_path)} if search_path else {}
    try:
        ended = subprocess.run(  # noqa: S603
            [python, "-c", _IMPORT_CLIENT],
            cwd="/",
            env={**INTERPRETER_VARIABLES, **more},  # as a zygote: PYENV_VERSION, for example, has no effect there
            timeout=CLIENT_TIMEOUT,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
        )
        error = ended.stderr.strip().partition("\n")[0] or f"exit status {ended.returncode}"
    except OSError as failure:
        ended, error = None, str(failure.strerror)
    except subprocess.TimeoutExpired:
        ended, error = None, f"no answer in {CLIENT_TIMEOUT:g} s"
    if ended is None or ended.returncode:  # as pyenv's shim of a version that is not active
        return (
            f"{python} does not run ({error}); begin the server's PATH with the folder of an interpreter that runs",
            "",
        )
    return "", ended.stdout.strip()


def names_of(functions: list[Function]) -> str:
    """Return the names of the first three functions, and the number of the others. Versions count once."""
    names = list(dict.fromkeys(function.name for function in functions))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _unbuilt_typescript(function: Function) -> str:
    module = os.path.join(str(function.code), str(function.handler).rpartition(".")[0])
    source = next((module + suffix for suffix in _TYPESCRIPT if os.path.isfile(module + suffix)), None)
    if source is None or any(os.path.isfile(module + suffix) for suffix in _JAVASCRIPT):
        return ""
    return f"{function.name}: {source} is TypeScript and is not built; run 'sam build', or compile it to JavaScript"


def _missing_bootstrap(function: Function) -> str:
    folders = [str(function.code), *function.layers]
    if not function.runtime.startswith("provided") or _has(folders, "bootstrap"):
        return ""
    return f"{function.name}: {function.code} has no program 'bootstrap'; run 'sam build', or build it there"


def _has(folders: Iterable[str], name: str) -> bool:
    return any(os.path.exists(os.path.join(folder, name)) for folder in folders)


def _missing_requirements(functions: list[Function], folders: list[str], provided: Collection[str]) -> list[str]:
    """Return a line if requirements.txt in the functions' code names distributions that none of the folders has."""
    code = str(functions[0].code)
    try:
        text = Path(code, "requirements.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    present = {name for folder in folders for name in _installed(folder)}
    present |= {_normal(name.partition(".")[0]) for name in (*provided, "awslambdaric")}
    missing = [
        name
        for name in _requirements(text)
        if not {_normal(name), _normal(_PACKAGES.get(_normal(name), name))} & present
    ]
    if not missing:
        return []
    return [
        f"{names_of(functions)}: requirements.txt names {', '.join(missing)}, but neither {code} nor a layer has "
        "them; run 'sam build', or 'pip install -r requirements.txt -t .' there"
    ]


def _requirements(text: str) -> Iterator[str]:
    """Yield the distributions of a requirements file, without options and requirements with conditions.

    >>> list(_requirements("requests>=2  # http\\n-r other.txt\\nPyYAML\\nx; python_version < '3'\\nhttps://a/b.whl"))
    ['requests', 'PyYAML']
    """
    for line in text.splitlines():
        if (match := _requirement.match(line)) and ";" not in line.partition("#")[0]:
            yield match[1]


def _installed(folder: str) -> set[str]:
    """Return the normal names of the distributions, packages and modules in a folder."""
    try:
        names = os.listdir(folder)
    except OSError:
        return set()
    return {_normal(re.sub(r"(-[^-]*)?(\.dist-info|\.egg-info)$|\.py$|\.[\w-]*\.?so$", "", name)) for name in names}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _imports_boto3(code: str) -> bool:
    return any(_boto3.search(content) for content in islice(_sources(code), READ_FILES))


def _sources(code: str) -> Iterator[bytes]:
    for folder, _, names in os.walk(code):
        for name in names:
            if name.endswith(".py"):
                try:
                    yield Path(folder, name).read_bytes()
                except OSError:
                    continue
