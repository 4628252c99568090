"""InvokeAsync, the older door for events."""

from tests.rows.row import Ask, Like, Row, accepted, refusal

PATH = "/2014-11-13/functions/{}/invoke-async"
TOO_LARGE = "262145 byte payload is too large for the Event invocation type (limit 262144 bytes)"


def refused(what, name, payload, answer):
    return Row(f"InvokeAsync refuses at once: {what}", Ask(path=PATH.format(name), payload=payload), answer)


ROWS = [
    accepted(
        "InvokeAsync answers 202 and runs the function",
        Ask(path=PATH.format("record"), payload=b'{"file": "FILE"}'),
        file="ID\n",
    ),
    accepted(
        "InvokeAsync may have a slash at its end",
        Ask(path=PATH.format("record") + "/", payload=b'{"file": "FILE"}'),
        file="ID\n",
    ),
    accepted("InvokeAsync takes 256 KiB", Ask(path=PATH.format("nothing"), payload=b" " * 262_142 + b"{}")),
    refused(
        "more than that",
        "nothing",
        b" " * 262_143 + b"{}",
        refusal(413, "RequestEntityTooLargeException", TOO_LARGE, type=""),
    ),
    refused(
        "a function that is not there",
        "absent",
        b"",
        refusal(404, "ResourceNotFoundException", Like("Function not found: .*:absent:.LATEST"), "Message"),
    ),
    refused(
        "a version that is not there",
        "hello:9",
        b"",
        refusal(404, "ResourceNotFoundException", Like("Function not found: .*:hello:9"), "Message"),
    ),
    refused("no JSON", "hello", b"{", refusal(400, "InvalidRequestContentException", Like("Could not parse .*"))),
    refused(
        "no function name",
        "he!lo",
        b"",
        refusal(400, "ValidationException", Like("1 validation error detected: Value 'he!lo' .*"), type=""),
    ),
]
