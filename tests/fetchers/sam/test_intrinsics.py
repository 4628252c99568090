"""CloudFormation's intrinsic functions, without a template around them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serverfull_wsgi.fetchers.sam.intrinsics import NO_VALUE, Resolver
from serverfull_wsgi.fetchers.sam.parameters import SETTING, Unresolvable, parse_parameters
from serverfull_wsgi.fetchers.sam.template import merge_globals

pytestmark = pytest.mark.quick

PARAMETERS = {
    "Stage": {"Type": "String", "Default": "dev"},
    "Count": {"Type": "Number", "Default": 3},
    "Zones": {"Type": "List<String>", "Default": "a, b"},
}
QUEUE = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "jobs"}}
FUNCTION = {"Type": "AWS::Serverless::Function"}


def resolve(value, **sections):
    return Resolver(**{"parameters": PARAMETERS, **sections}).resolve(value)


def reason_for(value, **sections):
    with pytest.raises(Unresolvable) as caught:
        resolve(value, **sections)
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Ref": "Stage"}, "dev"),
        ({"Ref": "Count"}, "3"),
        ({"Ref": "Zones"}, ["a", "b"]),
        ({"Ref": "AWS::NoValue"}, NO_VALUE),
        ({"Ref": "AWS::NotificationARNs"}, []),
        ({"a": {"Ref": "AWS::NoValue"}, "b": [{"Ref": "AWS::NoValue"}, 1]}, {"b": [1]}),
        ({"Fn::Join": ["-", ["a", {"Ref": "Stage"}, 1, True]]}, "a-dev-1-true"),
        ({"Fn::Join": [",", {"Ref": "Zones"}]}, "a,b"),
        ({"Fn::Sub": "${Stage}${!Stage}$${Count}"}, "dev${Stage}$3"),
        ({"Fn::Sub": ["${ Mine }/${Stage}", {"Mine": {"Ref": "Count"}}]}, "3/dev"),
        ({"Fn::Sub": ["${Stage}", {"Stage": "mine"}]}, "mine"),
        ({"Fn::Sub": "a $ {b} ${"}, "a $ {b} ${"),
        ({"Fn::GetAtt": ["F", "Arn"]}, "arn:aws:lambda:us-east-1:123456789012:function:F"),
        ({"Fn::GetAtt": "F.Arn"}, "arn:aws:lambda:us-east-1:123456789012:function:F"),
        ({"Fn::GetAtt": ["Q", "QueueName"]}, "jobs"),
        ({"Fn::GetAtt": ["Q", "QueueUrl"]}, "https://sqs.us-east-1.amazonaws.com/123456789012/jobs"),
        ({"Fn::Select": [1, {"Fn::Split": ["/", "a/b"]}]}, "b"),
        ({"Fn::Select": ["0", {"Ref": "Zones"}]}, "a"),
        ({"Fn::Split": [".", {"Ref": "Stage"}]}, ["dev"]),
        ({"Fn::Base64": {"Fn::Sub": "${Stage}"}}, "ZGV2"),
        ({"Other": {"Ref": "Stage"}, "Ref": "Stage"}, {"Other": "dev", "Ref": "Stage"}),
    ],
)  # fmt: skip
def test_a_value_is_resolved(value, expected):
    assert resolve(value, resources={"F": FUNCTION, "Q": QUEUE}) == expected


CONDITIONS = {
    "Yes": {"Fn::Equals": [{"Ref": "Stage"}, "dev"]},
    "No": {"Fn::Not": [{"Condition": "Yes"}]},
    "Count": {"Fn::Equals": [{"Ref": "Count"}, 3]},
    "All": {"Fn::And": [{"Condition": "Yes"}, {"Condition": "Count"}]},
    "Any": {"Fn::Or": [{"Condition": "No"}, {"Condition": "Yes"}]},
    "Settled": {"Fn::And": [{"Condition": "No"}, {"Condition": "Odd"}]},
    "Odd": {"Fn::Equals": [{"Fn::ImportValue": "x"}, "y"]},
    "Circle": {"Fn::Not": [{"Condition": "Circle"}]},
    "Bad": {"Ref": "Stage"},
    "Short": {"Fn::And": [{"Condition": "Yes"}]},
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Yes", True), ("No", False), ("Count", True), ("All", True), ("Any", True), ("Settled", False)],
)
def test_a_condition_is_true_or_false(name, expected):
    assert Resolver(parameters=PARAMETERS, conditions=CONDITIONS).is_true(name) is expected
    chosen = resolve({"Fn::If": [name, "then", "otherwise"]}, conditions=CONDITIONS)
    assert chosen == ("then" if expected else "otherwise")


SELF = {**FUNCTION, "Properties": {"FunctionName": {"Fn::Sub": "${F}-x"}}}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"Fn::If": ["Circle", 1, 2]}, "condition 'Circle' refers to itself; remove the circular reference"),
        (
            {"Fn::If": ["Odd", 1, 2]},
            f"Fn::ImportValue x has a value at AWS only; set {SETTING}='ImportValue.x=…'",
        ),
        (
            {"Fn::If": ["Bad", 1, 2]},
            "a condition must be Fn::Equals, Fn::And, Fn::Or, Fn::Not or Condition; use one of them",
        ),
        ({"Fn::If": ["Yes", 1]}, "Fn::If must be a list of 3; correct it"),
        ({"Fn::If": ["Short", 1, 2]}, "Fn::And must be a list of 2 to 10; correct it"),
        ({"Fn::Join": [",", "a"]}, "the values of Fn::Join must be a list; correct it"),
        ({"Fn::Select": [2, ["a", "b"]]}, "the index '2' of Fn::Select must be below 2; correct it"),
        ({"Fn::Select": ["x", ["a"]]}, "the index 'x' of Fn::Select must be below 1; correct it"),
        ({"Fn::Select": [0, "a"]}, "the values of Fn::Select must be a list; correct it"),
        ({"Fn::Split": ["", "a"]}, "the delimiter of Fn::Split must not be empty; correct it"),
        ({"Fn::Sub": {"Ref": "Zones"}}, "must be text, not a list; write text"),
        ({"Fn::Sub": ["a", "b"]}, "the second member of Fn::Sub must be a mapping; correct it"),
        ({"Fn::FindInMap": ["A", "B", "C"]}, "there is no A → B → C in Mappings; add it"),
        ({"Ref": "F"}, "the name of 'F' refers to itself; remove the circular reference"),
        ({"Fn::GetAtt": ["F", "Version"]}, f"F.Version has a value at AWS only; set {SETTING}='F.Version=…'"),
        ({"Fn::GetAtt": ["G", "Arn"]}, f"there is no parameter or resource 'G'; add it, or set {SETTING}='G.Arn=…'"),
        ({"Fn::GetAtt": []}, f"there is no parameter or resource ''; add it, or set {SETTING}='.=…'"),
        ({"Ref": "R"}, f"Ref R has a value at AWS only; set {SETTING}='R=…'"),
        ({"a": ["{{resolve:ssm:x}}"]}, "'{{resolve:ssm:x}}' is read from a store by CloudFormation only; "
         "write the value, or a parameter"),
    ],
)  # fmt: skip
def test_an_unresolvable_value_has_a_reason_and_a_cure(value, reason):
    resources = {"F": SELF, "R": {"Type": "AWS::EC2::VPC"}}
    assert reason_for(value, conditions=CONDITIONS, resources=resources) == reason


@pytest.mark.parametrize(
    ("region", "partition", "suffix"),
    [("eu-west-1", "aws", "amazonaws.com"), ("cn-north-1", "aws-cn", "amazonaws.com.cn")],
)
def test_the_region_decides_the_pseudo_parameters(region, partition, suffix):
    text = "${AWS::Partition} ${AWS::URLSuffix} ${AWS::Region} ${AWS::AccountId} ${AWS::StackName}"
    resolver = Resolver(region=region, account_id="111122223333")
    assert resolver.resolve({"Fn::Sub": text}) == f"{partition} {suffix} {region} 111122223333 local"


_texts = st.text(alphabet="ab${}!.:, ", max_size=12)
_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | _texts,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet="xyz", min_size=2), inner),
    max_leaves=10,
)


@given(_plain)
def test_a_value_without_intrinsic_functions_does_not_change(value):
    assert resolve(value) == value


@given(_plain, _plain)
def test_fn_if_returns_the_chosen_value(then, otherwise):
    assert resolve({"Fn::If": ["Yes", then, otherwise]}, conditions=CONDITIONS) == then
    assert resolve({"Fn::If": ["No", then, otherwise]}, conditions=CONDITIONS) == otherwise


@given(st.lists(st.text(alphabet="abc", min_size=1)), st.sampled_from([",", "-", "::"]))
def test_fn_join_joins_as_python_does(values, delimiter):
    assert resolve({"Fn::Join": [delimiter, values]}) == delimiter.join(values)


@given(st.lists(st.text(alphabet="ab$!. ", max_size=5)))
def test_fn_sub_changes_only_variables(texts):
    assert resolve({"Fn::Sub": "${Stage}".join(texts)}) == "dev".join(texts)


@given(st.text(alphabet="ab}!.:, ", max_size=12))
def test_fn_sub_keeps_an_escaped_variable(name):
    assert resolve({"Fn::Sub": f"${{!{name}}}"}) == f"${{{name}}}"


@given(st.dictionaries(st.text("abC1", min_size=1), st.text(alphabet="ab ,=\n.")))
def test_parameters_in_quotes_are_read_as_written(parameters):
    assert parse_parameters(", ".join(f'{name}="{value}"' for name, value in parameters.items())) == parameters


def test_parameters_may_be_on_lines_of_their_own():
    assert parse_parameters("\n A=1,\n B = two words\nC=\nD=x=y,") == {"A": "1", "B": "two words", "C": "", "D": "x=y"}


@pytest.mark.parametrize(
    ("common", "own", "expected"),
    [
        ({"Layers": ["a"]}, {"Layers": ["b"]}, {"Layers": ["a", "b"]}),
        ({"Timeout": 3}, {"Timeout": {"Ref": "T"}}, {"Timeout": {"Ref": "T"}}),
        ({"A": {"Ref": "x"}}, {"A": {"b": 1}}, {"A": {"b": 1}}),
        ({"A": {"b": 1}}, {"A": {"Fn::If": [1, 2, 3]}}, {"A": {"Fn::If": [1, 2, 3]}}),
        ({"A": {"b": 1, "c": 1}}, {"A": {"b": 2}}, {"A": {"b": 2, "c": 1}}),
    ],
)
def test_globals_are_merged_as_sam_does(common, own, expected):
    assert merge_globals(common, own) == expected
