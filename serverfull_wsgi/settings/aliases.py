"""Names of settings beside their own: synonyms, old names, and names of the Go original that have no effect here."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from serverfull_wsgi.settings.fields import PREFIX

PREFIX_SIMILARITY = 0.85  # SERVERFUL and SERVER_FUL have more, SERVERLESS has 0.7
PREFIX_LENGTHS = range(8, 14)  # other lengths cannot have this similarity

# Synonyms, each with the name it stands for. They are the Go original's and stay.
SYNONYMS = {
    "RUNTIME_LOGGING_LEVEL": "RUNTIME_LOGGER_LEVEL",  # its README has the one, its code the other
    "RUNTIME_STATS_DATADOG_ADDRESS": "RUNTIME_STATS_ADDRESS",
    "RUNTIME_STATS_DATADOG_TAGS": "RUNTIME_STATS_TAGS",
}

# Old names, each with its new ones. They are still read, with a notice.
RENAMED = {
    "EVENT_WORKERS": ("EVENTS_WORKERS",),
    "EVENT_QUEUE_SIZE": ("EVENTS_QUEUE_SIZE",),
    "EVENT_LEASE": ("EVENTS_LEASE",),
    "EVENT_RETRY_DELAYS": ("EVENTS_RETRY_DELAYS",),
    "EVENT_THROTTLE_DELAYS": ("EVENTS_THROTTLE_DELAYS",),
    "EVENTS_APPLICATION": ("EVENTS_OWNER", "EVENTS_QUEUE_NAME"),
    "DESTINATIONS_ENDPOINT": ("EVENTS_DESTINATIONS_ENDPOINT",),
}

# Settings of the Go original that are not supported, with the reason.
UNSUPPORTED = {
    "RUNTIME_STATS_DATADOG_PACKETSIZE": "the metrics of an invocation are one datagram",
    "RUNTIME_STATS_DATADOG_FLUSHINTERVAL": "metrics are sent when the invocation ends, without a buffer",
    "RUNTIME_CONNSTATE_REPORTINTERVAL": "gunicorn counts connections, with its option --statsd-host",
    "RUNTIME_CONNSTATE_NEWCOUNTER": "see RUNTIME_CONNSTATE_REPORTINTERVAL",
    "RUNTIME_CONNSTATE_NEWGAUGE": "see RUNTIME_CONNSTATE_REPORTINTERVAL",
    "RUNTIME_CONNSTATE_ACTIVEGAUGE": "see RUNTIME_CONNSTATE_REPORTINTERVAL",
    "RUNTIME_CONNSTATE_IDLEGAUGE": "see RUNTIME_CONNSTATE_REPORTINTERVAL",
    "RUNTIME_CONNSTATE_CLOSEDCOUNTER": "see RUNTIME_CONNSTATE_REPORTINTERVAL",
    "RUNTIME_CONNSTATE_HIJACKEDCOUNTER": "see RUNTIME_CONNSTATE_REPORTINTERVAL",
    "RUNTIME_EXPVAR_REPORTINTERVAL": "it reports Go's own memory statistics",
}


def other_names(name: str) -> list[str]:
    """Return the synonyms and old names of a setting.

    >>> other_names("EVENTS_OWNER")
    ['EVENTS_APPLICATION']
    """
    synonyms = [synonym for synonym, meant in SYNONYMS.items() if meant == name]
    return synonyms + [old for old, new in RENAMED.items() if name in new]


def notices(given: Mapping[str, str], names: Collection[str]) -> list[str]:
    """Return a log line for each given variable that has an old name, a misspelt name, or no effect.

    Args:
        given: the variables that are set, with prefix.
        names: the names of all settings, without prefix.
    """
    lines = []
    for key in sorted(name for name in given if name.startswith(PREFIX)):
        name = key.removeprefix(PREFIX)
        if name in RENAMED:
            lines.append(_renamed(name, given))
        elif reason := UNSUPPORTED.get(name):
            lines.append(f"{key} has no effect: {reason}")
        elif name not in names and name not in SYNONYMS:
            import difflib  # most servers have no misspelt setting

            close = difflib.get_close_matches(name, [*names, *SYNONYMS], n=1)
            hint = f"; did you mean {PREFIX}{close[0]}?" if close else ""
            lines.append(f"{key} is not a setting{hint}")
    lines += [line for key in sorted(given) if (line := _misspelt_prefix(key, names))]
    if f"{PREFIX}REPLAY_GUARD" in given and f"{PREFIX}CREDENTIALS_FILE" not in given:
        lines.append(f"{PREFIX}REPLAY_GUARD has no effect without {PREFIX}CREDENTIALS_FILE")
    return lines


def _misspelt_prefix(key: str, names: Collection[str]) -> str:
    """Return a line if ``key`` is the name of a setting after a text like the prefix, otherwise an empty text.

    >>> _misspelt_prefix("SERVERFUL_FUNCTIONS", ["FUNCTIONS"])
    'SERVERFUL_FUNCTIONS is not a setting; did you mean SERVERFULL_FUNCTIONS?'
    >>> _misspelt_prefix("AWS_REGION", ["REGION"])
    ''
    """
    if key.startswith(PREFIX):
        return ""
    upper = key.upper()
    name = max(filter(upper.endswith, names), key=len, default="")
    prefix = upper.removesuffix(name).replace("_", "")
    if not name or len(prefix) not in PREFIX_LENGTHS:
        return ""
    import difflib

    if difflib.SequenceMatcher(None, prefix, PREFIX.strip("_")).ratio() < PREFIX_SIMILARITY:
        return ""
    return f"{key} is not a setting; did you mean {PREFIX}{name}?"


def _renamed(old: str, given: Mapping[str, str]) -> str:
    new = [PREFIX + name for name in RENAMED[old]]
    if all(name in given for name in new):
        return f"{PREFIX}{old} is ignored, since {' and '.join(new)} {'is' if len(new) == 1 else 'are'} set"
    return f"{PREFIX}{old} is the old name of {' and '.join(new)}; it is still read, but use the new name"
