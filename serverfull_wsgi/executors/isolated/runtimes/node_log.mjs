// The console: each message is one frame of the telemetry descriptor, so that several lines stay one message.
//
// A frame: type and level (4 bytes), length (4), microseconds since the epoch (8), all big-endian; then the text.

import fs from "node:fs";
import util from "node:util";

import { HAS_CALLBACKS, describe, toError, toJson } from "./node_errors.mjs";

const LOG_FD = Number(process.env._LAMBDA_TELEMETRY_LOG_FD ?? 1);
delete process.env._LAMBDA_TELEMETRY_LOG_FD;
const IS_JSON = process.env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === "JSON";
const FRAME = IS_JSON ? 0xa55a0002 : 0xa55a0003;
const LEVELS = { TRACE: 4, DEBUG: 8, INFO: 12, WARN: 16, ERROR: 20, FATAL: 24 };
const REQUEST_ID = Symbol.for("aws.lambda.runtime.requestId"); // the name that AWS's client uses

const requestId = () => globalThis[REQUEST_ID] ?? (HAS_CALLBACKS ? undefined : "-");

export function setRequestId(id) {
  globalThis[REQUEST_ID] = id;
}

export function patchConsole() {
  const least = LEVELS[process.env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase()] ?? LEVELS.TRACE;
  for (const name of ["trace", "debug", "info", "warn", "error", "fatal"]) {
    const level = name.toUpperCase();
    const isLogged = LEVELS[level] >= least || level === "FATAL";
    console[name] = isLogged ? (message, ...parameters) => log(level, message, ...parameters) : () => {};
  }
  console.log = console.info;
}

export function logError(kind, error) {
  adviseOnSdk(error);
  if (IS_JSON) console.error(toError(error));
  else console.error(kind, `\t${toJson(toError(error))}`);
}

// AWS's runtimes bring the AWS SDK. The advice goes to the log, and the answer stays as on AWS without the package.

function adviseOnSdk(error) {
  const [, name] = /^(?:Error: )?Cannot find (?:module|package) '(@aws-sdk\/[^'/]+|aws-sdk)['/]/.exec(describe(error).errorMessage) ?? [];
  if (name) {
    console.warn(`AWS's runtimes bring ${name}, and this server has none: install it in the function's code directory or a layer, or set SERVERFULL_NODE_MODULES to a folder in which npm has installed it.`);
  }
}

function log(level, ...message) {
  const date = new Date();
  const text = Buffer.from(IS_JSON ? jsonLine(date, level, message) : textLine(date, level, message));
  const head = Buffer.alloc(16);
  head.writeUInt32BE((FRAME | LEVELS[level]) >>> 0, 0);
  head.writeUInt32BE(text.length, 4);
  head.writeBigUInt64BE(BigInt(date.valueOf()) * 1000n, 8);
  write(Buffer.concat([head, text]));
}

function textLine(date, level, message) {
  return `${date.toISOString()}\t${requestId()}\t${level}\t${util.format(...message)}\n`;
}

function jsonLine(date, level, message) {
  const line = { timestamp: date.toISOString(), level, requestId: requestId() };
  if (message.length === 1) {
    try {
      return JSON.stringify({ ...line, message: message[0] }, (_, value) => (value instanceof Error ? { ...members(value), ...value } : value));
    } catch {
      return JSON.stringify({ ...line, message: util.format(message[0]) });
    }
  }
  const error = message.find((parameter) => parameter instanceof Error);
  return JSON.stringify({ ...line, message: util.format(...message), ...(error && members(error)) });
}

function members(error) {
  const stackTrace = typeof error.stack === "string" ? error.stack.split("\n") : error.stack;
  return { errorType: error.constructor?.name ?? "UnknownError", errorMessage: error.message, stackTrace };
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
