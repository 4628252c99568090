"""CloudFormation's intrinsic functions, with values from parameters, pseudo-parameters and the template itself.

`RESOURCE_TYPES` are the types with names and ARNs that are known before AWS creates a resource.
Reference: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from serverfull_wsgi.fetchers.sam.parameters import SETTING, Unresolvable, as_text, parameter_value
from serverfull_wsgi.names import DEFAULT_ACCOUNT_ID, DEFAULT_REGION, partition_of

NO_VALUE: Any = type("NoValue", (), {"__repr__": lambda self: "NO_VALUE"})()  # AWS::NoValue: removes the property

_TERMS = range(2, 11)  # the numbers of conditions that CloudFormation allows in Fn::And and Fn::Or
_STACK = "local"  # the default of AWS::StackName, as of `sam local`
_variable = re.compile(r"\$\{(!?)([^{}]*)\}")


class ResourceType(NamedTuple):
    """The forms of a resource's name, Ref and ARN.

    Forms have the fields ``{name}``, ``{region}``, ``{account}``, ``{suffix}`` (amazonaws.com) and ``{arn}``.
    Source: "Return values" of each type in
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/introduction.html
    """

    name_property: str
    reference: str  # the form of its Ref
    arn_attribute: str  # the attribute of Fn::GetAtt that is the ARN
    arn: str  # the form of its ARN after ``arn:aws:``


_FUNCTION = ResourceType("FunctionName", "{name}", "Arn", "lambda:{region}:{account}:function:{name}")
_LAYER = ResourceType("LayerName", "{arn}", "LayerVersionArn", "lambda:{region}:{account}:layer:{name}:1")
_TABLE = ResourceType("TableName", "{name}", "Arn", "dynamodb:{region}:{account}:table/{name}")
_QUEUE = "https://sqs.{region}.{suffix}/{account}/{name}"

RESOURCE_TYPES = {
    "AWS::Serverless::Function": _FUNCTION,
    "AWS::Lambda::Function": _FUNCTION,
    "AWS::Serverless::LayerVersion": _LAYER,
    "AWS::Lambda::LayerVersion": _LAYER,
    "AWS::DynamoDB::Table": _TABLE,
    "AWS::Serverless::SimpleTable": _TABLE,
    "AWS::Events::EventBus": ResourceType("Name", "{name}", "Arn", "events:{region}:{account}:event-bus/{name}"),
    "AWS::IAM::Role": ResourceType("RoleName", "{name}", "Arn", "iam::{account}:role/{name}"),
    "AWS::Kinesis::Stream": ResourceType("Name", "{name}", "Arn", "kinesis:{region}:{account}:stream/{name}"),
    "AWS::S3::Bucket": ResourceType("BucketName", "{name}", "Arn", "s3:::{name}"),
    "AWS::SNS::Topic": ResourceType("TopicName", "{arn}", "TopicArn", "sns:{region}:{account}:{name}"),
    "AWS::SQS::Queue": ResourceType("QueueName", _QUEUE, "Arn", "sqs:{region}:{account}:{name}"),
}


class Resolver:
    """A resolver of one template's values. Every method raises `Unresolvable` for a value that only AWS has.

    Args:
        parameters, mappings, conditions, resources: the template's sections.
        values: values by parameter; also for the ``Ref`` of a resource (``"Table"``), an attribute
            (``"Table.StreamArn"``) and a pseudo-parameter (``"AWS::StackName"``).
        region: the value of AWS::Region.
        account_id: the value of AWS::AccountId.

    Attributes:
        used: the names among ``values`` that were needed.
        generated_names: by logical id, the name property of each resource that has no name in the template.
    """

    def __init__(
        self,
        *,
        parameters: Mapping[str, Any] | None = None,
        mappings: Mapping[str, Any] | None = None,
        conditions: Mapping[str, Any] | None = None,
        resources: Mapping[str, Any] | None = None,
        values: Mapping[str, str] | None = None,
        region: str = DEFAULT_REGION,
        account_id: str = DEFAULT_ACCOUNT_ID,
    ) -> None:
        self._parameters = parameters or {}
        self._mappings = mappings or {}
        self._conditions = conditions or {}
        self._resources = resources or {}
        self._values = values or {}
        self._resolving: list[str] = []  # names being resolved, to detect circular references
        self.used: set[str] = set()
        self.generated_names: dict[str, str] = {}
        stack = self._values.get("AWS::StackName", _STACK)
        self._pseudo: dict[str, Any] = {
            "AWS::AccountId": account_id,
            "AWS::NoValue": NO_VALUE,
            "AWS::NotificationARNs": [],
            "AWS::Partition": partition_of(region),
            "AWS::Region": region,
            "AWS::StackId": f"arn:{partition_of(region)}:cloudformation:{region}:{account_id}:stack/{stack}/{stack}",
            "AWS::StackName": stack,
            "AWS::URLSuffix": "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com",
        }
        self._functions: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Fn::FindInMap": self._find_in_map,
            "Fn::GetAtt": self._attribute,
            "Fn::If": self._if,
            "Fn::Join": self._join,
            "Fn::Sub": self._sub,
        }
        self._logic: dict[str, Callable[[Any], bool]] = {
            "Condition": self.is_true,
            "Fn::And": lambda terms: all(self._is_term_true(term) for term in _list(terms, "Fn::And", _TERMS)),
            "Fn::Equals": lambda sides: _same(*[self.resolve(side) for side in _list(sides, "Fn::Equals", (2,))]),
            "Fn::Not": lambda terms: not self._is_term_true(*_list(terms, "Fn::Not", (1,))),
            "Fn::Or": lambda terms: any(self._is_term_true(term) for term in _list(terms, "Fn::Or", _TERMS)),
        }

    def resolve(self, value: Any) -> Any:
        """Return ``value`` without intrinsic functions; `NO_VALUE` for AWS::NoValue."""
        if isinstance(value, str) and "{{resolve:" in value:
            raise Unresolvable(
                f"{value!r} is read from a store by CloudFormation only; write the value, or a parameter"
            )
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, argument), *_ = value.items()
            if name in self._functions:
                return self._functions[name](argument)
            if str(name).startswith("Fn::"):
                raise Unresolvable(f"{name} is not supported; write the value, or a parameter with a default")
        resolved = {name: self.resolve(member) for name, member in value.items()}
        return {name: member for name, member in resolved.items() if member is not NO_VALUE}

    def is_true(self, name: Any) -> bool:
        """Return True if the condition of this name is true."""
        if (name := as_text(name)) not in self._conditions:
            raise Unresolvable(f"condition {name!r} does not exist; add it to Conditions")
        return bool(self._within(f"condition {name!r}", lambda: self._is_term_true(self._conditions[name])))

    def is_created(self, id: str) -> bool:
        """Return True if a resource has no condition, or its condition is true."""
        resource = self._resources[id]
        return "Condition" not in resource or self.is_true(resource["Condition"])

    def name_of(self, id: str) -> str:
        """Return the name of a resource of `RESOURCE_TYPES`: from the values, from the template, or its logical id."""
        type, properties = self._resources[id]["Type"], self._resources[id].get("Properties")
        property = RESOURCE_TYPES[type].name_property
        if RESOURCE_TYPES[type].reference == "{name}" and id in self._values:
            self.used.add(id)
            return self._values[id]
        value = properties.get(property, NO_VALUE) if isinstance(properties, dict) else NO_VALUE
        name = self._within(f"the name of {id!r}", lambda: self.resolve(value))
        if name is NO_VALUE and not type.endswith(("::Function", "::LayerVersion")):
            self.generated_names[id] = property
        return id if name is NO_VALUE else as_text(name)

    def arn_of(self, id: str) -> str:
        """Return the ARN of a resource of `RESOURCE_TYPES`."""
        form = RESOURCE_TYPES[self._resources[id]["Type"]].arn
        return f"arn:{self._pseudo['AWS::Partition']}:{self._filled(form, id)}"

    def _is_term_true(self, term: Any) -> bool:
        if isinstance(term, dict) and len(term) == 1:
            (name, argument), *_ = term.items()
            if name in self._logic:
                return self._logic[name](argument)
        raise Unresolvable("a condition must be Fn::Equals, Fn::And, Fn::Or, Fn::Not or Condition; use one of them")

    def _ref(self, name: Any) -> Any:
        name = as_text(name)
        if name in self._values:
            self.used.add(name)
        if name in self._parameters:
            return parameter_value(name, self._parameters[name], self._values)
        if name in self._values:
            return self._values[name]
        if name in self._pseudo:
            return self._pseudo[name]
        return self._filled(self._type_of(name, f"Ref {name}").reference, name)

    def _attribute(self, path: Any) -> Any:
        id, _, attribute = (".".join(map(as_text, path)) if isinstance(path, list) else as_text(path)).partition(".")
        if f"{id}.{attribute}" in self._values:
            self.used.add(f"{id}.{attribute}")
            return self._values[f"{id}.{attribute}"]
        if attribute != self._type_of(id, f"{id}.{attribute}").arn_attribute:
            raise _unknown(f"{id}.{attribute}")
        return self.arn_of(id)

    def _type_of(self, id: str, reference: str) -> ResourceType:
        """Return a resource's type. ``reference`` is named in messages: ``"Ref Table"`` or ``"Table.Arn"``."""
        resource = self._resources.get(id)
        if not isinstance(resource, dict):
            raise Unresolvable(
                f"there is no parameter or resource {id!r}; add it, or set {SETTING}='{reference.split()[-1]}=…'"
            )
        if not self.is_created(id):
            raise Unresolvable(f"{id!r} is not created: its condition {resource['Condition']!r} is false; use Fn::If")
        if str(resource.get("Type")) not in RESOURCE_TYPES:
            raise _unknown(reference)
        return RESOURCE_TYPES[resource["Type"]]

    def _filled(self, form: str, id: str) -> str:
        return form.format(
            name=self.name_of(id),
            arn=self.arn_of(id) if "{arn}" in form else "",
            region=self._pseudo["AWS::Region"],
            account=self._pseudo["AWS::AccountId"],
            suffix=self._pseudo["AWS::URLSuffix"],
        )

    def _if(self, argument: Any) -> Any:
        condition, then, otherwise = _list(argument, "Fn::If", (3,))
        return self.resolve(then if self.is_true(condition) else otherwise)

    def _join(self, argument: Any) -> str:
        delimiter, values = _list(argument, "Fn::Join", (2,))
        return as_text(delimiter).join(map(as_text, _list(self.resolve(values), "the values of Fn::Join")))

    def _sub(self, argument: Any) -> str:
        text, own = _list(argument, "Fn::Sub", (2,)) if isinstance(argument, list) else (argument, {})
        if not isinstance(own, dict):
            raise Unresolvable("the second member of Fn::Sub must be a mapping; correct it")

        def value(match: re.Match[str]) -> str:
            literal, name = match[1], match[2].strip()
            if literal:
                return f"${{{match[2]}}}"
            if name in own:
                return as_text(self.resolve(own[name]))
            return as_text(self._attribute(name) if "." in name else self._ref(name))

        return _variable.sub(value, as_text(self.resolve(text)))

    def _find_in_map(self, argument: Any) -> Any:
        path = [as_text(self.resolve(key)) for key in _list(argument, "Fn::FindInMap", (3,))]
        value: Any = self._mappings
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            raise Unresolvable(f"there is no {' → '.join(path)} in Mappings; add it")
        return self.resolve(value)

    def _within(self, name: str, resolve: Callable[[], Any]) -> Any:
        """Call ``resolve``. Raise `Unresolvable` if it is called again for the same name meanwhile."""
        if name in self._resolving:
            raise Unresolvable(f"{name} refers to itself; remove the circular reference")
        self._resolving.append(name)
        try:
            return resolve()
        finally:
            self._resolving.pop()


def _unknown(reference: str) -> Unresolvable:
    return Unresolvable(f"{reference} has a value at AWS only; set {SETTING}='{reference.removeprefix('Ref ')}=…'")


def _same(one: Any, other: Any) -> bool:
    return as_text(one) == as_text(other)


def _list(value: Any, name: str, lengths: Sequence[int] = ()) -> list[Any]:
    if not isinstance(value, list) or (lengths and len(value) not in lengths):
        count = " to ".join(str(length) for length in dict.fromkeys((lengths[0], lengths[-1]))) if lengths else ""
        raise Unresolvable(f"{name} must be a list{count and f' of {count}'}; correct it")
    return value
