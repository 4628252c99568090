"""Names of functions: names, partial and full ARNs, qualifiers, and names that are refused."""

import re

from tests.rows.row import (
    ARN,
    HELLO,
    Having,
    Request,
    Row,
    answered,
    invalid,
    refusal,
    unknown_operation,
    violation,
)

PATTERN = re.escape(
    r"satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?"
    r"-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)
QUALIFIER_PATTERN = re.escape(r"satisfy regular expression pattern: \$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+")
LONG = "have length less than or equal to "


def found(way, name, arn, version, query=""):
    """Return a row for `describe`, which returns the ARN in its context and its version."""
    body = Having(invoked_function_arn=ARN + arn, function_version=version)
    return answered(f"a function is found by {way}", Request(name, query=query), body, version=version)


def not_found(case, name, arn, query=""):
    response = refusal(404, "ResourceNotFoundException", f"Function not found: {ARN}{arn}", "Message")
    return Row(f"a missing function is named with its qualifier: {case}", Request(name, query=query), response)


def differing(case, name, query):
    message = "The derived qualifier from the function name does not match the specified qualifier."
    response = refusal(400, "InvalidParameterValueException", message)
    return Row(f"two different qualifiers are refused: {case}", Request(name, query=query), response)


def invalid_name(case, name, seen=None):
    return Row(
        f"a function name is not valid: {case}",
        Request(name),
        invalid(violation(seen or name, "functionName", PATTERN)),
    )


def invalid_qualifier(case, qualifier, seen=None):
    response = invalid(violation(qualifier if seen is None else seen, "qualifier", QUALIFIER_PATTERN))
    return Row(f"a qualifier is not valid: {case}", Request("hello", query=f"Qualifier={qualifier}"), response)


ROWS = [
    found("its name", "describe", "describe", "$LATEST"),
    found("name:version", "describe:7", "describe:7", "7"),
    found("name:version, encoded", "describe%3A7", "describe:7", "7"),
    found("a version in the query", "describe", "describe:7", "7", "Qualifier=7"),
    found("the same version in both places", "describe:7", "describe:7", "7", "Qualifier=7"),
    found("an alias in the query", "describe", "describe:live", "7", "Qualifier=live"),
    found("name:$LATEST", "describe:$LATEST", "describe:$LATEST", "$LATEST"),
    found("name:$LATEST, encoded", "describe%3A%24LATEST", "describe:$LATEST", "$LATEST"),
    found("$LATEST in the query", "describe", "describe:$LATEST", "$LATEST", "Qualifier=%24LATEST"),
    found("function:name", "function:describe", "describe", "$LATEST"),
    found("function:name:alias, partly encoded", "function%3Adescribe:live", "describe:live", "7"),
    found("account:function:name", "123456789012:function:describe", "describe", "$LATEST"),
    found("account:function:name:version", "123456789012:function:describe:7", "describe:7", "7"),
    found("its ARN", ARN + "describe", "describe", "$LATEST"),
    found("its ARN and an alias", ARN + "describe:live", "describe:live", "7"),
    found(
        "its ARN and an alias, encoded, and the alias in the query",
        ARN.replace(":", "%3A") + "describe%3Alive",
        "describe:live",
        "7",
        "Qualifier=live",
    ),
    found("its name with an encoded letter", "d%65scribe", "describe", "$LATEST"),
    answered("an ARN that ends in function:function is the function of that name", Request(ARN + "function"), HELLO),
    answered("an ARN that ends in function is the function of that name", Request(ARN.removesuffix(":")), HELLO),
    answered("a name may have a dot", Request("with.dot"), HELLO),
    answered("a version has its own code", Request("hello", query="Qualifier=1"), b'"one"', version="1"),
    answered("an alias runs its version", Request("hello", query="Qualifier=prod"), b'"one"', version="1"),
    answered("an alias may point to $LATEST", Request("hello", query="Qualifier=latest"), HELLO),
    differing("the function exists", "hello:1", "Qualifier=2"),
    differing("the function is missing", "absent:1", "Qualifier=2"),
    differing("one of them is $LATEST", "hello:1", "Qualifier=%24LATEST"),
    not_found("a name", "absent", "absent:$LATEST"),
    not_found("a name and a version", "absent:2", "absent:2"),
    not_found("a version", "hello:2", "hello:2"),
    not_found("a version in the query", "hello", "hello:2", "Qualifier=2"),
    not_found("an alias in the query", "hello", "hello:staging", "Qualifier=staging"),
    not_found("$latest, which is not $LATEST", "hello", "hello:$latest", "Qualifier=%24latest"),
    not_found("$LATEST.PUBLISHED", "hello:$LATEST.PUBLISHED", "hello:$LATEST.PUBLISHED"),
    not_found("a name of 65 characters", "x" * 65, "x" * 65 + ":$LATEST"),
    not_found("a name of 256 characters", "x" * 256, "x" * 256 + ":$LATEST"),
    not_found("a qualifier of 128 characters", "hello", "hello:" + "x" * 128, "Qualifier=" + "x" * 128),
    Row(
        "another region's function is not reachable",
        Request(ARN.replace("us-east-1", "eu-west-1") + "hello"),
        refusal(
            404,
            "ResourceNotFoundException",
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
            "Message",
        ),
    ),
    invalid_name("an exclamation mark", "he!lo"),
    invalid_name("a blank", "he%20llo", "he llo"),
    invalid_name("a letter outside ASCII", "caf%C3%A9", "café"),
    invalid_name("a byte that is not UTF-8", "%FF", "\ufffd"),
    invalid_name("a null", "hello%00", "hello\0"),
    invalid_name("an encoded percent sign, which is decoded once", "a%252Fb", "a%2Fb"),
    Row(
        "a function name is not valid: an encoded slash, which is part of the name",
        Request("a%2Fb"),
        invalid(violation("a/b", "functionName", PATTERN)),
        where=dict.fromkeys(("no-raw-path", "granian"), unknown_operation()),
    ),
    invalid_name("$LATES", "hello:$LATES"),
    invalid_name("two qualifiers", "hello:1:2"),
    invalid_name("an ARN of another service", ARN.replace("lambda", "ec2") + "hello"),
    invalid_name("an ARN without region", ARN.replace("us-east-1", "") + "hello"),
    invalid_name("an ARN without account", ARN.replace("123456789012", "") + "hello"),
    invalid_name("an ARN without region and account", "arn:aws:lambda:function:hello"),
    Row(
        "a name has at most 256 characters",
        Request("x" * 257),
        invalid(violation("x" * 257, "functionName", LONG + "256")),
    ),
    invalid_qualifier("a dot", "a.b"),
    invalid_qualifier("a blank", "a%20b", "a b"),
    invalid_qualifier("an empty text", ""),
    invalid_qualifier("part of $LATEST.PUBLISHED", "%24LATEST.PUBLISHE", "$LATEST.PUBLISHE"),
    Row(
        "a qualifier has at most 128 characters",
        Request("hello", query=f"Qualifier={'x' * 129}"),
        invalid(violation("x" * 129, "qualifier", LONG + "128")),
    ),
    Row(
        "other operations have other messages for a missing function",
        test="api/management/test_operations.py::test_a_read_that_fails_has_the_message_of_aws",
    ),
]
