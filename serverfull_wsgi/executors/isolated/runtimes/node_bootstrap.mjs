// The Node.js runtime: fetches events from the Lambda Runtime API, calls the handler in _HANDLER, and posts its results.
// AWS's own client has to compile C++ when it is installed; this one has its behaviour without.
//
//   start     load the handler; a failure is posted to init/error, and the process exits
//   loop      GET next, call the handler, POST response or error
//   exit      an error outside the handler's promise or callback is posted for the invocation, and the process exits
//
// Up to nodejs22.x, the first of these is the answer:
//
//   callback(null, result)                        posted when the event loop is empty, or at once on request
//   callback(error), context.succeed, fail, done  posted at once
//   the promise that the handler returned         posted at once
//   an empty event loop                           null; with a promise, the error Runtime.NodeJsExit and an exit
//
// From nodejs24.x on, the answer is the handler's result, awaited. An error outside ends the process with Node's own
// status and message.

import { next, post } from "./node_api.mjs";
import { defineAwslambda, runWithValues } from "./node_awslambda.mjs";
import { HAS_CALLBACKS, describe, runtimeError } from "./node_errors.mjs";
import { load } from "./node_handler.mjs";
import { logError, patchConsole, setRequestId } from "./node_log.mjs";

const BEFORE_EXIT = Symbol.for("aws.lambda.beforeExit"); // the name that AWS's client uses, and libraries read
const NO_CALLBACKS =
  "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this function to use a supported handler signature to use Node.js 24 or later. For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.";
const NEVER_SETTLED =
  "The Lambda runtime client detected an unexpected Node.js exit code. This is most commonly caused by a Promise that was never settled. For more information, see https://nodejs.org/docs/latest/api/process.html#exit-codes";
const EXIT_REJECTION = 128;
const EXIT_EXCEPTION = 129;
const EXIT_NEVER_SETTLED = 13; // Node's own status for a promise that is never settled

const whenLoopIsEmpty = (listener) => (globalThis[BEFORE_EXIT] = listener);
const isPromise = (value) => value && value.then && typeof value.then === "function";

// Answers

let requestId; // of the invocation; undefined during the start
let isAnswered = false;

// Between an answer and the next event the API reads nothing, so that a second answer would wait for that event.

function answer(kind, body) {
  if (isAnswered) return;
  post(kind, requestId, body);
  isAnswered = true;
}

function postError(error) {
  answer("error", JSON.stringify(describe(error)));
}

function exitWith(kind, error, status) {
  logError(kind, error);
  postError(error);
  process.exit(status);
}

function postResult(result) {
  let body;
  try {
    body = JSON.stringify(result === undefined ? null : result);
  } catch {
    const message = "Unable to stringify response body";
    throw HAS_CALLBACKS ? new Error(message) : runtimeError("JSONStringifyError", message);
  }
  if (body === undefined) throw new TypeError("Wrong arguments"); // a function or a symbol
  answer("response", body);
}

async function nextInvocation() {
  const { headers, body } = await next();
  requestId = headers["lambda-runtime-aws-request-id"];
  setRequestId(requestId);
  isAnswered = false;
  return { headers, body };
}

function failUnsettled() {
  exitWith("Invoke Error", runtimeError("NodeJsExit", NEVER_SETTLED), EXIT_NEVER_SETTLED);
}

// The context

function contextOf(headers) {
  const traceId = headers["lambda-runtime-trace-id"];
  if (traceId) process.env._X_AMZN_TRACE_ID = traceId;
  else delete process.env._X_AMZN_TRACE_ID;
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const parse = (name) => (headers[name] ? JSON.parse(headers[name]) : undefined);
  return {
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: parse("lambda-runtime-client-context"),
    identity: parse("lambda-runtime-cognito-identity"),
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    tenantId: headers["lambda-runtime-aws-tenant-id"],
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
}

function callbacksOf(scheduleNext) {
  let waitsForEmptyLoop = true;
  let isPosted = false;
  const fail = (error) => {
    logError("Invoke Error", error);
    postError(error);
    scheduleNext();
  };
  const succeed = (result) => {
    if (isPosted) {
      console.error("Invocation has already been reported as done. Cannot call complete more than once per invocation.");
      return;
    }
    isPosted = true;
    postResult(result);
    scheduleNext();
  };
  const done = (error, result) => {
    whenLoopIsEmpty(() => {});
    if (error !== undefined && error !== null) fail(error);
    else succeed(result);
  };
  const callback = (error, result) => {
    if ((error !== undefined && error !== null) || !waitsForEmptyLoop) done(error, result);
    else whenLoopIsEmpty(() => setImmediate(() => done(null, result)));
  };
  let isCalled = false;
  const first = (call) => (...values) => {
    if (isCalled) return;
    call(...values);
    isCalled = true; // not if the call raises, so that its error can be the answer
  };
  const context = {
    get callbackWaitsForEmptyEventLoop() {
      return waitsForEmptyLoop;
    },
    set callbackWaitsForEmptyEventLoop(value) {
      waitsForEmptyLoop = value;
    },
    succeed: first((result) => done(null, result)),
    fail: first((error) => (error === undefined || error === null ? done("handled") : done(error, null))),
    done: first(done),
  };
  return { context, callback: first(callback), giveUp: () => (isPosted = true) };
}

// The loops. Their classes have the names of AWS's, and the handler is a member, as stack traces and `this` show both.

class Runtime {
  constructor(handler) {
    this.handler = handler;
  }

  scheduleNext() {
    setImmediate(() =>
      this.handleOnce().catch((error) => {
        console.log(`Unexpected Top Level Error: ${error.toString()}`);
        postError(error);
        process.exit(EXIT_EXCEPTION);
      }),
    );
  }

  async handleOnce() {
    const { headers, body } = await nextInvocation();
    const scheduleNext = () => this.scheduleNext();
    const { context, callback, giveUp } = callbacksOf(scheduleNext);
    let result;
    whenLoopIsEmpty(() => {
      giveUp();
      if (isPromise(result)) failUnsettled();
      postResult(null);
      scheduleNext();
    });
    try {
      result = this.handler(JSON.parse(body), Object.assign(context, contextOf(headers)), callback);
      if (isPromise(result)) result.then(context.succeed, context.fail).catch(context.fail);
    } catch (error) {
      callback(error);
    }
  }
}

class BufferedInvokeProcessor {
  constructor(handler) {
    this.handler = handler;
  }

  async processInvoke(event, context) {
    try {
      const result = await this.handler(event, context);
      await new Promise(setImmediate);
      postResult(result);
    } catch (error) {
      await new Promise(setImmediate);
      logError("Invoke Error", error);
      postError(error);
    }
  }

  async run() {
    for (;;) {
      const { headers, body } = await nextInvocation();
      whenLoopIsEmpty(failUnsettled);
      const context = { ...contextOf(headers), xRayTraceId: headers["lambda-runtime-trace-id"] };
      await runWithValues(context, () => this.processInvoke(JSON.parse(body), context));
      whenLoopIsEmpty(() => {});
    }
  }
}

// The start

patchConsole();
process.on("beforeExit", () => globalThis[BEFORE_EXIT]());
whenLoopIsEmpty(() => {});
if (HAS_CALLBACKS) {
  process.on("uncaughtException", (error) => exitWith("Uncaught Exception", error, EXIT_EXCEPTION));
  process.on("unhandledRejection", (reason, promise) => {
    const error = runtimeError("UnhandledPromiseRejection", reason);
    exitWith("Unhandled Promise Rejection", Object.assign(error, { reason, promise }), EXIT_REJECTION);
  });
}

defineAwslambda();
try {
  process.chdir(process.env.LAMBDA_TASK_ROOT);
  const handler = await load(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER);
  if (HAS_CALLBACKS) new Runtime(handler).scheduleNext();
  else if (handler.length > 2) throw runtimeError("CallbackHandlerDeprecated", NO_CALLBACKS);
  else new BufferedInvokeProcessor(handler).run();
} catch (error) {
  if (HAS_CALLBACKS) exitWith("Uncaught Exception", error, EXIT_EXCEPTION);
  logError("Init Error", error);
  postError(error);
  throw error;
}
