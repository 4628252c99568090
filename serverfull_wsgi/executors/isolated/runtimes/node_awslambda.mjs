// The global `awslambda`. The names of the symbols are those of AWS's client, as libraries use them.

import { HAS_CALLBACKS } from "./node_errors.mjs";

export const STREAMING = Symbol.for("aws.lambda.runtime.handler.streaming");
const HIGH_WATER_MARK = Symbol.for("aws.lambda.runtime.handler.streaming.highWaterMark");
const PRELUDE_TYPE = "application/vnd.awslambda.http-integration-response";
const PRELUDE_END = new Uint8Array(8);

class HttpResponseStream {
  static from(stream, prelude) {
    stream.setContentType(PRELUDE_TYPE);
    const text = JSON.stringify(prelude);
    stream._onBeforeFirstWrite = (write) => [text, PRELUDE_END].forEach((part) => write(part));
    return stream;
  }
}

function streamifyResponse(handler, options) {
  handler[STREAMING] = "response";
  if (typeof options?.highWaterMark === "number") handler[HIGH_WATER_MARK] = parseInt(options.highWaterMark);
  return handler;
}

// The values of the running invocation, for libraries: from nodejs24.x on, under AWS's keys.

const KEYS = Object.fromEntries(["REQUEST_ID", "X_RAY_TRACE_ID", "TENANT_ID"].map((name) => [name, Symbol.for(`_AWS_LAMBDA_${name}`)]));

class InvokeStore {
  #values;

  isProtectedKey(key) {
    return Object.values(KEYS).includes(key);
  }

  getRequestId() {
    return this.get(KEYS.REQUEST_ID) ?? "-";
  }

  getXRayTraceId() {
    return this.get(KEYS.X_RAY_TRACE_ID);
  }

  getTenantId() {
    return this.get(KEYS.TENANT_ID);
  }

  getContext() {
    return this.#values;
  }

  hasContext() {
    return this.#values !== undefined;
  }

  get(key) {
    return this.#values?.[key];
  }

  set(key, value) {
    if (this.isProtectedKey(key)) throw new Error(`Cannot modify protected Lambda context field: ${String(key)}`);
    this.#values = { ...this.#values, [key]: value };
  }

  run(values, call) {
    this.#values = values;
    return call();
  }
}

const invokeStore = new InvokeStore();

export function runWithValues(context, call) {
  return invokeStore.run({ [KEYS.REQUEST_ID]: context.awsRequestId, [KEYS.X_RAY_TRACE_ID]: context.xRayTraceId }, call);
}

export function defineAwslambda() {
  if (["1", "true"].includes(process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA)) return;
  globalThis.awslambda = { streamifyResponse, HttpResponseStream, ...(HAS_CALLBACKS ? {} : { InvokeStore: invokeStore }) };
}
