// The Node.js runtime: takes events from the Lambda Runtime API and gives them to the handler that _HANDLER names.
// AWS's own client compiles C++ when it is installed, so this one speaks HTTP through Node's own module.

import { Console } from "node:console";
import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import util from "node:util";
import { pathToFileURL } from "node:url";

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const PREFIX = "/2018-06-01/runtime/";
const LOG_FD = Number(process.env._LAMBDA_TELEMETRY_LOG_FD ?? 1);
delete process.env._LAMBDA_TELEMETRY_LOG_FD;
const LEVELS = { TRACE: 0x07, DEBUG: 0x0b, INFO: 0x0f, WARN: 0x13, ERROR: 0x17, FATAL: 0x1b };
let requestId;

function call(method, operation, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const options = { host, port, agent, method, path: PREFIX + operation, headers };
    if (body !== undefined) options.headers = { "Content-Type": "application/json", ...headers, "Content-Length": Buffer.byteLength(body) };
    const request = http.request(options, (response) => {
      const pieces = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(pieces) }));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

// Logs: a line of AWS's form in one frame, so that a message of several lines stays one.

function log(level, message) {
  const line = `${new Date().toISOString()}\t${requestId ?? "undefined"}\t${level}\t${message}`;
  const text = Buffer.from(line.replaceAll("\n", "\r") + "\n");
  const frame = Buffer.alloc(16);
  frame.writeUInt32BE((0xa55a0000 | LEVELS[level]) >>> 0, 0);
  frame.writeUInt32BE(text.length, 4);
  frame.writeBigUInt64BE(BigInt(Date.now()) * 1000n, 8);
  write(Buffer.concat([frame, text]));
}

function write(data) {
  for (let done = 0; done < data.length; ) {
    try {
      done += fs.writeSync(LOG_FD, data, done);
    } catch (error) {
      if (error.code !== "EAGAIN") return; // it was closed: that is not the function's failure
    }
  }
}

for (const [name, level] of Object.entries({ log: "INFO", info: "INFO", debug: "DEBUG", trace: "TRACE", warn: "WARN", error: "ERROR" })) {
  console[name] = (...parts) => log(level, util.format(...parts));
}
console.Console = Console;

// Failures

function described(error) {
  if (util.types.isNativeError(error) || error instanceof Error) {
    const name = (error.name ?? "Error").replaceAll("\x7f", "%7F");
    const stack = String(error.stack ?? "").replaceAll("\x7f", "%7F").split("\n").filter((line) => !line.includes(import.meta.url));
    return { errorType: name, errorMessage: String(error.message).replaceAll("\x7f", "%7F"), trace: stack };
  }
  return { errorType: typeof error, errorMessage: String(error), trace: [] };
}

function logged(kind, error) {
  const { errorType, errorMessage, trace } = described(error);
  log("ERROR", `${kind}\t${JSON.stringify({ ...(error !== null && typeof error === "object" ? error : {}), errorType, errorMessage, stack: trace })}`);
}

async function failed(operation, error) {
  const description = described(error);
  await call("POST", operation, JSON.stringify(description), { "Lambda-Runtime-Function-Error-Type": encodeURI(description.errorType) });
}

async function leave(kind, error) {
  logged(kind, error);
  if (requestId) await failed(`invocation/${requestId}/error`, error).catch(() => {});
  process.exit(128);
}

class RuntimeError extends Error {
  constructor(name, message) {
    super(message);
    this.name = `Runtime.${name}`;
  }
}

process.on("uncaughtException", (error) => leave("Uncaught Exception", error));
process.on("unhandledRejection", (reason, promise) => {
  const error = new RuntimeError("UnhandledPromiseRejection", util.types.isNativeError(reason) ? `${reason.name}: ${reason.message}` : String(reason));
  leave("Unhandled Promise Rejection", Object.assign(error, { reason, promise }));
});

// The handler: "folder/file.export.nested"

async function load(root, handler) {
  const [, folder, file, names] = /^(.*\/)?([^./]*)\.(.+)$/.exec(handler) ?? [];
  if (file === undefined || handler.includes("..")) {
    throw new RuntimeError("MalformedHandlerName", handler.includes("..") ? `'${handler}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.` : "Bad handler");
  }
  const place = path.resolve(root, folder ?? "", file);
  const found = names.split(".").reduce((nested, name) => nested?.[name], await imported(place, file));
  if (found === undefined) throw new RuntimeError("HandlerNotFound", `${handler} is undefined or not exported`);
  if (typeof found !== "function") throw new RuntimeError("HandlerNotFound", `${handler} is not a function`);
  return found;
}

async function imported(place, file) {
  const existing = ["", ".js", ".mjs", ".cjs"].map((end) => place + end).find((name) => fs.statSync(name, { throwIfNoEntry: false })?.isFile());
  try {
    if (existing?.endsWith("js")) {
      const module = await import(pathToFileURL(existing).href);
      return module.default !== undefined && !existing.endsWith(".mjs") ? { ...module, ...module.default } : module;
    }
    return createRequire(place)(existing ?? place); // without an ending, or a folder with a package of its own
  } catch (error) {
    if (error instanceof SyntaxError) throw Object.assign(new RuntimeError("UserCodeSyntaxError", String(error)), { stack: error.stack });
    if (/^(MODULE_NOT_FOUND|ERR_MODULE_NOT_FOUND)$/.test(error?.code)) {
      throw new RuntimeError("ImportModuleError", `Error: ${existing ? error.message : `Cannot find module '${file}'`}`);
    }
    throw error;
  }
}

// Invocations

function contextOf(headers, finish) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const json = (name) => (headers[name] ? JSON.parse(Buffer.from(headers[name], "latin1").toString()) : undefined);
  const context = {
    callbackWaitsForEmptyEventLoop: true,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: json("lambda-runtime-client-context"),
    identity: json("lambda-runtime-cognito-identity"),
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
  };
  if (finish) {
    context.done = finish;
    context.succeed = (result) => finish(null, result);
    context.fail = (error) => finish(error ?? "handled");
  }
  return context;
}

function run(handler, event, headers) {
  let idle;
  return new Promise((resolve, reject) => {
    let context;
    idle = () => resolve(null); // nothing is left to be done, so there will be no other answer
    process.once("beforeExit", idle);
    const finish = (error, result) => {
      process.removeListener("beforeExit", idle);
      const settle = () => (error !== null && error !== undefined ? reject(error) : resolve(result));
      // A callback's answer waits until nothing else is to be done, unless the context says it need not.
      if (context.callbackWaitsForEmptyEventLoop) process.once("beforeExit", settle);
      else setImmediate(settle);
    };
    context = contextOf(headers, finish);
    const result = handler(event, context, finish);
    if (typeof result?.then === "function") result.then(resolve, reject);
    else if (handler.length < 3 && result !== undefined) resolve(result);
  }).finally(() => process.removeListener("beforeExit", idle));
}

function marshalled(result) {
  try {
    return JSON.stringify(result === undefined ? null : result) ?? "null";
  } catch (error) {
    throw new Error(`Unable to stringify response body as json: ${error.message}`);
  }
}

async function serve(handler) {
  for (;;) {
    const { headers, body } = await call("GET", "invocation/next");
    requestId = headers["lambda-runtime-aws-request-id"];
    if (headers["lambda-runtime-trace-id"]) process.env._X_AMZN_TRACE_ID = headers["lambda-runtime-trace-id"];
    else delete process.env._X_AMZN_TRACE_ID;
    try {
      const answer = marshalled(await run(handler, JSON.parse(body), headers));
      await call("POST", `invocation/${requestId}/response`, answer);
    } catch (error) {
      logged("Invoke Error", error);
      await failed(`invocation/${requestId}/error`, error);
    }
  }
}

try {
  process.chdir(process.env.LAMBDA_TASK_ROOT);
  serve(await load(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER));
} catch (error) {
  logged("Uncaught Exception", error);
  await failed("init/error", error);
  process.exit(1);
}
