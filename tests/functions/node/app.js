let calls = 0;
exports.echo = async (event) => event;
exports.callback = (event, context, callback) => {
  context.callbackWaitsForEmptyEventLoop = event !== "wait";
  callback(null, { called: event });
};
exports.asyncCallback = async (event, context, callback) => {
  context.callbackWaitsForEmptyEventLoop = event.waits;
  if (event.late) await null;
  callback(event.error && new RangeError(event.error), event.result);
  if (event.then) throw new Error("too late");
  callback(null, "second");
  return "returned";
};
exports.waiting = (event, context, callback) => {
  const order = [];
  setTimeout(() => order.push("timer"), 50);
  callback(null, order);
};
exports.context = async (event, context) => ({ ...context, remaining: context.getRemainingTimeInMillis(), trace: process.env._X_AMZN_TRACE_ID });
exports.variables = async () => process.env;
exports.log = async () => {
  console.log("logged %d", 1, { a: 1 });
  console.error("two\nlines");
  process.stdout.write("written\n");
  return "ok";
};
exports.fail = async (event) => {
  throw Object.assign(new TypeError(event), { code: 5 });
};
exports.failCallback = (event, context, callback) => callback(new RangeError("by callback"));
exports.text = async () => {
  throw "a text";
};
exports.cycle = async () => {
  const cycle = {};
  cycle.self = cycle;
  return cycle;
};
exports.exit = async (event) => process.exit(event);
exports.uncaught = () => new Promise(() => setTimeout(() => { throw new Error("uncaught"); }, 10));
exports.sleep = (event) => new Promise((resolve) => setTimeout(resolve, event));
exports.nothing = async () => {};
exports.silent = () => {};
exports.synchronous = () => "synchronous";
exports.never = (event) => (event === "callback" ? undefined : new Promise(() => {}));
exports.neverAwaited = async () => {
  await new Promise(() => {});
};
exports.requestFailed = async () => {
  calls += 1;
  const request = { calls };
  request.self = request;
  throw Object.assign(new Error(`request ${calls} failed`), { request, size: 1n });
};
exports.succeedAndExit = (event, context) => {
  context.succeed(event);
  process.exit(0);
};
exports.lost = () => {
  Promise.reject(new Error("lost"));
  return new Promise((resolve) => setTimeout(resolve, 1000));
};
exports.failAfterwards = async (event) => {
  if (event === "reject") Promise.reject(new Error("afterwards"));
  if (event === "throw") setTimeout(() => { throw new Error("afterwards"); }, 5);
  return "answered";
};
exports.notAFunction = 5;
exports.count = async (event) => {
  calls += 1;
  if (event === "fail") throw new Error("counted");
  if (event === "exit") process.exit(0);
  if (event === "kill") process.kill(process.pid, "SIGKILL");
  if (event === "sleep") await new Promise((resolve) => setTimeout(resolve, 60000));
  return calls;
};
exports.large = async (event) => "x".repeat(event);
