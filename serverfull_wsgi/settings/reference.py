"""The page of the documentation that lists all settings: ``python -m serverfull_wsgi.settings.reference``."""

from __future__ import annotations

import sys
from typing import Any

from serverfull_wsgi.settings.aliases import RENAMED, SYNONYMS, UNSUPPORTED
from serverfull_wsgi.settings.fields import PREFIX, Setting
from serverfull_wsgi.settings.settings import SETTINGS

SECTIONS = {  # the first field of each section, with its title
    "functions": "Functions",
    "registry": "Deployment",
    "mock": "Mock mode",
    "executor": "Isolated processes",
    "events": "Events",
    "front": "Functions behind HTTP",
    "credentials_file": "Security",
    "httpserver_address": "Server",
    "logger_output": "Logs",
    "stats_output": "Metrics",
}
INTRODUCTION = """\
<!-- Written by `python -m serverfull_wsgi.settings.reference > docs/settings.md`. Edit serverfull_wsgi/settings. -->

# Settings

Settings are environment variables. `Settings.from_mapping({...})` takes a mapping with the same names. Their
values are checked together when the program starts, and one message names every bad value. The entries of
`SERVERFULL_FUNCTIONS` and `SERVERFULL_ALIASES`, and the files that settings name, are read after that, so their
mistakes have messages of their own. An empty variable counts as not set. A name that is not a setting is logged as a
warning, with the most similar name.
"""


def page() -> str:
    """Return the page in Markdown."""
    return "\n".join([INTRODUCTION, *_sections(), *_other_names(), *_unsupported()])


def _sections() -> list[str]:
    lines = []
    for field, setting in SETTINGS.items():
        if title := SECTIONS.get(field):
            lines += ["", f"## {title}", "", *_head("Setting", "Default", "Meaning")]
        if setting.switch:
            name, default, text = setting.switch
            lines.append(_row(_variable(name), default, text))
        lines.append(_row(_variable(setting.name), _default(setting), setting.text + _also(setting.name)))
    return lines[1:]


def _other_names() -> list[str]:
    rows = [_row(_variable(old), " and ".join(map(_variable, new))) for old, new in RENAMED.items()]
    text = "These names are still read. A warning in the log names the new one."
    return ["", "## Old names", "", text, "", *_head("Old name", "New name"), *rows]


def _unsupported() -> list[str]:
    rows = [_row(_variable(name), _linked(reason)) for name, reason in UNSUPPORTED.items()]
    text = "These settings of the Go original have no effect, and a warning in the log gives the reason."
    return ["", "## Settings of the Go original", "", text, "", *_head("Setting", "Reason"), *rows, ""]


def _default(setting: Setting) -> str:
    """Return a default as the page shows it.

    >>> _default(SETTINGS["events_retry_delays"]), _default(SETTINGS["mock"]), _default(SETTINGS["aliases"])
    ('`60 120`', '`false`', 'none')
    """
    value: Any = setting.default
    if setting.shown:
        return setting.shown
    if value is None or value in ("", ()):
        return "none"
    if isinstance(value, tuple):
        return f"`{' '.join(f'{part:g}' for part in value)}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{str(value).lower() if value is False else value}`"


def _also(name: str) -> str:
    synonyms = [_variable(synonym) for synonym, meant in SYNONYMS.items() if meant == name]
    return f"; also read as {', '.join(synonyms)}" if synonyms else ""


def _linked(reason: str) -> str:
    return reason.replace("RUNTIME_", f"{PREFIX}RUNTIME_")


def _variable(name: str) -> str:
    return f"`{PREFIX}{name}`"


def _head(*titles: str) -> list[str]:
    return [_row(*titles), _row(*["---"] * len(titles))]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.write(page())
