// The Node.js runtime: fetches events from the Lambda Runtime API, calls the handler in _HANDLER, and posts its results.
// AWS's own client has to compile C++ when it is installed; this one uses Node's http module.
//
//   start     load(): import the handler; a failure is posted to init/error, and the process exits
//   loop      serve(): GET next, run() the handler, POST response or error
//   exit      exitWith(): after an error outside the handler's promise or callback
//
// The error texts and log lines are AWS's.

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
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) }));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

// Logs: each message is one frame of the telemetry descriptor, so that several lines stay one message.

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
  for (let written = 0; written < data.length; ) {
    try {
      written += fs.writeSync(LOG_FD, data, written);
    } catch (error) {
      if (error.code !== "EAGAIN") return; // the function has closed the descriptor; its result does not depend on it
    }
  }
}

for (const [name, level] of Object.entries({ log: "INFO", info: "INFO", debug: "DEBUG", trace: "TRACE", warn: "WARN", error: "ERROR" })) {
  console[name] = (...parts) => log(level, util.format(...parts));
}
console.Console = Console;

// Errors

function describe(error) {
  if (util.types.isNativeError(error) || error instanceof Error) {
    const name = (error.name ?? "Error").replaceAll("\x7f", "%7F");
    const stack = String(error.stack ?? "").replaceAll("\x7f", "%7F").split("\n").filter((line) => !line.includes(import.meta.url));
    return { errorType: name, errorMessage: String(error.message).replaceAll("\x7f", "%7F"), trace: stack };
  }
  return { errorType: typeof error, errorMessage: String(error), trace: [] };
}

function logError(kind, error) {
  const { errorType, errorMessage, trace } = describe(error);
  log("ERROR", `${kind}\t${JSON.stringify({ ...(error !== null && typeof error === "object" ? error : {}), errorType, errorMessage, stack: trace })}`);
}

async function postError(operation, error) {
  const description = describe(error);
  await call("POST", operation, JSON.stringify(description), { "Lambda-Runtime-Function-Error-Type": encodeURI(description.errorType) });
}

async function exitWith(kind, error) {
  logError(kind, error);
  if (requestId) await postError(`invocation/${requestId}/error`, error).catch(() => {});
  process.exit(128);
}

class RuntimeError extends Error {
  constructor(name, message) {
    super(message);
    this.name = `Runtime.${name}`;
  }
}

process.on("uncaughtException", (error) => exitWith("Uncaught Exception", error));
process.on("unhandledRejection", (reason, promise) => {
  const error = new RuntimeError("UnhandledPromiseRejection", util.types.isNativeError(reason) ? `${reason.name}: ${reason.message}` : String(reason));
  exitWith("Unhandled Promise Rejection", Object.assign(error, { reason, promise }));
});

// The handler string: "folder/file.export.nested"

async function load(root, handler) {
  const [, folder, file, names] = /^(.*\/)?([^./]*)\.(.+)$/.exec(handler) ?? [];
  if (file === undefined || handler.includes("..")) {
    throw new RuntimeError("MalformedHandlerName", handler.includes("..") ? `'${handler}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.` : "Bad handler");
  }
  const location = path.resolve(root, folder ?? "", file);
  const exported = names.split(".").reduce((nested, name) => nested?.[name], await importFile(location, file));
  if (exported === undefined) throw new RuntimeError("HandlerNotFound", `${handler} is undefined or not exported`);
  if (typeof exported !== "function") throw new RuntimeError("HandlerNotFound", `${handler} is not a function`);
  return exported;
}

async function importFile(location, file) {
  const existing = ["", ".js", ".mjs", ".cjs"].map((ending) => location + ending).find((name) => fs.statSync(name, { throwIfNoEntry: false })?.isFile());
  try {
    if (existing?.endsWith("js")) {
      const module = await import(pathToFileURL(existing).href);
      return module.default !== undefined && !existing.endsWith(".mjs") ? { ...module, ...module.default } : module;
    }
    return createRequire(location)(existing ?? location); // a file without an ending, or a folder with a package.json
  } catch (error) {
    if (error instanceof SyntaxError) throw Object.assign(new RuntimeError("UserCodeSyntaxError", String(error)), { stack: error.stack });
    if (/^(MODULE_NOT_FOUND|ERR_MODULE_NOT_FOUND)$/.test(error?.code)) {
      throw new RuntimeError("ImportModuleError", `Error: ${existing ? error.message : `Cannot find module '${file}'`}`);
    }
    throw error;
  }
}

// Invocations

function createContext(headers, finish) {
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
  let resolveWithNull;
  return new Promise((resolve, reject) => {
    let context;
    let isFinished = false; // the callback's result or the promise's, whichever comes first, is the answer
    resolveWithNull = () => resolve(null); // the event loop is empty, so that no result can follow
    process.once("beforeExit", resolveWithNull);
    const finish = (error, result) => {
      if (isFinished) return;
      isFinished = true;
      process.removeListener("beforeExit", resolveWithNull);
      const complete = () => (error !== null && error !== undefined ? reject(error) : resolve(result));
      // The result of a callback waits for an empty event loop, unless the context turns that off.
      if (context.callbackWaitsForEmptyEventLoop) process.once("beforeExit", complete);
      else setImmediate(complete);
    };
    context = createContext(headers, finish);
    const result = handler(event, context, finish);
    const unlessFinished = (settle) => (value) => {
      if (!isFinished) settle(value);
      isFinished = true;
    };
    if (typeof result?.then === "function") result.then(unlessFinished(resolve), unlessFinished(reject));
    else if (handler.length < 3 && result !== undefined) resolve(result);
  }).finally(() => process.removeListener("beforeExit", resolveWithNull));
}

function marshal(result) {
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
      const response = marshal(await run(handler, JSON.parse(body), headers));
      await call("POST", `invocation/${requestId}/response`, response);
    } catch (error) {
      logError("Invoke Error", error);
      await postError(`invocation/${requestId}/error`, error);
    }
  }
}

try {
  process.chdir(process.env.LAMBDA_TASK_ROOT);
  serve(await load(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER));
} catch (error) {
  logError("Uncaught Exception", error);
  await postError("init/error", error);
  process.exit(1);
}
