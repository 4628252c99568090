"""The table of all operations of AWS's model: implemented here, served elsewhere, or refused.

`api.operations` calls the endpoints, and the documentation's table is made from this one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from serverfull_wsgi.api.management import absent, aliases, concurrency, functions, tags, versions
from serverfull_wsgi.api.management.calls import Call, Members
from serverfull_wsgi.api.management.service import Management
from serverfull_wsgi.errors import InvalidParameterValueException

Endpoint = Callable[[Management, Call], Members]

ENDPOINTS: Mapping[str, Endpoint] = MappingProxyType(
    {
        "CreateFunction": functions.create,
        "GetFunction": functions.get,
        "GetFunctionConfiguration": functions.get_configuration,
        "ListFunctions": functions.list_all,
        "UpdateFunctionCode": functions.update_code,
        "UpdateFunctionConfiguration": functions.update_configuration,
        "DeleteFunction": functions.delete,
        "PublishVersion": versions.publish,
        "ListVersionsByFunction": versions.list_all,
        "CreateAlias": aliases.create,
        "GetAlias": aliases.get,
        "UpdateAlias": aliases.update,
        "DeleteAlias": aliases.delete,
        "ListAliases": aliases.list_all,
        "TagResource": tags.add,
        "UntagResource": tags.remove,
        "ListTags": tags.list_all,
        "PutFunctionConcurrency": concurrency.put,
        "GetFunctionConcurrency": concurrency.get,
        "DeleteFunctionConcurrency": concurrency.delete,
        "GetAccountSettings": concurrency.account_settings,
        "GetPolicy": absent.policy,
        "ListFunctionUrlConfigs": absent.url_configs,
        "GetFunctionCodeSigningConfig": absent.code_signing_config,
        "ListEventSourceMappings": absent.event_source_mappings,
        "ListCapacityProviders": absent.capacity_providers,
        "ListDurableExecutionsByFunction": absent.durable_executions,
    }
)

# Operations whose true answer is always "none" here
ABSENT = frozenset(name for name, endpoint in ENDPOINTS.items() if endpoint.__module__ == absent.__name__)

SERVED_ELSEWHERE = frozenset({"Invoke", "InvokeAsync"})  # without a router: `api.invoke`

# The cure in the message of a refusal, by a part of the operation's name; the first that fits
_CURES = (
    ("InvokeWithResponseStream", "Call Invoke, whose result comes as a whole."),
    ("Layer", "SERVERFULL_LAYERS gives the folder of a layer's ARN, or put its files into the function's package."),
    ("EventSourceMapping", "Nothing polls queues and streams: send their records with Invoke."),
    ("EventInvokeConfig", "Set retries and destinations in a template or in Function(event_config=...)."),
    ("FunctionUrl", "Call the function with Invoke, or declare the URL in a template (FunctionUrlConfig)."),
    ("ProvisionedConcurrency", "Set it in a template or in Function(provisioned=...)."),
    ("CodeSigning", "Signatures of code are not verified: restrict the keys with the action 'deploy'."),
    ("DurableExecution", "Functions run without durable executions: keep state in a store of your own."),
    ("CapacityProvider", "Functions run on this server: add machines behind a load balancer."),
    ("ScalingConfig", "Functions scale with the calls: PutFunctionConcurrency limits a function."),
    ("ResourcePolicy", "Permissions are serverfull_actions and serverfull_functions of a key."),
    ("Permission", "Permissions are serverfull_actions and serverfull_functions of a key."),
    ("RecursionConfig", "Loops of events are detected for all functions."),
    ("RuntimeManagementConfig", "The server's operator installs and updates its runtimes."),
)


def refuse(management: Management, call: Call) -> Members:
    """Raise the error of an operation that this server does not support. It names the alternative.

    The code is never that of a missing resource, which some clients take for a success.
    """
    raise refusal(call.operation.name)


def refusal(name: str) -> InvalidParameterValueException:
    """Return the error of an operation that this server does not support.

    >>> print(refusal("InvokeWithResponseStream"))
    InvokeWithResponseStream is not supported by this server. Call Invoke, whose result comes as a whole.
    """
    return InvalidParameterValueException(f"{name} is not supported by this server. {cure(name)}")


def cure(name: str) -> str:
    """Return the alternative to an operation that this server does not support."""
    return next(text for part, text in _CURES if part in name)
