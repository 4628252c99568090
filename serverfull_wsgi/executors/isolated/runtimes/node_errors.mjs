// Errors as the Runtime API and the log have them. The texts are AWS's. Frames of the runtime are left out.

import util from "node:util";

const HERE = new URL(".", import.meta.url).href;
const UNREADABLE =
  "callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack";

// Runtimes up to this version have callbacks. Later ones are another client of AWS's, with rules of its own.
const LAST_WITH_CALLBACKS = 22;
export const HAS_CALLBACKS = Number(/nodejs(\d+)/.exec(process.env.AWS_EXECUTION_ENV)?.[1] ?? 0) <= LAST_WITH_CALLBACKS;

// An error of the runtime's own. Its class has the name that AWS's client gives it, which JSON logs show.

export function runtimeError(name, message) {
  const className = HAS_CALLBACKS || name.endsWith("Error") ? name : `${name}Error`;
  const RuntimeError = { [className]: class extends Error {} }[className];
  const error = new RuntimeError(message);
  Object.defineProperty(error, "name", { value: `Runtime.${name}`, enumerable: !HAS_CALLBACKS });
  return error;
}

function isError(value) {
  if (!HAS_CALLBACKS) return value instanceof Error;
  if (util.types.isNativeError(value)) return true;
  const members = [value?.name, value?.message, value?.stack];
  return members.every((member) => member && typeof member === "string");
}

function linesOf(stack) {
  return stack.split("\n").filter((line) => !line.startsWith("    at ") || !line.includes(HERE));
}

const escape = (text) => text?.replace(/\x7f/g, "%7F");

// The body of an error's POST. Any value can be thrown, and its members can throw in turn.

export function describe(error) {
  try {
    if (isError(error)) {
      const stack = escape(error.stack) ?? (HAS_CALLBACKS ? undefined : "");
      return { errorType: escape(error.name), errorMessage: escape(error.message), trace: stack === "" ? [] : linesOf(stack) };
    }
    return { errorType: typeof error, errorMessage: HAS_CALLBACKS ? error.toString() : String(error), trace: [] };
  } catch {
    return { errorType: "handled", errorMessage: UNREADABLE, ...(HAS_CALLBACKS ? {} : { trace: [] }) };
  }
}

export function toError(value) {
  return value instanceof Error ? value : new Error(HAS_CALLBACKS ? value : String(value));
}

export function toJson(error) {
  try {
    return JSON.stringify(error, (_, value) => (value instanceof Error ? withMembers(value) : value));
  } catch {
    return JSON.stringify(describe(error)); // a member cannot be JSON: a cycle, a BigInt, a getter that throws
  }
}

function withMembers(error) {
  const members = { errorType: error.name, errorMessage: error.message, code: error.code, ...error };
  return typeof error.stack === "string" ? { ...members, stack: linesOf(error.stack) } : members;
}
