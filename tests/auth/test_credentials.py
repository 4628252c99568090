"""Files of keys, the permissions of a key, and servers with and without authentication."""

import json
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from types import SimpleNamespace

import boto3
import pytest
from botocore.exceptions import ClientError
from werkzeug.routing import Rule

from serverfull_wsgi import (
    Application,
    ConfigurationError,
    Credential,
    CredentialsFile,
    Settings,
    SigV4Middleware,
    SqliteQueue,
    StaticFetcher,
    create_app,
    logger_from_context,
)
from serverfull_wsgi.auth.credentials import parse
from serverfull_wsgi.auth.principal import EVENT, INVOKE, OPERATE, Principal
from tests.conftest import aws_client
from tests.support import handlers, signed_site
from tests.support.hosts import OverSocket
from tests.support.names import function_name
from tests.support.servers import Server, free_port, gunicorn, running, serverfull
from tests.support.signing import KEY, NOON, REGION, SECRET, Sent, by_botocore, call, message, now
from tests.support.waiting import wait_until

ADA = "[ada]\naws_access_key_id = AKIDADA\naws_secret_access_key = s3cr3t/+%=x\n"
BOB = "[bob]\naws_access_key_id=AKIDBOB\naws_secret_access_key=b0b\naws_session_token=token\n"


class Keys:
    """A file of keys, written as an operator should: a new file that replaces the old one in one step."""

    def __init__(self, folder):
        self.path = folder / "keys"

    def write(self, text, mode=0o600):
        new = self.path.with_suffix(".new")
        new.write_bytes(text if isinstance(text, bytes) else text.encode())
        new.chmod(mode)
        new.replace(self.path)
        return self

    def read(self):
        return CredentialsFile(self.path)


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path)


# The file


def test_a_file_has_a_key_for_each_profile(keys):
    find = keys.write(
        f"# ours\n{ADA}\nregion = eu-west-1\n\n[of AWS]\nrole_arn = arn:aws:iam::1:role/x\n\n{BOB}"
    ).read()
    assert find("AKIDADA") == Credential("s3cr3t/+%=x", name="ada")
    assert find("AKIDBOB") == Credential("b0b", "token", "bob")
    assert find("ada") is None


def test_boto3_reads_the_file_too(keys, monkeypatch):
    keys.write(f"{ADA}serverfull_functions = report-*\nserverfull_actions = invoke, event\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys.path))
    credentials = boto3.Session(profile_name="ada").get_credentials()
    assert (credentials.access_key, credentials.secret_key) == ("AKIDADA", "s3cr3t/+%=x")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no profile has aws_access_key_id and aws_secret_access_key"),
        ("[ada]\nregion = eu-west-1\n", "no profile has aws_access_key_id"),
        ("[ada]\naws_access_key_id = A\n", "profile 'ada' needs aws_secret_access_key, on one line"),
        ("[ada]\naws_secret_access_key = hunter2\n", "profile 'ada' needs aws_access_key_id, on one line"),
        ("[ada]\naws_access_key_id =\naws_secret_access_key = hunter2\n", "needs aws_access_key_id, on one line"),
        ("[ada]\naws_access_key_id = A\naws_secret_access_key = hun\n  ter2\n", "needs aws_secret_access_key, on one"),
        ("[ada]\naws_access_key_id = A/B\naws_secret_access_key = hunter2\n", "aws_access_key_id must be letters"),
        ("[ada]\naws_access_key_id = A B\naws_secret_access_key = hunter2\n", "aws_access_key_id must be letters"),
        ("aws_secret_access_key = hunter2\n", "line 1 is neither '[profile]' nor 'name = value'"),
        (f"{ADA}hunter2\n", "line 4 is neither '[profile]' nor 'name = value'"),
        (f"{ADA}{ADA}", "profile 'ada' occurs twice"),
        (f"{ADA}aws_secret_access_key = hunter2\n", "profile 'ada' has 'aws_secret_access_key' twice"),
        (ADA + ADA.replace("[ada]", "[eve]"), "profiles 'ada' and 'eve' have the same aws_access_key_id"),
        (f"{ADA}serverfull_action = invoke\n", "profile 'ada': serverfull_action is not known; did you mean"),
        (
            f"{ADA}serverfull_actions = invoke, destroy\n",
            "'destroy' is not an action; there are: invoke, event, operate",
        ),
        (f"{ADA}serverfull_actions =\n", "profile 'ada': serverfull_actions is empty"),
        (f"{ADA}serverfull_functions = ,\n", "profile 'ada': serverfull_functions is empty"),
        (ADA.encode() + b"\xff", "it is not UTF-8"),
    ],
)
def test_an_error_in_a_file_is_reported_without_its_secrets(keys, text, reason):
    with pytest.raises(ConfigurationError) as caught:
        keys.write(text).read()
    assert str(caught.value).startswith(f"SERVERFULL_CREDENTIALS_FILE {keys.path}: ")
    assert reason in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_a_missing_file_is_reported(keys):
    with pytest.raises(ConfigurationError, match="No such file or directory"):
        keys.read()


def test_a_folder_is_reported(tmp_path):
    with pytest.raises(ConfigurationError, match="Is a directory"):
        CredentialsFile(tmp_path)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o660, 0o666, 0o622, 0o777])
def test_a_file_that_other_users_may_write_is_refused(keys, mode):
    with pytest.raises(ConfigurationError, match="its group or others may write to it and add keys; run chmod go-w"):
        keys.write(ADA, mode).read()


@pytest.mark.parametrize(
    ("mode", "warned"), [(0o600, False), (0o400, False), (0o640, False), (0o604, True), (0o644, True)]
)
def test_a_file_that_other_users_may_read_is_logged(keys, caplog, mode, warned):
    assert keys.write(ADA, mode).read()("AKIDADA")
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    line = f"SERVERFULL_CREDENTIALS_FILE {keys.path}: other users may read it and sign with its keys; run chmod o-r"
    assert lines == [line] * warned


def test_a_file_is_read_again_when_it_changes(keys):
    find = keys.write(ADA).read()
    keys.write(ADA + BOB)
    assert find("AKIDBOB")
    keys.write(BOB)
    assert find("AKIDADA") is None
    assert find("AKIDBOB")


def test_a_change_of_the_same_length_at_the_same_time_is_read(keys):
    find = keys.write(ADA).read()
    for number in range(50):
        secret = f"{number:011}"
        keys.path.write_text(ADA.replace("s3cr3t/+%=x", secret))
        assert find("AKIDADA").secret == secret


def test_a_file_that_did_not_change_is_not_read_again(keys):
    find = keys.write(ADA).read()
    time.sleep(0.2)  # longer than two changes can have the same time
    before = find("AKIDADA")
    assert find("AKIDADA") is before


@contextmanager
def slow_reader(keys, find):
    """Replace the file by a pipe, so that one thread reads until the block calls ``write(text)``."""
    pipe = keys.path.with_suffix(".pipe")
    os.mkfifo(pipe, 0o600)
    pipe.replace(keys.path)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(find, "AKIDADA")
        descriptor = os.open(keys.path, os.O_WRONLY)  # returns when the reader has opened the pipe

        def write(text):
            os.write(descriptor, text.encode())
            os.close(descriptor)
            return reading.result()

        yield write


def test_one_thread_reads_a_changed_file_and_the_others_use_the_keys_before(keys):
    find = keys.write(ADA).read()
    with slow_reader(keys, find) as write:
        keys.write(BOB)  # a second change, during the read
        with ThreadPoolExecutor(8) as pool:
            assert [found.name for found in pool.map(find, ["AKIDADA"] * 100)] == ["ada"] * 100
            assert list(pool.map(find, ["AKIDBOB"] * 100)) == [None] * 100
        assert write(ADA.replace("s3cr3t/+%=x", "another")).secret == "another"
    assert find("AKIDADA") is None  # the file that was read is not the file of this name
    assert find("AKIDBOB").name == "bob"


def test_a_revoked_key_is_refused_after_any_order_of_changes_and_reads(keys):
    find = keys.write(ADA + BOB).read()
    with ThreadPoolExecutor(8) as pool:
        for number in range(100):
            kept, revoked = (ADA, "AKIDBOB") if number % 2 else (BOB, "AKIDADA")
            looking = [pool.submit(find, "AKIDADA") for _ in range(8)]
            keys.write(kept)
            for it in looking:
                it.result()
            assert find(revoked) is None


def test_equal_content_in_a_new_file_keeps_the_keys(keys):
    find = keys.write(ADA).read()
    before = find("AKIDADA")
    keys.write(ADA)
    assert find("AKIDADA") is before


def test_a_file_is_accepted_again_after_a_mistake(keys, caplog):
    find = keys.write(ADA).read()
    for text, mode in (("nonsense", 0o600), (ADA, 0o666), ("nonsense", 0o600), (ADA, 0o600)):
        keys.write(text, mode)
        assert find("AKIDADA").name == "ada"
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3
    keys.write(BOB)
    assert find("AKIDADA") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda keys: keys.write("[ada]\nhunter2"),
        lambda keys: keys.write(""),
        lambda keys: keys.write(BOB, 0o666),
        lambda keys: keys.path.chmod(0o622),
        lambda keys: keys.path.unlink(),
    ],
    ids=["nonsense", "empty", "writable", "made writable", "removed"],
)
def test_an_invalid_change_is_logged_once_and_the_keys_before_it_stay(keys, caplog, damage):
    find = keys.write(ADA).read()
    damage(keys)
    assert [find("AKIDADA").name for _ in range(3)] == ["ada"] * 3
    assert find("AKIDBOB") is None
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage().startswith(f"SERVERFULL_CREDENTIALS_FILE {keys.path}: ")
    assert record.getMessage().endswith("; the keys read before stay in force")
    assert "hunter2" not in record.getMessage()
    keys.write(BOB)
    assert find("AKIDBOB")
    assert find("AKIDADA") is None


def test_a_relative_path_starts_at_the_first_working_directory(keys, monkeypatch, tmp_path):
    keys.write(ADA)
    monkeypatch.chdir(tmp_path)
    find = CredentialsFile("keys")
    monkeypatch.chdir("/")
    keys.write(BOB)
    assert find("AKIDBOB")


def test_no_representation_shows_a_secret(keys):
    find = keys.write(BOB).read()
    shown = f"{find} {find!r} {find('AKIDBOB')} {find('AKIDBOB')!r} {parse(BOB)}"
    assert "b0b" not in shown
    assert "token'" not in shown


# Permissions


@pytest.mark.parametrize(
    ("patterns", "function", "allowed"),
    [
        (["*"], "hello", True),
        (["hello"], "hello", True),
        (["hello"], "hello:prod", True),
        (["hello"], "hello2", False),
        (["hello"], "Hello", False),
        (["report-*"], "report-daily", True),
        (["report-*"], "report", False),
        (["report-*", "hello"], "hello", True),
        (["hello:prod"], "hello:prod", True),
        (["hello:prod"], "hello", False),
        (["hello:prod"], "hello:1", False),
        (["hello:$LATEST"], "hello", True),
        (["hello:*"], "hello:1", True),
        (["h?llo"], "hello", True),
        (["hello"], "arn:aws:lambda:us-east-1:123456789012:function:hello", True),
        (["hello"], "function:hello", True),
        (["hello"], "123456789012:function:other", False),
    ],
)
def test_a_key_may_be_for_some_functions(patterns, function, allowed):
    assert Principal("ada", functions=tuple(patterns)).may(INVOKE, function_name(function)) is allowed


def test_a_key_without_listed_permissions_may_do_everything():
    ada = Credential("xyz", name="ada").principal("AKID", "arn:aws:iam::123456789012:user/")
    assert [ada.may(action, function_name("hello")) for action in (INVOKE, EVENT, OPERATE)] == [True] * 3


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("", {INVOKE, EVENT, OPERATE}),
        ("serverfull_functions = *", {INVOKE, EVENT, OPERATE}),
        ("serverfull_functions = report-*", {INVOKE, EVENT}),
        ("serverfull_functions = report-*\nserverfull_actions = invoke operate", {INVOKE, OPERATE}),
        ("serverfull_actions = event", {EVENT}),
    ],
)
def test_a_key_for_some_functions_operates_only_if_it_lists_operate(text, allowed):
    (credential,) = parse(f"{ADA}{text}\n").values()
    assert credential.principal("AKIDADA", "").actions == allowed


@pytest.mark.parametrize("wrong", [{"functions": "report-*"}, {"actions": "invoke"}, {"actions": ["destroy"]}])
def test_permissions_that_are_not_valid_are_refused(wrong):
    """Each character of a text would be a pattern, and one of them may be the star."""
    with pytest.raises(ConfigurationError):
        Credential("xyz", **wrong)
    if "functions" in wrong:
        with pytest.raises(TypeError):
            Principal("ada", **wrong)


CONSOLE = [Rule("/console", endpoint=signed_site.plain), Rule("/console/<path:it>", endpoint=signed_site.plain)]


def served(handlers_=None, **permissions):
    """Return an application whose one key has these permissions."""
    fetcher = StaticFetcher(handlers_ or {"hello": handlers.hello, "echo": handlers.echo})
    keys = {KEY: Credential(SECRET, name="ada", **permissions)}
    behind = partial(SigV4Middleware, credentials=keys, region=REGION, clock=NOON.timestamp)
    return Application(fetcher, routes=CONSOLE, authentication=behind)


def post(application, function, kind=None, mount="", **headers):
    headers |= {"X-Amz-Invocation-Type": kind} if kind else {}
    sent = by_botocore(Sent("POST", f"/2015-03-31/functions/{function}/invocations", headers))
    return call(application, sent.environ())


def get(application, target):
    return call(application, by_botocore(Sent("GET", target)).environ())


CALLS = {
    "invoke": lambda application: post(application, "hello"),
    "dry run": lambda application: post(application, "hello", "DryRun"),
    "by ARN": lambda application: post(application, "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Ahello"),
    "event": lambda application: post(application, "hello", "Event"),
    "invoke-async": lambda application: call(
        application, by_botocore(Sent("POST", "/2014-11-13/functions/hello/invoke-async/")).environ()
    ),
    "operate": lambda application: get(application, "/console"),
}


@pytest.mark.parametrize(
    ("actions", "allowed"),
    [
        (["invoke"], {"invoke", "dry run", "by ARN"}),
        (["event"], {"event", "invoke-async"}),
        (["operate"], {"operate"}),
        (["invoke", "event"], {"invoke", "dry run", "by ARN", "event", "invoke-async"}),
        (["invoke", "event", "operate"], set(CALLS)),
    ],
)
def test_a_key_may_be_for_some_actions(actions, allowed):
    application = served(actions=actions)
    responses = {call: make(application) for call, make in CALLS.items()}
    application.close()
    assert {call for call, response in responses.items() if response.status < 300} == allowed
    refused = [response for call, response in responses.items() if call not in allowed]
    assert {(response.status, response.headers["x-amzn-errortype"]) for response in refused} <= {
        (403, "AccessDeniedException")
    }


@pytest.mark.parametrize("kind", [None, "DryRun", "Event"])
@pytest.mark.parametrize(
    "function",
    [
        "echo",
        "echo:1",
        "function:echo",
        "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Aecho",
        "e%63ho",
        "absent",
    ],
)
def test_no_spelling_of_another_functions_name_is_permitted(kind, function):
    response = post(served(functions=["hello"]), function, kind)
    assert (response.status, response.headers["x-amzn-errortype"]) == (403, "AccessDeniedException")


@pytest.mark.parametrize(
    "target",
    [
        "/console/2015-03-31/functions/hello/invocations",
        "/console/x/2015-03-31/functions/hello/invocations",
        "/console/2014-11-13/functions/hello/invoke-async",
        "/2015-03-31/functions/hello/invocations/",
        "/nowhere",
    ],
)
def test_a_path_that_resembles_an_invocation_needs_operate(target):
    assert get(served(actions=["invoke", "event"]), target).status in (403, 404)
    assert get(served(), target).status in (200, 404)
    if target.startswith("/console"):
        assert get(served(actions=["invoke", "event"]), target).headers["x-amzn-errortype"] == "AccessDeniedException"


@pytest.mark.parametrize("target", ["/2015-03-31/functions/hello", "/2015-03-31/functions/hello%2Finvocations"])
def test_a_path_of_another_operation_needs_its_action(target):
    assert get(served(actions=["invoke", "event", "operate"]), target).status == 403
    assert get(served(actions=["read"]), target).status in (200, 400)


def test_a_key_for_invocations_reaches_no_other_path_of_any_application():
    keys = {KEY: Credential(SECRET, actions=["invoke"])}
    middleware = SigV4Middleware(signed_site.plain, keys, REGION, clock=NOON.timestamp)
    assert get(middleware, "/admin").status == 403
    assert get(middleware, "/lambda/2015-03-31/functions/hello/invocations").status == 200


def test_a_denied_call_has_the_message_of_aws():
    response = post(served(functions=["report-*"]), "hello")
    assert list(json.loads(response.body)) == ["Message"]
    assert message(response) == (
        "User: arn:aws:iam::123456789012:user/ada is not authorized to perform: lambda:InvokeFunction on resource: "
        "arn:aws:lambda:us-east-1:123456789012:function:hello because no identity-based policy allows the "
        "lambda:InvokeFunction action"
    )


@pytest.mark.parametrize("kind", ["RequestResponse", "Event", "DryRun"])
def test_a_denied_call_of_another_accounts_function_names_the_caller(kind):
    arn = "arn:aws:lambda:us-east-1:999999999999:function:hello"
    assert message(post(served(), arn.replace(":", "%3A"), kind)) == (
        "User: arn:aws:iam::123456789012:user/ada is not authorized to perform: lambda:InvokeFunction on resource: "
        f"{arn} because it belongs to another account than this server's (123456789012)"
    )


def test_a_denied_call_runs_nothing():
    ran = []
    application = served({"hello": lambda event, context: ran.append(event)}, functions=["other"])
    for kind in (None, "Event"):
        post(application, "hello", kind)
    application.close()
    assert ran == []


# The caller in the logs


def records_of(caplog, application, kind=None):
    with caplog.at_level(logging.INFO):
        post(application, "it", kind)
        application.close()
    return {record.getMessage().split()[0]: getattr(record, "principal", None) for record in caplog.records}


def logs(event, context):
    logger_from_context().info("logged")
    raise ValueError


@pytest.mark.parametrize("kind", [None, "Event"])
def test_the_logs_have_the_callers_name(caplog, kind):
    records = records_of(caplog, served({"it": logs}), kind)
    assert (records["logged"], records["REPORT"], records["ValueError"]) == ("ada", "ada", "ada")


def test_without_authentication_the_logs_have_no_name(caplog):
    application = Application(StaticFetcher({"it": logs}))
    assert set(records_of(caplog, application).values()) == {None}


def test_an_event_in_a_store_keeps_its_callers_name(tmp_path, caplog):
    queue = SqliteQueue(tmp_path / "events.sqlite3")
    application = Application(StaticFetcher({"it": logs}), queue=queue)

    def middleware(environ, start_response):
        environ["serverfull.principal"] = "bob"
        return application(environ, start_response)

    event = Sent("POST", "/2015-03-31/functions/it/invocations", {"X-Amz-Invocation-Type": "Event"})
    with caplog.at_level(logging.INFO), closing(application):
        assert call(middleware, event.environ()).status == 202
        (accepted,) = queue.events()
        shown = wait_until(lambda: _ended(queue.event(accepted["requestId"])))
    assert shown["principal"] == "bob"
    assert {record.principal for record in caplog.records if "logged" in record.getMessage()} == {"bob"}


def _ended(event):
    return event if event["attempts"] else None


@pytest.mark.parametrize("principal", [Principal("bob"), "bob"], ids=["a Principal", "a text"])
def test_a_users_own_middleware_may_name_the_caller(principal, caplog):
    seen = []

    def endpoint(environ, start_response):
        seen.append(environ["serverfull.principal"])
        return signed_site.plain(environ, start_response)

    application = Application(StaticFetcher({"it": logs}), routes=[Rule("/mine", endpoint=endpoint)])

    def middleware(environ, start_response):
        environ["serverfull.principal"] = principal
        return application(environ, start_response)

    with caplog.at_level(logging.INFO):
        call(middleware, Sent("POST", "/2015-03-31/functions/it/invocations").environ())
    assert [record.principal for record in caplog.records if hasattr(record, "principal")] == ["bob"] * 3
    assert call(middleware, Sent("GET", "/mine").environ()).status == 200
    assert seen == [Principal("bob")]


def test_a_principal_of_a_users_own_middleware_has_its_permissions():
    application = Application(StaticFetcher({"it": logs}))

    def middleware(environ, start_response):
        environ["serverfull.principal"] = Principal("bob", functions=("other",))
        return application(environ, start_response)

    assert call(middleware, Sent("POST", "/2015-03-31/functions/it/invocations").environ()).status == 403


# The server


def settings(keys, **more):
    functions = "hello=tests.support.handlers.hello, describe=tests.support.handlers.describe"
    return {
        "SERVERFULL_FUNCTIONS": functions,
        "SERVERFULL_CREDENTIALS_FILE": str(keys.path),
        "SERVERFULL_RUNTIME_HTTPSERVER_ADDRESS": f"127.0.0.1:{free_port()}",
        **more,
    }


def client(server, secret="s3cr3t/+%=x", key="AKIDADA", token=None, **config):
    return closing(
        boto3.client(
            "lambda",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
        )
    )


def invoke(server, **credentials):
    with client(server, **credentials) as it:
        return json.load(it.invoke(FunctionName="hello")["Payload"])


@pytest.mark.parametrize("how", ["gunicorn", "gunicorn --preload", "serve", "start_http"])
def test_a_server_with_a_file_of_keys_accepts_only_signed_requests(keys, tmp_path, how):
    keys.write(f"{ADA}\n{BOB}")
    with serving(how, tmp_path / "log", settings(keys)) as server:
        assert invoke(server) == "Hello ƛ!"
        assert invoke(server, key="AKIDBOB", secret="b0b", token="token") == "Hello ƛ!"
        with pytest.raises(ClientError, match="InvalidSignatureException"):
            invoke(server, secret="wrong")
        with pytest.raises(ClientError, match="UnrecognizedClientException"):
            invoke(server, key="AKIDBOB", secret="b0b")
        assert OverSocket(server).request("GET", "/healthcheck").body == b"."
        keys.write(BOB)
        with pytest.raises(ClientError, match="InvalidSignatureException"):
            invoke(server)
        output = server.output()
    assert "principal=ada" in output
    assert WARNING not in output


def test_boto3_presigns_an_invocation(keys, tmp_path):
    keys.write(ADA)
    with serving("gunicorn", tmp_path / "log", settings(keys)) as server, client(server) as it:
        name = "arn:aws:lambda:us-east-1:123456789012:function:hello"
        url = it.generate_presigned_url("invoke", Params={"FunctionName": name, "LogType": "None"}, ExpiresIn=3600)
        target, headers = url.removeprefix(server.url), {"X-Amz-Log-Type": "None"}
        assert OverSocket(server).request("POST", target, headers=headers).json == "Hello ƛ!"
        for refused in ({**headers, "X-Amz-Invocation-Type": "Event"}, {}):
            assert OverSocket(server).request("POST", target, headers=refused).status == 403
        assert OverSocket(server).request("POST", target, b"{}", headers).status == 403


def serving(how, log, environ):
    port = free_port()
    environ = {**environ, "SERVERFULL_RUNTIME_HTTPSERVER_ADDRESS": f"127.0.0.1:{port}"}
    if how.startswith("gunicorn"):
        return gunicorn(log, *how.split()[1:], application="serverfull_wsgi:app", env=environ)
    code = {
        "serve": ["-m", "serverfull_wsgi", "serve"],
        "start_http": ["-c", "import serverfull_wsgi as s; s.start_http()"],
    }
    return running(Server(code[how], log, port=port, env=environ))


def test_the_command_works_with_a_file_of_keys(keys):
    keys.write(ADA)
    assert serverfull("check", **settings(keys)).stdout == "ok: 2 functions\n"
    assert serverfull("functions", **settings(keys)).stdout.splitlines()[1].startswith("hello\t3 s")
    assert serverfull("invoke", "hello", **settings(keys)).returncode == 0


def test_check_reports_an_error_in_the_file(keys):
    keys.write(ADA, 0o666)
    result = serverfull("check", **settings(keys))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.endswith(f"Error: SERVERFULL_CREDENTIALS_FILE {keys.path}: {WRITABLE}\n")


WRITABLE = "its group or others may write to it and add keys; run chmod go-w"


@pytest.mark.parametrize("command", ["check", "serve"])
def test_an_application_that_would_ignore_the_file_is_refused(keys, command):
    keys.write(ADA)
    result = serverfull(command, "--app", "tests.support.site:application", **settings(keys))
    assert result.returncode != 0
    reason = "SERVERFULL_CREDENTIALS_FILE is set, but this application does not check signatures"
    assert f"--app tests.support.site:application: {reason}" in result.stderr + result.stdout


def test_an_application_with_authentication_may_be_named(keys):
    keys.write(ADA)
    result = serverfull("check", "--app", "serverfull_wsgi:app", **settings(keys))
    assert result.stdout.endswith("ok: 2 functions\n")


def test_a_server_with_an_invalid_file_of_keys_does_not_start(keys, tmp_path):
    keys.write(ADA, 0o666)
    with pytest.raises(RuntimeError, match=WRITABLE) as caught:
        with serving("gunicorn", tmp_path / "log", settings(keys)):
            pass
    assert "Traceback" not in str(caught.value)


def test_the_settings_configure_the_authentication(keys):
    keys.write(ADA)
    more = {"REGION": "eu-west-1", "ACCOUNT_ID": "111122223333", "HEALTHCHECK": "/alive", "REPLAY_GUARD": "5"}
    more["EVENTS"] = "memory"
    application = create_app(
        Settings.from_mapping(settings(keys, **{f"SERVERFULL_{name}": value for name, value in more.items()}))
    )
    assert call(application, Sent("GET", "/alive").environ()).status == 200
    assert call(application, Sent("GET", "/healthcheck").environ()).status == 403
    sent = by_botocore(Sent("POST", "/2015-03-31/functions/describe/invocations"), region="eu-west-1", when=now())
    responses = [call(application, sent.environ()) for _ in range(2)]
    assert [response.status for response in responses] == [200, 403]
    assert "eu-west-1:111122223333:function:describe" in responses[0].body.decode()


# Servers without authentication

WARNING = "every client that reaches this address can run these functions"


def first_request(application=None, **environ):
    application = application or Application(StaticFetcher({"hello": handlers.hello}))
    target = "/2015-03-31/functions/hello/invocations"
    for _ in range(3):
        call(application, Sent("GET", "/healthcheck").environ(**environ))
        call(application, Sent("POST", target).environ(**environ))


@pytest.mark.parametrize(
    ("environ", "warned"),
    [
        ({"SERVER_NAME": "127.0.0.1"}, []),
        ({"SERVER_NAME": "::1"}, []),
        ({"SERVER_NAME": "localhost", "REMOTE_ADDR": "127.0.0.1"}, []),
        ({"SERVER_NAME": "0.0.0.0", "SERVER_PORT": "80"}, ["0.0.0.0:80"]),
        ({"SERVER_NAME": "::", "SERVER_PORT": "80"}, [":::80"]),
        ({"SERVER_NAME": "10.0.0.1", "SERVER_PORT": "80", "REMOTE_ADDR": "127.0.0.1"}, ["10.0.0.1:80"]),
        ({"SERVER_NAME": "waitress.invalid", "REMOTE_ADDR": "127.0.0.1"}, []),
        ({"SERVER_NAME": "waitress.invalid", "SERVER_PORT": "80", "REMOTE_ADDR": "10.0.0.9"}, ["waitress.invalid:80"]),
        ({"SERVER_NAME": "example.com", "REMOTE_ADDR": ""}, []),
        ({"SERVER_NAME": "0.0.0.0", "REMOTE_USER": "bob"}, []),
        ({"SERVER_NAME": "0.0.0.0", "serverfull.principal": "bob"}, []),
    ],
)
def test_the_first_request_shows_whether_other_machines_can_call(caplog, environ, warned):
    first_request(**environ)
    lines = [record.getMessage() for record in caplog.records if WARNING in record.getMessage()]
    assert [line.split()[2] for line in lines] == [f"{address}:" for address in warned]


def test_a_server_with_authentication_logs_no_warning(caplog):
    first_request(served(), SERVER_NAME="0.0.0.0")
    application = Application(StaticFetcher({"hello": handlers.hello}))
    keys = {KEY: SECRET}
    middleware = SigV4Middleware(application, keys, REGION, clock=NOON.timestamp)
    first_request(middleware, SERVER_NAME="0.0.0.0")
    assert post(middleware, "hello").status == 200
    assert WARNING not in caplog.text


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("how", ["serve", "gunicorn", "hooks"])
def test_an_exposed_server_without_authentication_logs_one_warning(keys, tmp_path, signed, how):
    keys.write(ADA)
    port = free_port()
    address = f"0.0.0.0:{port}"
    environ = settings(keys) if signed else {"SERVERFULL_FUNCTIONS": "hello=tests.support.handlers.hello"}
    argv = {
        "serve": ["-m", "serverfull_wsgi", "serve", "--workers", "2"],
        "gunicorn": ["-m", "gunicorn", "serverfull_wsgi:app", "--threads", "2"],
        "hooks": ["-m", "gunicorn", "serverfull_wsgi:app", "--config", "hooks.py", "--workers", "2"],
    }[how]
    (tmp_path / "hooks.py").write_text("from serverfull_wsgi.hooks import post_worker_init, worker_exit\n")
    argv = [*argv, "--bind", address, "--no-control-socket"]
    with running(Server(argv, tmp_path / "log", port=port, env=environ, cwd=tmp_path)) as server:
        if how != "gunicorn":
            wait_until(lambda: server.output().count("Booting worker") == 2)
        for _ in range(4):
            with closing(aws_client(server.url)) if not signed else client(server) as it:
                it.invoke(FunctionName="hello")["Payload"].close()
        if not signed:
            wait_until(lambda: WARNING in server.output())  # another worker may log it
    lines = [line for line in server.output().splitlines() if WARNING in line]
    assert [f"listening on {address}: {WARNING}" in line for line in lines] == [True] * (not signed)


def test_the_first_worker_logs_the_warning_for_all(caplog):
    from serverfull_wsgi.servers.gunicorn.hooks import post_worker_init

    for age in (1, 2, 3):
        application = Application(StaticFetcher({"hello": handlers.hello}))
        cfg = SimpleNamespace(
            address=[("0.0.0.0", 80), ("127.0.0.1", 80), "unix.sock"],
            timeout=30,
            workers=3,
            graceful_timeout=30,
            worker_class_str="gthread",
        )
        post_worker_init(SimpleNamespace(wsgi=application, cfg=cfg, age=age))
        first_request(application, SERVER_NAME="0.0.0.0")
    lines = [record.getMessage() for record in caplog.records if WARNING in record.getMessage()]
    assert [line.split(": ")[0] for line in lines] == ["listening on 0.0.0.0:80"]


def test_a_debug_log_has_no_secret_signature_or_path_of_the_file(keys, tmp_path):
    keys.write(ADA)
    with serving("gunicorn", tmp_path / "log", settings(keys, SERVERFULL_RUNTIME_LOGGER_LEVEL="DEBUG")) as server:
        invoke(server)
        with pytest.raises(ClientError):
            invoke(server, secret="wrong")
        output = server.output()
    assert "request refused: InvalidSignatureException: key AKIDADA: the signature differs" in output
    assert "s3cr3t" not in output
    assert "Signature=" not in output
    assert os.fspath(keys.path) not in output
