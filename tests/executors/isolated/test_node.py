"""Functions of the Node.js runtimes, under the project's own client of the Runtime API."""

import hashlib
import json
import os
import re
import shutil
import sys
import uuid
from pathlib import Path

import pytest

from serverfull_wsgi.env_vars import RESERVED_VARIABLES
from tests.support.aws_node_client import MODULES
from tests.support.isolated import (
    FUNCTIONS,
    executing,
    function,
    invocation,
    marked,
    needs_namespaces,
    result,
    run,
    task_root,
)
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux" or not shutil.which("node"), reason="needs Linux and Node.js"),
]


@pytest.fixture(scope="module")
def executor():
    with executing() as executor:
        yield executor


def node(export, **more):
    handler = export if "." in export else f"app.{export}"
    return function(
        handler, **{"code": FUNCTIONS / "node", "runtime": "nodejs20.x", "name": handler.replace(".", "-"), **more}
    )


@pytest.mark.parametrize("event", [{"a": [1, "é"]}, None, 5, "text"])
def test_an_event_reaches_the_handler_and_returns(executor, event):
    assert result(executor, node("echo"), event) == ({} if event is None else event)


def test_results_are_compact_json(executor):
    outcome, _ = run(executor, node("echo"), {"a": 1})
    assert (outcome.payload, outcome.content_type) == (b'{"a":1}', "application/json")


def test_a_response_may_be_6_mib_and_100_bytes_long(executor):
    large = node("large", memory_size=512)
    assert len(run(executor, large, 6_291_554)[0].payload) == 6_291_556
    outcome, error = run(executor, large, 6_291_555)
    assert (outcome.function_error, error["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")
    assert result(executor, large, 3) == "xxx"


def test_every_kind_of_handler_runs(executor):
    assert result(executor, node("callback"), "now") == {"called": "now"}
    assert [result(executor, node(name)) for name in ("nothing", "silent", "silent")] == [None, None, None]
    assert result(executor, node("waiting")) == ["timer"]
    assert result(executor, node("module.handler"), "x") == hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("then", [True, False])
def test_the_callback_of_an_async_handler_answers_if_it_comes_first(executor, waits, late, then):
    handler, how = node("asyncCallback"), {"waits": waits, "late": late, "then": then}
    assert result(executor, handler, {"result": {"statusCode": 200}, **how}) == {"statusCode": 200}
    _, error = run(executor, handler, {"error": "by callback", **how})
    assert (error["errorType"], error["errorMessage"]) == ("RangeError", "by callback")


def test_the_context_has_awss_values(executor):
    call = invocation(
        name="app-context", client_context={"custom": {"k": "é"}}, trace_id="Root=1-2-3;Parent=4;Sampled=1"
    )
    seen = json.loads(executor.execute(node("context", memory_size=256), call).payload)
    assert (seen["awsRequestId"], seen["invokedFunctionArn"]) == (call.request_id, call.function_name.arn)
    assert (seen["functionName"], seen["functionVersion"], seen["memoryLimitInMB"]) == ("app-context", "$LATEST", "256")
    assert seen["logGroupName"] == "/aws/lambda/app-context"
    assert seen["clientContext"] == {"custom": {"k": "é"}}
    assert 0 < seen["remaining"] <= 30_000
    assert seen["trace"] == "Root=1-2-3;Parent=4;Sampled=1"


def test_the_context_has_the_members_of_awss_and_no_others(executor):
    call = invocation(name="app-context")
    seen = json.loads(executor.execute(node("context"), call).payload)
    assert set(seen) == {
        "callbackWaitsForEmptyEventLoop", "functionVersion", "functionName", "memoryLimitInMB", "logGroupName",
        "logStreamName", "invokedFunctionArn", "awsRequestId", "remaining",
    }  # fmt: skip
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", seen["logStreamName"])


def test_the_environment_variables_are_lambdas(executor):
    seen = result(executor, node("variables", environment={"OWN": "1"}))
    assert (seen["OWN"], seen["AWS_EXECUTION_ENV"], seen["_HANDLER"]) == ("1", "AWS_Lambda_nodejs20.x", "app.variables")
    assert (seen["AWS_LAMBDA_FUNCTION_NAME"], seen["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]) == ("app-variables", "128")
    assert (seen["LAMBDA_TASK_ROOT"], seen["TZ"]) == (task_root(executor, FUNCTIONS / "node"), ":UTC")
    assert seen["AWS_REGION"] == seen["AWS_DEFAULT_REGION"] == "us-east-1"
    allowed = RESERVED_VARIABLES | {
        "OWN", "AWS_XRAY_CONTEXT_MISSING", "AWS_XRAY_DAEMON_ADDRESS", "LANG", "TZ", "PATH", "LD_LIBRARY_PATH",
        "NODE_PATH", "TMPDIR",
    }  # fmt: skip
    assert set(seen) - allowed == set()


def test_the_log_has_the_format_of_awss(executor):
    call = invocation(name="app-log")
    log = executor.execute(node("log"), call).log.decode()
    assert re.search(rf"Z\t{call.request_id}\tINFO\tlogged 1 {{ a: 1 }}\n", log)
    assert re.search(rf"Z\t{call.request_id}\tERROR\ttwo\nlines\n", log)
    assert "written\n" in log


@pytest.mark.parametrize(
    ("export", "event", "error_type", "message"),
    [
        ("fail", "no", "TypeError", "no"),
        ("failCallback", None, "RangeError", "by callback"),
        ("notAFunction", None, "Runtime.HandlerNotFound", "app.notAFunction is not a function"),
        ("absent", None, "Runtime.HandlerNotFound", "app.absent is undefined or not exported"),
        ("lost", None, "Runtime.UnhandledPromiseRejection", "Error: lost"),
        ("syntax.handler", None, "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected token '='"),
        ("uncaught", None, "Error", "uncaught"),
    ],
)
def test_an_error_has_the_type_and_message_of_awss(executor, export, event, error_type, message):
    outcome, error = run(executor, node(export), event)
    assert outcome.function_error == "Unhandled"
    assert (error["errorType"], error["errorMessage"]) == (error_type, message)
    assert isinstance(error["trace"], list)
    assert error_type.encode() in outcome.log


@pytest.mark.parametrize(
    ("event", "error_type", "message"),
    [
        ("exit", "Runtime.ExitError", "Error: Runtime exited without providing a reason"),
        ("kill", "Runtime.ExitError", "Error: Runtime exited with error: signal: killed"),
        ("sleep", "Sandbox.Timedout", "Error: Task timed out after 2.00 seconds"),
    ],
)
def test_an_exit_has_awss_message_and_the_next_call_gets_a_new_process(executor, event, error_type, message):
    counting = node("count", timeout=2)
    call = invocation(event, name=counting.name)
    outcome = executor.execute(counting, call)
    assert outcome.function_error == "Unhandled"
    assert json.loads(outcome.payload) == {
        "errorType": error_type,
        "errorMessage": f"RequestId: {call.request_id} {message}",
    }
    assert result(executor, counting) == 1


def test_an_error_has_three_members_and_keeps_the_process(executor):
    counting = node("count", name="failing")
    assert result(executor, counting) == 1
    assert list(run(executor, counting, "fail")[1]) == ["errorType", "errorMessage", "trace"]
    assert result(executor, counting) == 3


def test_a_syntax_error_is_returned_on_every_call(executor):
    outcomes = [run(executor, node("syntax.handler", name="again")) for _ in range(5)]
    assert {error["errorType"] for _, error in outcomes} == {"Runtime.UserCodeSyntaxError"}
    assert {outcome.function_error for outcome, _ in outcomes} == {"Unhandled"}


def test_a_module_that_does_not_exist_is_an_import_error(executor):
    _, error = run(executor, node("nowhere.handler"))
    assert error["errorType"] == "Runtime.ImportModuleError"
    assert error["errorMessage"].startswith("Error: Cannot find module 'nowhere'\nRequire stack:\n- ")


def test_a_missing_package_is_an_import_error(executor):
    _, error = run(executor, node("missing.handler"))
    assert error["errorType"] == "Runtime.ImportModuleError"
    assert error["errorMessage"].startswith("Error: Cannot find module 'no-such-package'")


def test_a_result_that_is_not_json_is_an_error(executor):
    assert run(executor, node("cycle"))[1]["errorMessage"] == "Unable to stringify response body"


def test_a_thrown_value_that_is_not_an_error_has_the_type_of_the_value(executor):
    _, error = run(executor, node("text"))
    assert error == {"errorType": "string", "errorMessage": "a text", "trace": []}


def test_an_error_that_json_cannot_represent_is_answered_and_keeps_the_process(executor):
    failing = node("requestFailed", name="request-failed")
    for number in (1, 2):
        outcome, error = run(executor, failing)
        assert (error["errorType"], error["errorMessage"]) == ("Error", f"request {number} failed")
        assert b"Invoke Error \t{" in outcome.log


@pytest.mark.parametrize("runtime", ["nodejs20.x", "nodejs24.x"])
@pytest.mark.parametrize("handler", ["never", "neverAwaited"])
def test_a_promise_that_is_never_settled_is_a_nodejsexit_and_ends_the_process(executor, handler, runtime):
    outcome, error = run(executor, node(handler, runtime=runtime))
    assert error["errorType"] == "Runtime.NodeJsExit"
    assert error["errorMessage"].startswith("The Lambda runtime client detected an unexpected Node.js exit code.")
    assert b"Runtime.NodeJsExit" in outcome.log
    if runtime == "nodejs20.x":
        assert result(executor, node("never"), "callback") is None


def test_an_answer_before_an_exit_arrives(executor):
    answers = [result(executor, node("succeedAndExit"), number) for number in range(3)]
    assert answers == [0, 1, 2]


@pytest.mark.parametrize(
    ("event", "runtime"), [("reject", "nodejs20.x"), ("throw", "nodejs20.x"), ("throw", "nodejs24.x")]
)
def test_a_process_that_fails_after_its_answer_ends_and_fails_no_other_call(executor, event, runtime):
    mark = f"{event} {runtime} {uuid.uuid4()}"
    failing = node("failAfterwards", runtime=runtime, environment={"MARK": mark})
    assert result(executor, failing, event) == "answered"
    wait_until(lambda: not marked(mark))
    assert [result(executor, failing, event) for _ in range(5)] == ["answered"] * 5


def test_runtimes_from_nodejs24_on_return_the_handlers_value_and_refuse_callbacks(executor):
    assert result(executor, node("synchronous")) is None
    assert result(executor, node("synchronous", runtime="nodejs22.x")) is None
    assert result(executor, node("synchronous", runtime="nodejs24.x")) == "synchronous"
    assert result(executor, node("echo", runtime="nodejs24.x"), 1) == 1
    _, error = run(executor, node("callback", runtime="nodejs24.x"))
    assert error["errorType"] == "Runtime.CallbackHandlerDeprecated"
    _, error = run(executor, node("fail", runtime="nodejs24.x"), "no")
    assert (error["errorType"], error["errorMessage"]) == ("TypeError", "no")


def test_an_exit_and_a_timeout_are_reported_as_for_every_runtime(executor):
    assert run(executor, node("exit"), 3)[1]["errorMessage"].endswith("Runtime exited with error: exit status 3")
    assert run(executor, node("sleep", timeout=0.5), 60_000)[1]["errorType"] == "Sandbox.Timedout"
    assert result(executor, node("sleep"), 1) is None


@pytest.fixture(scope="module")
def layer(tmp_path_factory):
    """A layer with a package for `require` and `import`, with another for `import` only, and with a native module."""
    folder = tmp_path_factory.mktemp("layer")
    files = {
        "nodejs/node_modules/layered/index.js": "module.exports = 'layered'",
        "nodejs/node_modules/only-import/package.json": json.dumps(
            {"exports": {".": {"import": "./index.mjs"}, "./sub": "./sub.mjs"}}
        ),
        "nodejs/node_modules/only-import/index.mjs": (
            "import layered from 'layered'; export default layered + ' by import'"
        ),
        "nodejs/node_modules/only-import/sub.mjs": "export default 'sub'",
        "nodejs/node20/node_modules/@scope/versioned/index.js": "module.exports = 'for node20'",
        "plain/in-plain-folder/index.js": "module.exports = 'plain'",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("file", "code", "returned"),
    [
        ("index.js", "exports.handler = async () => require('layered')", "layered"),
        ("index.mjs", "import layered from 'layered'; export const handler = async () => layered", "layered"),
        ("index.mjs", "import value from 'only-import'; export const handler = async () => value", "layered by import"),
        ("index.mjs", "import value from 'only-import/sub'; export const handler = async () => value", "sub"),
        ("index.mjs", "import value from '@scope/versioned'; export const handler = async () => value", "for node20"),
        ("index.mjs", "export const handler = async () => (await import('layered')).default", "layered"),
        ("index.js", "exports.handler = async () => (await import('only-import')).default", "layered by import"),
        ("index.mjs", "import value from 'in-plain-folder'; export const handler = async () => value", "plain"),
        ("index.mjs", "import 'absent'; export const handler = async () => 1", "Cannot find package 'absent'"),
        ("index.mjs", "import './absent.mjs'; export const handler = async () => 1", "Cannot find module '"),
    ],
)
def test_packages_of_a_layer_are_found(executor, layer, tmp_path, file, code, returned):
    (tmp_path / file).write_text(code)
    layered = node("index.handler", code=tmp_path, name="layered", layers=[str(layer)])
    opt = "/opt" if executor.sandbox == "root" else layer
    layered.environment["NODE_PATH"] = f"{opt}/nodejs/node_modules:{opt}/nodejs/node20/node_modules:{opt}/plain"
    _, value = run(executor, layered)
    assert value["errorMessage"].startswith(returned) if isinstance(value, dict) else value == returned


def test_a_package_beside_the_code_comes_before_that_of_a_layer(executor, layer, tmp_path):
    (tmp_path / "node_modules/layered").mkdir(parents=True)
    (tmp_path / "node_modules/layered/index.js").write_text("module.exports = 'own'")
    (tmp_path / "index.mjs").write_text("import layered from 'layered'; export const handler = async () => layered")
    assert result(executor, node("index.handler", code=tmp_path, name="own", layers=[str(layer)])) == "own"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder of packages for all functions; `layered` is in a layer too."""
    folder = tmp_path_factory.mktemp("shared") / "node_modules"
    for name in ("layered", "@aws-sdk/client-x"):
        (folder / name).mkdir(parents=True)
        (folder / name / "index.js").write_text(f"module.exports = 'shared {name}'")
    return folder


@pytest.mark.parametrize("sandbox", ["process", "namespaces"])
def test_the_packages_for_all_functions_come_after_their_own_and_those_of_layers(sandbox, shared, layer, tmp_path):
    if sandbox == "namespaces":
        needs_namespaces()
    (tmp_path / "index.mjs").write_text("import layered from 'layered'; export const handler = async () => layered")
    (tmp_path / "sdk.js").write_text("exports.handler = async () => require('@aws-sdk/client-x')")
    (tmp_path / "later.mjs").write_text(
        "export const handler = async () => (await import('@aws-sdk/client-x')).default"
    )
    with executing(node_modules=str(shared), sandbox=sandbox) as executor:
        code = {"code": tmp_path}
        assert result(executor, node("index.handler", name="first", **code)) == "shared layered"
        assert result(executor, node("index.handler", name="second", layers=[str(layer)], **code)) == "layered"
        assert result(executor, node("sdk.handler", **code)) == "shared @aws-sdk/client-x"
        assert result(executor, node("later.handler", **code)) == "shared @aws-sdk/client-x"


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("index.mjs", "import { LambdaClient } from '@aws-sdk/client-lambda';"),
        ("index.cjs", "const { LambdaClient } = require('@aws-sdk/client-lambda');"),
    ],
)
def test_a_function_imports_the_aws_sdk_from_the_shared_folder(file, code, tmp_path):
    folder = Path(os.environ.get(MODULES, "/absent"), "node_modules")
    if not (folder / "@aws-sdk/client-lambda").is_dir():
        pytest.skip(f"the folder of {MODULES} has no @aws-sdk/client-lambda; .ci/run installs it")
    export = "export const handler =" if file.endswith(".mjs") else "exports.handler ="
    (tmp_path / file).write_text(f"{code} {export} async () => new LambdaClient({{ region: 'x' }}).config.region();")
    with executing(node_modules=str(folder)) as executor:
        assert result(executor, node("index.handler", code=tmp_path, memory_size=256)) == "x"


@pytest.mark.parametrize(
    ("file", "code", "package"),
    [
        ("index.js", "require('aws-sdk')", "aws-sdk"),
        ("index.js", "require('aws-sdk/clients/s3')", "aws-sdk"),
        ("index.mjs", "import '@aws-sdk/client-s3'", "@aws-sdk/client-s3"),
        ("index.js", "exports.handler = async () => require('@aws-sdk/lib-dynamodb')", "@aws-sdk/lib-dynamodb"),
        ("index.mjs", "export const handler = () => import('@aws-sdk/client-ses')", "@aws-sdk/client-ses"),
        ("index.js", "require('not-aws-sdk')", None),
        ("index.js", "throw null", None),
    ],
)
def test_the_log_has_the_cure_if_a_package_of_the_aws_sdk_is_missing(executor, tmp_path, file, code, package):
    (tmp_path / file).write_text(code)
    outcome, _ = run(executor, node("index.handler", code=tmp_path, name="no-sdk"))
    advice = re.search(rb"WARN\tAWS's runtimes bring (\S+), .* set SERVERFULL_NODE_MODULES to a folder", outcome.log)
    assert (advice and advice[1].decode()) == package


def test_awslambda_exists(executor, tmp_path):
    (tmp_path / "index.mjs").write_text(
        "const streaming = awslambda.streamifyResponse(async () => {});"
        "export const handler = async () => [typeof awslambda.HttpResponseStream.from, typeof streaming];"
        "export { streaming };"
    )
    assert result(executor, node("index.handler", code=tmp_path, name="aws")) == ["function", "function"]
    _, error = run(executor, node("index.streaming", code=tmp_path, name="streaming"))
    assert error["errorType"] == "Runtime.MalformedStreamingHandler"
    assert error["errorMessage"].startswith("Response streaming is not served here")
