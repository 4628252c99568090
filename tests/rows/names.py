"""How a function is named: names, partial and full ARNs, qualifiers, and what is refused."""

import re

from tests.rows.row import (
    ARN,
    HELLO,
    MANAGEMENT,
    Ask,
    Having,
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


def found(what, name, arn, version, query=""):
    """As `describe` sees itself: the ARN as it was addressed, the version that runs."""
    seen = Having(invoked_function_arn=ARN + arn, function_version=version)
    return answered(f"a function is found by {what}", Ask(name, query=query), seen, version=version)


def not_found(what, name, arn, query=""):
    answer = refusal(404, "ResourceNotFoundException", f"Function not found: {ARN}{arn}", "Message")
    return Row(f"what is not there is named with its qualifier: {what}", Ask(name, query=query), answer)


def differing(what, name, query):
    message = "The derived qualifier from the function name does not match the specified qualifier."
    answer = refusal(400, "InvalidParameterValueException", message)
    return Row(f"two qualifiers that differ are refused: {what}", Ask(name, query=query), answer)


def no_name(what, name, seen=None):
    return Row(f"no function name: {what}", Ask(name), invalid(violation(seen or name, "functionName", PATTERN)))


def no_qualifier(what, qualifier, seen=None):
    answer = invalid(violation(qualifier if seen is None else seen, "qualifier", QUALIFIER_PATTERN))
    return Row(f"no qualifier: {what}", Ask("hello", query=f"Qualifier={qualifier}"), answer)


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
    found("a name of which a letter is encoded", "d%65scribe", "describe", "$LATEST"),
    answered("an ARN that ends in function:function is the function of that name", Ask(ARN + "function"), HELLO),
    answered("an ARN that ends in function is the function of that name", Ask(ARN.removesuffix(":")), HELLO),
    answered("a name may have a dot", Ask("with.dot"), HELLO),
    answered("a version is code of its own", Ask("hello", query="Qualifier=1"), b'"one"', version="1"),
    answered("an alias runs its version", Ask("hello", query="Qualifier=prod"), b'"one"', version="1"),
    answered("an alias may be of $LATEST", Ask("hello", query="Qualifier=latest"), HELLO),
    differing("the function is there", "hello:1", "Qualifier=2"),
    differing("before the function is looked for", "absent:1", "Qualifier=2"),
    differing("one of them $LATEST", "hello:1", "Qualifier=%24LATEST"),
    not_found("a name", "absent", "absent:$LATEST"),
    not_found("a name and a version", "absent:2", "absent:2"),
    not_found("a version", "hello:2", "hello:2"),
    not_found("a version in the query", "hello", "hello:2", "Qualifier=2"),
    not_found("an alias in the query", "hello", "hello:staging", "Qualifier=staging"),
    not_found("$latest, which is an alias", "hello", "hello:$latest", "Qualifier=%24latest"),
    not_found("$LATEST.PUBLISHED", "hello:$LATEST.PUBLISHED", "hello:$LATEST.PUBLISHED"),
    not_found("65 characters, which no name can have", "x" * 65, "x" * 65 + ":$LATEST"),
    not_found("256 characters", "x" * 256, "x" * 256 + ":$LATEST"),
    not_found("a qualifier of 128 characters", "hello", "hello:" + "x" * 128, "Qualifier=" + "x" * 128),
    Row(
        "another region's function is not reachable",
        Ask(ARN.replace("us-east-1", "eu-west-1") + "hello"),
        refusal(
            404,
            "ResourceNotFoundException",
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
            "Message",
        ),
    ),
    no_name("a character that is none of a name's", "he!lo"),
    no_name("a blank", "he%20llo", "he llo"),
    no_name("a letter beyond ASCII", "caf%C3%A9", "café"),
    no_name("a byte that is no UTF-8", "%FF", "\ufffd"),
    no_name("a null", "hello%00", "hello\0"),
    no_name("decoded once", "a%252Fb", "a%2Fb"),
    Row(
        "no function name: an encoded slash, which is part of the name",
        Ask("a%2Fb"),
        invalid(violation("a/b", "functionName", PATTERN)),
        where={"no-raw-path": unknown_operation()},
    ),
    no_name("$LATES", "hello:$LATES"),
    no_name("two qualifiers", "hello:1:2"),
    no_name("another service's ARN", ARN.replace("lambda", "ec2") + "hello"),
    no_name("no region", ARN.replace("us-east-1", "") + "hello"),
    no_name("no account", ARN.replace("123456789012", "") + "hello"),
    no_name("neither region nor account", "arn:aws:lambda:function:hello"),
    Row(
        "a name has 256 characters at most", Ask("x" * 257), invalid(violation("x" * 257, "functionName", LONG + "256"))
    ),
    no_qualifier("a dot", "a.b"),
    no_qualifier("a blank", "a%20b", "a b"),
    no_qualifier("nothing", ""),
    no_qualifier("part of $LATEST.PUBLISHED", "%24LATEST.PUBLISHE", "$LATEST.PUBLISHE"),
    Row(
        "a qualifier has 128 characters at most",
        Ask("hello", query=f"Qualifier={'x' * 129}"),
        invalid(violation("x" * 129, "qualifier", LONG + "128")),
    ),
    Row("other operations have messages of their own for an unknown function", reason=MANAGEMENT),
]
