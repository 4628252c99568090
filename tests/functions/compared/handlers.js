// Small handlers that both AWS's client and the project's run. Each export but the first is one comparison.

exports.handler = function (event, ...more) {
  return exports[event.name].call(this, event, ...more);
};

const later = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const cycle = (value = {}) => Object.assign(value, { self: value });
const throwing = (value, name) => Object.defineProperty(value, name, { enumerable: true, get() { throw new Error(`no ${name}`); } });

// Results

exports.returnsObject = async (event) => ({ statusCode: 200, event });
exports.returnsNothing = async () => {};
exports.returnsNull = async () => null;
exports.returnsZero = async () => 0;
exports.returnsText = async () => "é\u2028漢\ud83d\ude00\x7f";
exports.returnsLoneSurrogate = async () => "\ud800";
exports.returnsNaN = async () => [NaN, Infinity, -0, undefined, () => 1];
exports.returnsUndefinedMember = async () => ({ a: undefined, b: 1 });
exports.returnsDate = async () => new Date(0);
exports.returnsBuffer = async () => Buffer.from("ab");
exports.returnsMap = async () => new Map([[1, 2]]);
exports.returnsError = async () => new Error("a result");
exports.returnsToJson = async () => ({ toJSON: () => "converted" });
exports.returnsFunction = async () => () => 1;
exports.returnsSymbol = async () => Symbol("s");
exports.returnsBigInt = async () => 10n;
exports.returnsNestedBigInt = async () => ({ n: [1n] });
exports.returnsCycle = async () => cycle();
exports.returnsThrowingGetter = async () => throwing({}, "member");
exports.returnsThrowingToJson = async () => ({ toJSON() { throw new RangeError("not now"); } });
exports.returnsSynchronously = () => "synchronous";
exports.returnsThenable = () => ({ then: (resolve) => resolve("thenable") });
exports.returnsRejectedThenable = () => ({ then: (resolve, reject) => reject(new RangeError("thenable")) });
exports.returnsPromise = () => later(5).then(() => "promise");
exports.returnsLarge = async () => "x".repeat(2_000_000);
exports.takesThree = (event, context, callback) => "ignored";

// Errors

exports.throwsError = async () => { throw new Error("nope"); };
exports.throwsTypeError = async () => null.member;
exports.throwsSynchronously = () => { throw new SyntaxError("at once"); };
exports.throwsEmpty = async () => { throw new Error(); };
exports.throwsText = async () => { throw "a text"; };
exports.throwsNumber = async () => { throw 5; };
exports.throwsZero = async () => { throw 0; };
exports.throwsBigInt = async () => { throw 5n; };
exports.throwsTrue = async () => { throw true; };
exports.throwsObject = async () => { throw { code: 404, message: "missing" }; };
exports.throwsArray = async () => { throw [1, 2]; };
exports.throwsFunction = async () => { throw function named() {}; };
exports.throwsSymbol = async () => { throw Symbol("s"); };
exports.throwsNull = async () => { throw null; };
exports.throwsUndefined = async () => { throw undefined; };
exports.throwsNullSynchronously = () => { throw null; };
exports.throwsWithoutPrototype = async () => { throw Object.create(null); };
exports.throwsErrorWithoutPrototype = async () => { throw Object.setPrototypeOf(new Error("bare"), null); };
exports.throwsDuckTyped = async () => { throw { name: "Duck", message: "quack", stack: "Duck: quack\n    at pond" }; };
exports.throwsHalfDuckTyped = async () => { throw { name: "Duck", message: "quack" }; };
exports.throwsClass = async () => { throw new (class Custom extends Error { name = "CustomName"; code = "E1"; })("custom"); };
exports.throwsUnnamedClass = async () => { throw new (class Custom extends Error {})("custom"); };
exports.throwsAggregate = async () => { throw new AggregateError([new Error("one"), new RangeError("two")], "several"); };
exports.throwsCause = async () => { throw new Error("outer", { cause: new TypeError("inner") }); };
exports.throwsCycle = async () => { throw cycle(new Error("cyclic")); };
exports.throwsDeepCycle = async () => { throw Object.assign(new Error("request failed"), { config: { a: 1 }, request: cycle(), code: "ECONN" }); };
exports.throwsCyclicCause = async () => { const error = new Error("own cause"); error.cause = error; throw error; };
exports.throwsBigIntMember = async () => { throw Object.assign(new Error("big"), { size: 5n }); };
exports.throwsThrowingGetter = async () => { throw throwing(new Error("getter"), "member"); };
exports.throwsThrowingMessage = async () => { throw throwing(new Error("x"), "message"); };
exports.throwsThrowingStack = async () => { throw throwing(new Error("x"), "stack"); };
exports.throwsThrowingName = async () => { throw throwing(new Error("x"), "name"); };
exports.throwsThrowingToJson = async () => { throw Object.assign(new Error("json"), { toJSON() { throw new Error("no json"); } }); };
exports.throwsThrowingToString = async () => { throw { toString() { throw new Error("no text"); } }; };
exports.throwsDelete = async () => { throw new Error("a\x7fb"); };
exports.throwsNonAscii = async () => { throw Object.assign(new Error("é 漢 \ud83d\ude00\nsecond line"), { name: "Fehlerä" }); };
exports.throwsLoneSurrogate = async () => { throw Object.assign(new Error("\ud800"), { name: "\ud800" }); };
exports.throwsNameWithLineEnd = async () => { throw Object.assign(new Error("x"), { name: "A\r\nX-Evil: 1" }); };
exports.throwsNumberName = async () => { throw Object.assign(new Error("x"), { name: 5 }); };
exports.throwsNumberMessage = async () => { throw Object.assign(new Error("x"), { message: 5 }); };
exports.throwsNoStack = async () => { throw Object.assign(new Error("x"), { stack: undefined }); };
exports.throwsArrayStack = async () => { throw Object.assign(new Error("x"), { stack: ["a"] }); };
exports.throwsFrozen = async () => { throw Object.freeze(new Error("frozen")); };
exports.throwsProxy = async () => { throw new Proxy(new Error("proxied"), {}); };
exports.throwsOwnMembers = async () => { throw Object.assign(new Error("own"), { errorType: "Other", errorMessage: "other", trace: 5, list: [new Error("inner")], date: new Date(0) }); };
exports.throwsFromAnotherRealm = async () => require("vm").runInNewContext("throw new RangeError('realm')");
exports.throwsInNestedCall = async () => { const deep = () => [1].map(() => { throw new Error("deep"); }); deep(); };
exports.rejects = () => Promise.reject(new Error("rejected"));
exports.rejectsNothing = () => Promise.reject();

// Callbacks

exports.callbackResult = (event, context, callback) => callback(null, { called: event });
exports.callbackNothing = (event, context, callback) => callback();
exports.callbackUndefinedError = (event, context, callback) => callback(undefined, "result");
exports.callbackError = (event, context, callback) => callback(new RangeError("by callback"));
exports.callbackText = (event, context, callback) => callback("failed");
exports.callbackFalse = (event, context, callback) => callback(false, "result");
exports.callbackZero = (event, context, callback) => callback(0, "result");
exports.callbackObject = (event, context, callback) => callback({ message: "plain" });
exports.callbackCycle = (event, context, callback) => callback(null, cycle());
exports.callbackCycleAtOnce = (event, context, callback) => { context.callbackWaitsForEmptyEventLoop = false; callback(null, cycle()); };
exports.callbackCyclicError = (event, context, callback) => callback(cycle(new Error("cyclic")));
exports.callbackTwice = (event, context, callback) => { callback(null, "first"); callback(null, "second"); };
exports.callbackThenError = (event, context, callback) => { callback(null, "first"); callback(new Error("second")); };
exports.callbackErrorThenResult = (event, context, callback) => { callback(new Error("first")); callback(null, "second"); };
exports.callbackThenThrow = (event, context, callback) => { callback(null, "first"); throw new Error("second"); };
exports.callbackErrorThenThrow = (event, context, callback) => { callback(new Error("first")); throw new Error("second"); };
exports.callbackInTimer = (event, context, callback) => { setTimeout(() => callback(null, "timer"), 5); };
exports.callbackErrorInTimer = (event, context, callback) => { setTimeout(() => callback(new Error("timer")), 5); };
exports.callbackWaits = (event, context, callback) => { const list = []; setTimeout(() => list.push("timer"), 20); callback(null, list); };
exports.callbackDoesNotWait = (event, context, callback) => { context.callbackWaitsForEmptyEventLoop = false; const list = []; setTimeout(() => list.push("timer"), 20).unref(); callback(null, list); };
exports.callbackErrorDoesNotWait = (event, context, callback) => { setInterval(() => {}, 1000); callback(new Error("at once")); };
exports.succeedDoesNotWait = (event, context) => { setInterval(() => {}, 1000); context.succeed("at once"); };
exports.failDoesNotWait = (event, context) => { setInterval(() => {}, 1000); context.fail(new Error("at once")); };
exports.doneDoesNotWait = (event, context) => { setInterval(() => {}, 1000); context.done(null, "at once"); };
exports.succeeds = (event, context) => context.succeed({ succeeded: true });
exports.succeedsNothing = (event, context) => context.succeed();
exports.succeedsCycle = (event, context) => context.succeed(cycle());
exports.fails = (event, context) => context.fail(new TypeError("failed"));
exports.failsNothing = (event, context) => context.fail();
exports.failsText = (event, context) => context.fail("text");
exports.done = (event, context) => context.done(null, "done");
exports.doneError = (event, context) => context.done(new Error("done"), "ignored");
exports.doneNothing = (event, context) => context.done();
exports.succeedThenFail = (event, context) => { context.succeed("first"); context.fail(new Error("second")); };
exports.succeedThenCallback = (event, context, callback) => { context.succeed("first"); callback(new Error("second")); };
exports.succeedThenLoop = (event, context) => { context.succeed("first"); const end = Date.now() + 50; while (Date.now() < end); };
exports.succeedThenExit = (event, context) => { context.succeed("first"); process.exit(7); };
exports.callbackErrorThenExit = (event, context, callback) => { callback(new Error("first")); process.exit(0); };
exports.asyncCallback = async (event, context, callback) => callback(null, { statusCode: 200 });
exports.asyncCallbackError = async (event, context, callback) => callback(new RangeError("first"));
exports.asyncCallbackThenReturn = async (event, context, callback) => { callback(null, "first"); return "second"; };
exports.asyncCallbackThenThrow = async (event, context, callback) => { callback(null, "first"); throw new Error("second"); };
exports.asyncCallbackLater = async (event, context, callback) => { setTimeout(() => callback(null, "late"), 5); };
exports.asyncSucceed = async (event, context) => { context.succeed("first"); return "second"; };
exports.promiseAndCallback = (event, context, callback) => { setTimeout(() => callback(null, "callback"), 50).unref(); return later(5).then(() => "promise"); };
exports.silent = () => {};
exports.silentAfterTimer = () => { setTimeout(() => {}, 5); };

// Ends

exports.uncaught = () => new Promise(() => setTimeout(() => { throw new Error("uncaught"); }, 5));
exports.uncaughtText = () => new Promise(() => setTimeout(() => { throw "uncaught text"; }, 5));
exports.uncaughtNull = () => new Promise(() => setTimeout(() => { throw null; }, 5));
exports.uncaughtCycle = () => new Promise(() => setTimeout(() => { throw cycle(new Error("uncaught cycle")); }, 5));
exports.unhandled = () => { Promise.reject(new Error("lost")); return later(50); };
exports.unhandledText = () => { Promise.reject("lost text"); return later(50); };
exports.unhandledNothing = () => { Promise.reject(); return later(50); };
exports.unhandledObject = () => { Promise.reject({ a: 1 }); return later(50); };
exports.unhandledSymbol = () => { Promise.reject(Symbol("lost")); return later(50); };
exports.unhandledCycle = () => { Promise.reject(cycle(new Error("lost cycle"))); return later(50); };
exports.exits = async () => process.exit(3);
exports.exitsZero = async () => process.exit(0);
exports.aborts = async () => process.kill(process.pid, "SIGKILL");
exports.emitsError = () => new Promise(() => setTimeout(() => new (require("events"))().emit("error", new Error("emitted")), 5));

// Logs

exports.logs = async () => { console.log("a %s %d", "b", 1, { c: [1] }); console.info("info"); console.debug("debug"); console.warn("warn"); console.error("error"); console.trace("trace"); };
exports.logsFatal = async () => console.fatal("fatal", 1);
exports.logsLines = async () => { console.log("two\nlines\r\n"); console.error("two\nlines"); };
exports.logsNothing = async () => console.log();
exports.logsError = async () => console.error(new Error("logged").message, Object.assign(new Error("x"), { stack: "stack" }));
exports.logsBinary = async () => console.log("\x00\x1b[31m\ud800é");
exports.logsObjects = async () => console.log({ a: { b: { c: { d: 1 } } } }, [undefined], null, 5n, Symbol("s"));
exports.writes = async () => { process.stdout.write("out\n"); process.stderr.write("err\n"); };
exports.logsAfterwards = async () => { setImmediate(() => console.log("afterwards")); };

// The context, and the surroundings

exports.contextMembers = async (event, context) => Object.entries(context).map(([name, value]) => [name, typeof value]).sort();
exports.contextValues = async (event, context) => [...Object.entries(context).sort(), Math.round(context.getRemainingTimeInMillis() / 10_000)];
exports.contextChanged = async (event, context) => { context.awsRequestId = "other"; context.done = undefined; return context.awsRequestId; };
exports.callCount = async (event, context) => (globalThis.count = (globalThis.count ?? 0) + 1);
exports.receiver = async function () { return [typeof this, this.constructor.name, Object.keys(this).includes("handler"), this.missing]; };
exports.strictReceiver = async function () { "use strict"; return this?.missing; };
exports.parameterCount = async (...parameters) => parameters.length;
exports.argv = async () => [process.cwd(), process.argv.length > 1];
exports.variables = async () => Object.keys(process.env).filter((name) => /^(AWS|_LAMBDA|LAMBDA|_HANDLER|_X)/.test(name)).sort();
exports.traceId = async () => process.env._X_AMZN_TRACE_ID;
exports.requestIdSymbol = async () => globalThis[Symbol.for("aws.lambda.runtime.requestId")];
exports.listeners = async () => ["uncaughtException", "unhandledRejection", "beforeExit", "exit"].map((name) => process.listenerCount(name));
exports.awslambda = async () => Object.entries(globalThis.awslambda).map(([name, value]) => [name, typeof value]).sort();
const store = () => globalThis.awslambda.InvokeStore;
const valuesOf = (store) => store && [store.getRequestId(), store.getXRayTraceId(), store.getTenantId(), store.hasContext(), store.get("own")];
exports.invokeStore = async () => [valuesOf(store()), await later(5), valuesOf(store())];
exports.invokeStoreSet = async () => (store()?.set("own", 1), valuesOf(store()));
exports.invokeStoreProtected = async () => store()?.set(Symbol.for("_AWS_LAMBDA_REQUEST_ID"), "other");
exports.invokeStoreRun = async () => store()?.run({ own: 2 }, () => valuesOf(store()));
exports.invokeStoreContext = async () => Object.getOwnPropertySymbols(store()?.getContext() ?? {}).map(String);
exports.mainModule = async () => [typeof require.main, typeof module.parent, module.children.length];
