"""CloudFormation's intrinsic functions, with values from parameters, pseudo-parameters and the template itself.

Reference: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from serverfull_wsgi.fetchers.sam.generated_names import GeneratedName, GeneratedNames, Kind
from serverfull_wsgi.fetchers.sam.parameters import SETTING, Parameter, Unresolvable, as_text
from serverfull_wsgi.fetchers.sam.resource_types import RESOURCE_TYPES, ResourceType
from serverfull_wsgi.fetchers.sam.stand_ins import ValueAtAws, may_name_secret
from serverfull_wsgi.names import DEFAULT_ACCOUNT_ID, DEFAULT_REGION, partition_of

NO_VALUE: Any = type("NoValue", (), {"__repr__": lambda self: "NO_VALUE"})()  # AWS::NoValue: removes the property

VERSION_TYPE, ALIAS_TYPE = "AWS::Lambda::Version", "AWS::Lambda::Alias"

_TERMS = range(2, 11)  # the numbers of conditions that CloudFormation allows in Fn::And and Fn::Or
_STACK = "local"  # the default of AWS::StackName, as of `sam local`
T = TypeVar("T")
_ROLE = RESOURCE_TYPES["AWS::IAM::Role"].arn
_FUNCTION = RESOURCE_TYPES["AWS::Lambda::Function"].arn
_variable = re.compile(r"\$\{(!?)([^{}]*)\}")


class Resolver:
    """A resolver of one template's values. Every method raises `Unresolvable` for a value that cannot be determined.

    `resolve` raises `ValueAtAws` for a value that only AWS has, and `resolve_with_stand_ins` returns a stand-in. A
    condition never gets a stand-in, since conditions decide whether a resource exists.

    Args:
        parameters, mappings, conditions, resources: the template's sections.
        values: values by parameter; also for the ``Ref`` of a resource (``"Table"``), an attribute
            (``"Table.StreamArn"``), a pseudo-parameter (``"AWS::StackName"``), an imported value
            (``"ImportValue.NAME"``) and the availability zones (``"GetAZs"``).
        strict: if True, there are no stand-ins, and a name with an unknown part is not replaced by the logical id.
        region: the value of AWS::Region.
        account_id: the value of AWS::AccountId.

    Attributes:
        used: the names among ``values`` that were needed.
        generated_names: by logical id, the name property of each resource that has no name in the template.
        generated_roles: by logical id of a function, the name of the role that SAM would generate.
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
        strict: bool = True,
    ) -> None:
        self._parameters = parameters or {}
        self._mappings = mappings or {}
        self._conditions = conditions or {}
        self._resources = resources or {}
        self._values = values or {}
        self.is_strict = strict
        self._missing: list[ValueAtAws] | None = None  # the stand-ins used so far; None if they are not allowed
        self._resolving: list[str] = []  # names being resolved, to detect circular references
        self.used: set[str] = set()
        self.generated_names: dict[str, str] = {}
        self.generated_roles: dict[str, str] = {}
        self._generated = GeneratedNames(self._resources)
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
            "Fn::Base64": lambda text: self._as_a_whole(lambda: self._base64(text)),
            "Fn::FindInMap": lambda path: self._as_a_whole(lambda: self._find_in_map(path)),
            "Fn::GetAZs": self._zones,
            "Fn::GetAtt": self._attribute,
            "Fn::If": self._if,
            "Fn::ImportValue": self._imported,
            "Fn::Join": self._join,
            "Fn::Select": lambda argument: self._as_a_whole(lambda: self._select(argument)),
            "Fn::Split": lambda argument: self._as_a_whole(lambda: self._split(argument)),
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
        if isinstance(value, str):
            return _checked(value)
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

    def resolve_with_stand_ins(self, value: Any) -> tuple[Any, list[ValueAtAws]]:
        """Return ``value`` without intrinsic functions, and the values at AWS for which it has stand-ins."""
        if self.is_strict:
            return self.resolve(value), []
        return self._collect(lambda: self.resolve(value))

    def resolve_reference(self, value: Any) -> Any:
        """Return ``value`` with stand-ins, also if ``strict``: the name of a resource is enough for a reference."""
        return self._collect(lambda: self.resolve(value))[0]

    def _collect(self, resolve: Callable[[], T], missing: list[ValueAtAws] | None = None) -> tuple[T, list[ValueAtAws]]:
        """Call ``resolve`` and return its result with the stand-ins that it used."""
        missing = [] if missing is None else missing
        outer, self._missing = self._missing, missing
        try:
            return resolve(), missing
        finally:
            self._missing = outer

    def _as_a_whole(self, resolve: Callable[[], Any]) -> Any:
        """Return the result of ``resolve``, or the first stand-in alone if there are any: a part of one is no value."""
        if self._missing is None:
            return resolve()
        missing: list[ValueAtAws] = []
        try:
            value, _ = self._collect(resolve, missing)
        except Unresolvable:
            if not missing:
                raise
        return self._stand_in(missing[0]) if missing else value

    def _stand_in(self, missing: ValueAtAws) -> str:
        """Return the stand-in for a value. Raises `ValueAtAws` if stand-ins are not allowed here."""
        if self._missing is None:
            raise missing
        self._missing.append(missing)
        return missing.stand_in

    def is_true(self, name: Any) -> bool:
        """Return True if the condition of this name is true."""
        if (name := as_text(name)) not in self._conditions:
            raise Unresolvable(f"condition {name!r} does not exist; add it to Conditions")
        outer, self._missing = self._missing, None
        try:
            return bool(self._within(f"condition {name!r}", lambda: self._is_term_true(self._conditions[name])))
        except ValueAtAws as missing:
            raise Unresolvable(str(missing)) from None
        finally:
            self._missing = outer

    def is_created(self, id: str) -> bool:
        """Return True if a resource has no condition, or its condition is true."""
        resource = self._resources[id]
        return "Condition" not in resource or self.is_true(resource["Condition"])

    def is_name(self, name: str) -> bool:
        """Return True if the setting can give a value to this name."""
        first = name.partition(".")[0]
        known = (self._parameters, self._resources, self.used)
        return any(each in names for names in known for each in (name, first)) or bool(self._generated.find(first))

    def name_of(self, id: str) -> str:
        """Return the name of a resource of `RESOURCE_TYPES`: from the values, from the template, or its logical id.

        The logical id also replaces the name of a function or layer that has an unknown part.
        """
        type, properties = self._resources[id]["Type"], self._resources[id].get("Properties")
        property = RESOURCE_TYPES[type].name_property
        if RESOURCE_TYPES[type].reference == "{name}" and id in self._values:
            self.used.add(id)
            return self._values[id]
        value = properties.get(property, NO_VALUE) if isinstance(properties, dict) else NO_VALUE
        is_local = type.endswith(("::Function", "::LayerVersion"))
        if is_local and not self.is_strict:
            name, missing = self._collect(lambda: self._within(f"the name of {id!r}", lambda: self.resolve(value)))
            return id if missing or name is NO_VALUE else as_text(name)
        name = self._within(f"the name of {id!r}", lambda: self.resolve(value))
        if name is NO_VALUE and not is_local:
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
            return self._parameter(name)
        if name in self._values:
            return self._values[name]
        if name in self._pseudo:
            return self._pseudo[name]
        if generated := self._generated.find(name):
            return self._of_generated(generated, "", f"Ref {name}")
        if type := self._type_of(name, f"Ref {name}"):
            return self._filled(type.reference, name)
        if (known := self._values_of_version(name)) is not None:
            return known[""]
        return self._stand_in(self._at_aws(name, f"Ref {name}"))

    def _parameter(self, name: str) -> Any:
        parameter = Parameter(self._parameters[name])
        if name in self._values or not parameter.missing:
            value = parameter.value(self._values.get(name))
            _checked(str(value), f"parameter {name!r}")
            return value
        missing = ValueAtAws(name, f"parameter {name!r} {parameter.missing}")
        if parameter.is_hidden or may_name_secret(name):
            raise Unresolvable(str(missing))
        stand_in = self._stand_in(missing)
        return [stand_in] if parameter.is_list else stand_in

    def _attribute(self, path: Any) -> Any:
        id, _, attribute = (".".join(map(as_text, path)) if isinstance(path, list) else as_text(path)).partition(".")
        reference = f"{id}.{attribute}"
        if (given := self._given(reference)) is not None:
            return given
        for name in (id, ".".join(reference.split(".")[:2])):  # FnRole.Arn; Fn.Version.Version, or ${Fn.Version}
            if generated := self._generated.find(name):
                return self._of_generated(generated, reference.removeprefix(name).lstrip("."), reference)
        type = self._type_of(id, reference)
        if type and attribute == type.arn_attribute:
            return self.arn_of(id)
        if type and attribute in type.attributes:
            return self._filled(type.attributes[attribute], id)
        if attribute and attribute in (known := self._values_of_version(id) or {}):
            return known[attribute]
        missing = self._at_aws(reference, reference)
        if may_name_secret(attribute.rpartition(".")[2]):
            raise Unresolvable(str(missing))
        return self._stand_in(missing)

    def _of_generated(self, generated: GeneratedName, attribute: str, reference: str) -> Any:
        """Return an attribute of a resource that SAM generates; an empty ``attribute`` is its Ref."""
        if generated.owner:
            self._type_of(generated.owner, reference)
        known = self._values_of_generated(generated)
        if attribute in known:
            return known[attribute]
        name = reference.removeprefix("Ref ")
        return self._stand_in(ValueAtAws(name, f"{reference} has a value at AWS only", is_of_aws=True))

    def _values_of_generated(self, generated: GeneratedName) -> dict[str, Any]:
        if generated.kind is Kind.STAGE:
            return {"": self.resolve(generated.value)}
        if generated.kind is Kind.ROLE:
            self.generated_roles[generated.owner] = generated.name
            name = self._given(generated.name) or generated.name
            return {"": name, "Arn": f"arn:{self._pseudo['AWS::Partition']}:{self._filled(_ROLE, '', name)}"}
        if generated.kind is Kind.OTHER:
            return {}
        arn = self.arn_of(generated.owner)
        if generated.kind is Kind.ALIAS:
            return _alias(arn, as_text(self.resolve(generated.value)))
        return _version(arn) if generated.kind is Kind.VERSION else {"": arn, "FunctionArn": arn}

    def _values_of_version(self, id: str) -> dict[str, Any] | None:
        """Return the Ref (with an empty name) and the attributes of a version or an alias, None for another type."""
        type, properties = self._resources[id].get("Type"), self._resources[id].get("Properties")
        if type not in (VERSION_TYPE, ALIAS_TYPE):
            return None
        values = properties if isinstance(properties, dict) else {}
        function = as_text(self._within(id, lambda: self.resolve(values.get("FunctionName"))))
        is_arn = function.startswith("arn:")
        arn = function if is_arn else f"arn:{self._pseudo['AWS::Partition']}:{self._filled(_FUNCTION, '', function)}"
        return _version(arn) if type == VERSION_TYPE else _alias(arn, as_text(self.resolve(values.get("Name"))))

    def _given(self, name: str) -> str | None:
        """Return the value that the setting gives a name, or None."""
        if name in self._values:
            self.used.add(name)
        return self._values.get(name)

    def _at_aws(self, name: str, reference: str) -> ValueAtAws:
        type = str(self._resources[name.partition(".")[0]].get("Type"))
        is_of_aws = type.startswith("AWS::") and not type.startswith("AWS::CloudFormation::")
        return ValueAtAws(name, f"{reference} has a value at AWS only", is_of_aws=is_of_aws)

    def _imported(self, name: Any) -> str:
        name = as_text(self.resolve(name))
        reference = f"ImportValue.{name}"
        if (given := self._given(reference)) is not None:
            return given
        missing = ValueAtAws(reference, f"Fn::ImportValue {name} has a value at AWS only")
        if may_name_secret(name):
            raise Unresolvable(str(missing))
        return self._stand_in(missing)

    def _zones(self, region: Any) -> list[str]:
        if (given := self._given("GetAZs")) is not None:
            return [zone.strip() for zone in given.split(",")]
        return [self._stand_in(ValueAtAws("GetAZs", "Fn::GetAZs has a value at AWS only", is_of_aws=True))]

    def _type_of(self, id: str, reference: str) -> ResourceType | None:
        """Return a resource's type, or None if names of this type are known at AWS only.

        ``reference`` is named in messages: ``"Ref Table"`` or ``"Table.Arn"``.
        """
        resource = self._resources.get(id)
        if not isinstance(resource, dict):
            raise Unresolvable(
                f"there is no parameter or resource {id!r}; add it, or set {SETTING}='{reference.split()[-1]}=…'"
            )
        if not self.is_created(id):
            raise Unresolvable(f"{id!r} is not created: its condition {resource['Condition']!r} is false; use Fn::If")
        return RESOURCE_TYPES.get(str(resource.get("Type")))

    def _filled(self, form: str, id: str, name: str = "") -> str:
        return form.format(
            name=name or self.name_of(id),
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
        texts = map(as_text, _list(self.resolve(values), "the values of Fn::Join"))
        return _checked(as_text(delimiter).join(texts), "a dynamic reference")

    def _select(self, argument: Any) -> Any:
        index, values = _list(argument, "Fn::Select", (2,))
        place, choices = as_text(self.resolve(index)), _list(self.resolve(values), "the values of Fn::Select")
        if not (place.isascii() and place.isdigit()) or int(place) >= len(choices):
            raise Unresolvable(f"the index {place!r} of Fn::Select must be below {len(choices)}; correct it")
        return choices[int(place)]

    def _split(self, argument: Any) -> list[str]:
        delimiter, text = _list(argument, "Fn::Split", (2,))
        if not (delimiter := as_text(delimiter)):
            raise Unresolvable("the delimiter of Fn::Split must not be empty; correct it")
        return as_text(self.resolve(text)).split(delimiter)

    def _base64(self, text: Any) -> str:
        return base64.b64encode(as_text(self.resolve(text)).encode()).decode()

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

        return _checked(_variable.sub(value, as_text(self.resolve(text))), "a dynamic reference")

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


def _version(function: str) -> dict[str, Any]:
    """Return the Ref (with an empty name) and the attributes of the version of a function's ARN."""
    return {"": f"{function}:1", "FunctionArn": f"{function}:1", "Version": "1"}


def _alias(function: str, name: str) -> dict[str, Any]:
    """Return the Ref (with an empty name) and the attributes of an alias of a function's ARN."""
    return {"": f"{function}:{name}", "AliasArn": f"{function}:{name}"}


def _checked(text: str, shown: str = "") -> str:
    """Return ``text``. Raises `Unresolvable` for a dynamic reference, which may be a secret.

    The message has ``shown`` instead of a text that may have values of parameters in it.
    """
    if "{{resolve:" in text:
        raise Unresolvable(
            f"{shown or repr(text)} is read from a store by CloudFormation only; write the value, or a parameter"
        )
    return text


def _same(one: Any, other: Any) -> bool:
    return as_text(one) == as_text(other)


def _list(value: Any, name: str, lengths: Sequence[int] = ()) -> list[Any]:
    if not isinstance(value, list) or (lengths and len(value) not in lengths):
        count = " to ".join(str(length) for length in dict.fromkeys((lengths[0], lengths[-1]))) if lengths else ""
        raise Unresolvable(f"{name} must be a list{count and f' of {count}'}; correct it")
    return value
