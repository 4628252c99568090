"""CloudFormation's intrinsic functions, as far as parameters and pseudo-parameters decide them.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from serverfull_wsgi.fetchers.sam.parameters import SETTING, Unresolvable, as_text, parameter_value
from serverfull_wsgi.fetchers.sam.resource_types import KINDS, Kind
from serverfull_wsgi.names import partition_of

NO_VALUE: Any = type("NoValue", (), {"__repr__": lambda self: "NO_VALUE"})()  # AWS::NoValue: as if not written

STACK = "local"  # AWS::StackName unless given, as for `sam local`

_variable = re.compile(r"\$\{(!?)([^{}]*)\}")


class Resolver:
    """Resolves the values of one template: every method raises `Unresolvable` for what cannot be known here.

    ``given`` are the values of parameters; it may also give the ``Ref`` of a resource (``Table=users``), an attribute
    (``Table.StreamArn=…``) or a pseudo-parameter (``AWS::StackName=prod``). ``assumed`` then has, by logical id, the
    resources whose name had to be made up, and ``used`` the names among ``given`` that were asked for.
    """

    def __init__(
        self,
        *,
        parameters: Mapping[str, Any] | None = None,
        mappings: Mapping[str, Any] | None = None,
        conditions: Mapping[str, Any] | None = None,
        resources: Mapping[str, Any] | None = None,
        given: Mapping[str, str] | None = None,
        region: str = "us-east-1",
        account_id: str = "123456789012",
    ) -> None:
        self._parameters = parameters or {}
        self._mappings = mappings or {}
        self._conditions = conditions or {}
        self._resources = resources or {}
        self._given = given or {}
        self._open: list[str] = []  # what is being resolved, to notice what leads back to itself
        self.used: set[str] = set()
        self.assumed: dict[str, str] = {}
        stack = self._given.get("AWS::StackName", STACK)
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
            "Condition": self.holds,
            "Fn::And": lambda terms: all(self._true(term) for term in _list(terms, "Fn::And", range(2, 11))),
            "Fn::Equals": lambda sides: _same(*[self.resolve(side) for side in _list(sides, "Fn::Equals", (2,))]),
            "Fn::Not": lambda terms: not self._true(*_list(terms, "Fn::Not", (1,))),
            "Fn::Or": lambda terms: any(self._true(term) for term in _list(terms, "Fn::Or", range(2, 11))),
        }

    def resolve(self, value: Any) -> Any:
        """``value`` without intrinsic functions; `NO_VALUE` where it stands for nothing."""
        if isinstance(value, str) and "{{resolve:" in value:
            raise Unresolvable(f"{value!r} is read by CloudFormation from a store; write the value, or a parameter")
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, argument), *_ = value.items()
            if name in self._functions:
                return self._functions[name](argument)
            if str(name).startswith("Fn::"):
                raise Unresolvable(f"{name} is not understood; write the value, or a parameter with a default")
        resolved = {name: self.resolve(member) for name, member in value.items()}
        return {name: member for name, member in resolved.items() if member is not NO_VALUE}

    def holds(self, name: Any) -> bool:
        """Whether the condition of this name is true."""
        if (name := as_text(name)) not in self._conditions:
            raise Unresolvable(f"there is no condition {name!r}; add it to Conditions")
        return bool(self._within(f"condition {name!r}", lambda: self._true(self._conditions[name])))

    def is_made(self, id: str) -> bool:
        """Whether a resource has no condition, or one that holds."""
        resource = self._resources[id]
        return "Condition" not in resource or self.holds(resource["Condition"])

    def name_of(self, id: str) -> str:
        """The name of a resource that is in `KINDS`: as given or written, else its logical id."""
        kind, properties = self._resources[id]["Type"], self._resources[id].get("Properties")
        property = KINDS[kind].name_property
        if KINDS[kind].reference == "{name}" and id in self._given:
            self.used.add(id)
            return self._given[id]
        written = properties.get(property, NO_VALUE) if isinstance(properties, dict) else NO_VALUE
        name = self._within(f"the name of {id!r}", lambda: self.resolve(written))
        if name is NO_VALUE and not kind.endswith(("::Function", "::LayerVersion")):
            self.assumed[id] = property
        return id if name is NO_VALUE else as_text(name)

    def arn_of(self, id: str) -> str:
        """The ARN of a resource that is in `KINDS`."""
        return f"arn:{self._pseudo['AWS::Partition']}:{self._filled(KINDS[self._resources[id]['Type']].arn, id)}"

    def _true(self, term: Any) -> bool:
        if isinstance(term, dict) and len(term) == 1:
            (name, argument), *_ = term.items()
            if name in self._logic:
                return self._logic[name](argument)
        raise Unresolvable("a condition must be Fn::Equals, Fn::And, Fn::Or, Fn::Not or Condition; write one of them")

    def _ref(self, name: Any) -> Any:
        name = as_text(name)
        if name in self._given:
            self.used.add(name)
        if name in self._parameters:
            return parameter_value(name, self._parameters[name], self._given)
        if name in self._given:
            return self._given[name]
        if name in self._pseudo:
            return self._pseudo[name]
        kind = self._kind_of(name, f"Ref {name}")
        return self._filled(kind.reference, name)

    def _attribute(self, path: Any) -> Any:
        id, _, attribute = (".".join(map(as_text, path)) if isinstance(path, list) else as_text(path)).partition(".")
        if f"{id}.{attribute}" in self._given:
            self.used.add(f"{id}.{attribute}")
            return self._given[f"{id}.{attribute}"]
        kind = self._kind_of(id, f"{id}.{attribute}")
        if attribute != kind.arn_attribute:
            raise _unknown(f"{id}.{attribute}")
        return self.arn_of(id)

    def _kind_of(self, id: str, what: str) -> Kind:
        resource = self._resources.get(id)
        if not isinstance(resource, dict):
            raise Unresolvable(
                f"there is no parameter or resource {id!r}; add it, or set {SETTING}='{what.split()[-1]}=…'"
            )
        if not self.is_made(id):
            raise Unresolvable(f"{id!r} is not made, its condition {resource['Condition']!r} is false; use Fn::If")
        if str(resource.get("Type")) not in KINDS:
            raise _unknown(what)
        return KINDS[resource["Type"]]

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
        return self.resolve(then if self.holds(condition) else otherwise)

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
        found: Any = self._mappings
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        if found is None:
            raise Unresolvable(f"there is no {' → '.join(path)} in Mappings; add it")
        return self.resolve(found)

    def _within(self, what: str, resolve: Callable[[], Any]) -> Any:
        if what in self._open:
            raise Unresolvable(f"{what} leads back to itself; break the circle")
        self._open.append(what)
        try:
            return resolve()
        finally:
            self._open.pop()


def _unknown(what: str) -> Unresolvable:
    return Unresolvable(f"{what} is known to AWS only; set {SETTING}='{what.removeprefix('Ref ')}=…'")


def _same(one: Any, other: Any) -> bool:
    return as_text(one) == as_text(other)


def _list(value: Any, name: str, lengths: Any = None) -> list[Any]:
    if not isinstance(value, list) or (lengths and len(value) not in lengths):
        raise Unresolvable(f"{name} must be a list{f' of {lengths[0]}' if lengths else ''}; correct it")
    return value
