"""AWS's published test vectors for Signature Version 4 (aws-sig-v4-test-suite): requests and their signatures.

All vectors use the key AKIDEXAMPLE, the time 20150830T123600Z, the region us-east-1 and the service "service". A target
is the suite's text. Characters outside ASCII are sent as UTF-8 bytes.
"""

from datetime import datetime, timezone
from typing import NamedTuple

from tests.support.signing import Sent

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
WHEN = datetime(2015, 8, 30, 12, 36, tzinfo=timezone.utc)
HOST = "example.amazonaws.com"
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthA"
    "x7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY"
    "9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)


class Vector(NamedTuple):
    """One request of the suite, and AWS's signature of it."""

    method: str
    target: str
    signature: str
    signed: str = ""  # signed headers besides host and x-amz-date
    headers: dict = {}
    body: bytes = b""

    @property
    def unsigned(self):
        target = self.target.encode().decode("latin-1")
        return Sent(self.method, target, dict(self.headers), self.body, HOST)

    @property
    def sent(self):
        names = ";".join(sorted({"host", "x-amz-date", *self.signed.split()}))
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={KEY}/20150830/us-east-1/service/aws4_request, "
            f"SignedHeaders={names}, Signature={self.signature}"
        )
        sent = self.unsigned
        sent.headers |= {"X-Amz-Date": "20150830T123600Z", "Authorization": authorization}
        return sent


UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
GET_VANILLA = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
POST_VANILLA = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
POST_QUERY = "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"
FORM = "application/x-www-form-urlencoded"

PASSED = {
    "get-vanilla": Vector("GET", "/", GET_VANILLA),
    "get-vanilla-query": Vector("GET", "/", GET_VANILLA),
    "get-vanilla-empty-query-key": Vector(
        "GET", "/?Param1=value1", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"
    ),
    "get-vanilla-query-order-key-case": Vector(
        "GET", "/?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
    ),
    "get-vanilla-query-unreserved": Vector(
        "GET", f"/?{UNRESERVED}={UNRESERVED}", "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"
    ),
    "get-unreserved": Vector(
        "GET", f"/{UNRESERVED}", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"
    ),
    "get-header-value-trim": Vector(
        "GET",
        "/",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        "my-header1 my-header2",
        {"My-Header1": " value1", "My-Header2": ' "a   b   c"'},
    ),
    "post-vanilla": Vector("POST", "/", POST_VANILLA),
    "post-vanilla-query": Vector("POST", "/?Param1=value1", POST_QUERY),
    "post-vanilla-empty-query-value": Vector("POST", "/?Param1=value1", POST_QUERY),
    "post-header-key-case": Vector("POST", "/", POST_VANILLA),
    "post-header-key-sort": Vector(
        "POST",
        "/",
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
        "my-header1",
        {"My-Header1": "value1"},
    ),
    "post-header-value-case": Vector(
        "POST",
        "/",
        "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        "my-header1",
        {"My-Header1": "VALUE1"},
    ),
    "post-sts-header-before": Vector(
        "POST",
        "/",
        "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
        "x-amz-security-token",
        {"X-Amz-Security-Token": TOKEN},
    ),
    "post-x-www-form-urlencoded": Vector(
        "POST",
        "/",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        "content-type",
        {"Content-Type": FORM},
        b"Param1=value1",
    ),
    "post-x-www-form-urlencoded-parameters": Vector(
        "POST",
        "/",
        "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
        "content-type",
        {"Content-Type": f"{FORM}; charset=utf8"},
        b"Param1=value1",
    ),
    # No client for Lambda sends these, but they are accepted: bytes that are not percent-encoded, and a header that
    # occurs twice (WSGI joins its values in this form).
    "get-utf8": Vector("GET", "/ሴ", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    "get-vanilla-utf8-query": Vector(
        "GET", "/?ሴ=bar", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"
    ),
    "get-space": Vector("GET", "/example space/", "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"),
    "get-header-key-duplicate": Vector(
        "GET",
        "/",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        "my-header1",
        {"My-Header1": "value2,value2,value1"},
    ),
    "get-header-value-order": Vector(
        "GET",
        "/",
        "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        "my-header1",
        {"My-Header1": "value4,value1,value3,value2"},
    ),
}

NO_DOTS = "the path is signed as sent: dots and empty segments stay, because the router sees them"
NO_FOLD = "HTTP has no headers over several lines (RFC 9112, section 5.2): no server passes them on"
ALL_SIGNED = "every x-amz-… header of the request must be signed, and above all the session token"
NO_BLANK = "a blank ends the target in HTTP's request line"

REFUSED = {
    "get-relative": (NO_DOTS, Vector("GET", "/example/..", GET_VANILLA)),
    "get-relative-relative": (NO_DOTS, Vector("GET", "/example1/example2/../..", GET_VANILLA)),
    "get-slash": (NO_DOTS, Vector("GET", "//", GET_VANILLA)),
    "get-slash-dot-slash": (NO_DOTS, Vector("GET", "/./", GET_VANILLA)),
    "get-slash-pointless-dot": (
        NO_DOTS,
        Vector("GET", "/./example", "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"),
    ),
    "get-slashes": (
        NO_DOTS,
        Vector("GET", "//example//", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
    ),
    "post-sts-header-after": (
        ALL_SIGNED,
        Vector("POST", "/", POST_VANILLA, headers={"X-Amz-Security-Token": TOKEN}),
    ),
}
NOT_HTTP = {
    "get-header-value-multiline": NO_FOLD,
    "post-vanilla-query-space": NO_BLANK,
    "post-vanilla-query-nonunreserved": NO_BLANK,
}
PRESIGNED = "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"  # get-vanilla, presigned for an hour
