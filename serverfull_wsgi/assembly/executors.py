"""The executor of settings."""

from __future__ import annotations

import os.path
from pathlib import Path

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.executors.inprocess import InProcessExecutor
from serverfull_wsgi.executors.isolated.executor import ProcessExecutor
from serverfull_wsgi.executors.routing import ChoosingExecutor
from serverfull_wsgi.fetchers.abilities import list_functions, logical_ids, reporting
from serverfull_wsgi.protocols import Executor, Fetcher, is_listable
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.storage.private_files import readable_by_others
from serverfull_wsgi.telemetry.scope import LOGGER
from serverfull_wsgi.telemetry.stat import Stat


def create_executor(settings: Settings, stats: Stat | None = None, fetcher: Fetcher | None = None) -> Executor:
    """Return the executor: functions run in this process or in isolated processes.

    ``fetcher`` has the functions that the file of ``--env-vars`` names.
    """
    isolate = settings.executor == "process" and not settings.mock
    isolated = ProcessExecutor(
        max_concurrency=settings.max_concurrency,
        idle=settings.environment_idle,
        sandbox=settings.sandbox,
        preload=settings.zygote_preload,
        drain=settings.drain,
        eager=isolate or _requires_sandbox(settings, fetcher),
        environment=_file_variables(settings),
        overrides=_overrides(settings, fetcher) if fetcher else {},
        node_modules=node_modules_path(settings),
        python_modules=python_modules_path(settings),
        hidden=_hidden_paths(settings),
        mounts=settings.mounts,
        network=settings.network,
        python_transport=settings.python_transport,
        layer_cache=str(Path(settings.data_dir, "layers").absolute()) if settings.creates_files else "",
    )
    if not settings.mock and fetcher is not None and is_listable(fetcher):
        isolated.check_mounts(fetcher.functions())
    return ChoosingExecutor(InProcessExecutor(logger=LOGGER, stats=stats), isolated, isolate=isolate)


def _hidden_paths(settings: Settings) -> list[str]:
    """Return the files and directories of the server that no function sees: its data, keys and variables."""
    files = [value for name, value in vars(settings).items() if name.endswith("_file")]
    return [settings.data_dir, *files, *([] if "://" in settings.registry else [settings.registry])]


def _requires_sandbox(settings: Settings, fetcher: Fetcher | None) -> bool:
    """Return whether a machine without the sandbox must refuse the start: functions would fail at each call.

    Under ``auto`` these are the functions with shared folders, which need a root directory of their own.
    """
    if settings.sandbox == "process" or settings.mock or fetcher is None or not is_listable(fetcher):
        return False
    isolated = [function for function in fetcher.functions() if function.code is not None]
    return any(function.mounts for function in isolated) if settings.sandbox == "auto" else bool(isolated)


def node_modules_path(settings: Settings) -> str:
    """Return the folder of packages of SERVERFULL_NODE_MODULES, or an empty text if the setting is empty."""
    if not settings.node_modules:
        return ""
    path = Path(settings.node_modules, "node_modules").absolute()
    if not os.path.isdir(path):  # unlike `Path.is_dir`, false for a path that cannot be followed
        raise ConfigurationError(
            f"SERVERFULL_NODE_MODULES={settings.node_modules}: there is no folder {path}; "
            f"make it with 'npm install --prefix {settings.node_modules} PACKAGE'"
        )
    return str(path)


def python_modules_path(settings: Settings) -> str:
    """Return the folder of SERVERFULL_PYTHON_MODULES, or an empty text if the setting is empty."""
    if not settings.python_modules:
        return ""
    path = Path(settings.python_modules).absolute()
    if not os.path.isdir(path):  # unlike `Path.is_dir`, false for a path that cannot be followed
        raise ConfigurationError(
            f"SERVERFULL_PYTHON_MODULES={settings.python_modules}: there is no folder {path}; "
            f"make it with 'pip install --target {settings.python_modules} PACKAGE'"
        )
    return str(path)


def _file_variables(settings: Settings) -> dict[str, str]:
    """Return the variables of SERVERFULL_ENVIRONMENT_FILE. Log a warning if others can read the file."""
    if not settings.environment_file:
        return {}
    from serverfull_wsgi.settings.variable_files import read_dotenv  # imports dotenv

    path = Path(settings.environment_file).absolute()
    origin = f"SERVERFULL_ENVIRONMENT_FILE={settings.environment_file}"
    variables = read_dotenv(str(path), origin)
    if readable_by_others(path.parent, [path.name]):
        LOGGER.warning("%s: other users of this machine can read the file; run chmod o-r %s", origin, path)
    return variables


def _overrides(settings: Settings, fetcher: Fetcher) -> dict[str, dict[str, str]]:
    """Return the variables of ``--env-vars`` by function name. Log a warning for a name that no function has."""
    if not settings.env_vars:
        return {}
    from serverfull_wsgi.settings.variable_files import FOR_ALL, overrides_of, read_sam_variables

    origin = f"--env-vars {settings.env_vars}"
    sections, ids = read_sam_variables(settings.env_vars, origin), logical_ids(fetcher)
    names = {name: {name, ids.get(name, name)} for name in {it.name for it in list_functions(fetcher)}}
    refused = {*reporting(fetcher).refused(), *(ids.get(name, name) for name in reporting(fetcher).refused())}
    if unknown := sections.keys() - {FOR_ALL} - refused - set().union(*names.values()):
        LOGGER.warning("%s: there is no function %s; its variables have no effect", origin, ", ".join(sorted(unknown)))
    for function in list_functions(fetcher):
        if function.code is None and settings.executor != "process" and names[function.name] & sections.keys():
            LOGGER.warning("%s: function %s runs in the server's process, without variables", origin, function.name)
    return {name: overrides_of(sections, *ids_and_name) for name, ids_and_name in names.items()}
