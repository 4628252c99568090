"""InvokeAsync, AWS's older operation for events."""

from tests.rows.row import Like, Request, Row, accepted, refusal

PATH = "/2014-11-13/functions/{}/invoke-async"
TOO_LARGE = "262145 byte payload is too large for the Event invocation type (limit 262144 bytes)"


def refused(case, name, payload, response):
    return Row(f"InvokeAsync refuses at once: {case}", Request(path=PATH.format(name), payload=payload), response)


ROWS = [
    accepted(
        "InvokeAsync returns 202 and runs the function",
        Request(path=PATH.format("record"), payload=b'{"file": "FILE"}'),
        file="ID\n",
    ),
    accepted(
        "the path of InvokeAsync may end in a slash",
        Request(path=PATH.format("record") + "/", payload=b'{"file": "FILE"}'),
        file="ID\n",
    ),
    accepted("InvokeAsync accepts 256 KiB", Request(path=PATH.format("nothing"), payload=b" " * 262_142 + b"{}")),
    refused(
        "more than 256 KiB",
        "nothing",
        b" " * 262_143 + b"{}",
        refusal(413, "RequestEntityTooLargeException", TOO_LARGE, type=""),
    ),
    refused(
        "a missing function",
        "absent",
        b"",
        refusal(404, "ResourceNotFoundException", Like("Function not found: .*:absent:.LATEST"), "Message"),
    ),
    refused(
        "a missing version",
        "hello:9",
        b"",
        refusal(404, "ResourceNotFoundException", Like("Function not found: .*:hello:9"), "Message"),
    ),
    refused("invalid JSON", "hello", b"{", refusal(400, "InvalidRequestContentException", Like("Could not parse .*"))),
    refused(
        "an invalid function name",
        "he!lo",
        b"",
        refusal(400, "ValidationException", Like("1 validation error detected: Value 'he!lo' .*"), type=""),
    ),
]
