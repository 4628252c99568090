"""Answers: documents as AWS's operations show them.

AWS changes a function in the background. Its answers to changes show a state on the way, which the next request no
longer sees here, because a change is complete when it is answered::

    operation                         answer                        afterwards
    CreateFunction                    Pending                       Active, Successful
    UpdateFunctionCode, …             Active, InProgress            Active, Successful
    UpdateFunctionCode with Publish   the version, Pending          Active, Successful

The answer has a RevisionId of its own, as on AWS, where the end of the change makes a new one.
"""

from __future__ import annotations

from typing import Any

from serverfull_wsgi.registry.account import Account
from serverfull_wsgi.registry.documents import Alias, Configuration, Document
from serverfull_wsgi.timestamps import timestamp

_REASON, _REASON_CODE = "The function is being created.", "Creating"  # recorded, also of updates


def active(configuration: Configuration, arn: str) -> dict[str, Any]:
    """Return a configuration as GetFunctionConfiguration shows it."""
    return {**configuration, "FunctionArn": arn, "State": "Active", "LastUpdateStatus": "Successful"}


def pending(configuration: Configuration, arn: str, revision_id: str) -> dict[str, Any]:
    """Return the configuration of a function or version that is being created."""
    state = {"State": "Pending", "StateReason": _REASON, "StateReasonCode": _REASON_CODE}
    return {**configuration, **state, "FunctionArn": arn, "RevisionId": revision_id}


def in_progress(configuration: Configuration, arn: str, revision_id: str) -> dict[str, Any]:
    """Return the configuration of a function that is being updated."""
    status = {
        "State": "Active",
        "LastUpdateStatus": "InProgress",
        "LastUpdateStatusReason": _REASON,
        "LastUpdateStatusReasonCode": _REASON_CODE,
    }
    return {**configuration, **status, "FunctionArn": arn, "RevisionId": revision_id}


def alias(account: Account, document: Document, name: str) -> dict[str, Any]:
    """Return an alias as GetAlias shows it."""
    stored: Alias = document["aliases"][name]
    return {"AliasArn": account.arn(document["name"], name), **stored}


def last_modified(seconds: float) -> str:
    """Return a time in the form of LastModified.

    >>> last_modified(1764037614)
    '2025-11-25T02:26:54.000+0000'
    """
    return f"{timestamp(seconds)[:-1]}+0000"
