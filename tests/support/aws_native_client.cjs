// A stand-in for the C++ part of AWS's Node.js client, which cannot be compiled everywhere: three HTTP requests.
// AWS's done() and error() return when the Runtime API has answered, so a thread sends them while this one waits.

const http = require("http");
const Module = require("module");
const { Worker } = require("worker_threads");

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const PREFIX = "/2018-06-01/runtime/invocation/";
const HEADERS = ["deadline-ms", "aws-request-id", "trace-id", "invoked-function-arn", "client-context", "cognito-identity", "aws-tenant-id"];

const isAnswered = new Int32Array(new SharedArrayBuffer(4));
const program = `
  const { parentPort, workerData } = require("worker_threads");
  parentPort.on("message", ({ body, ...options }) => {
    const answered = () => { Atomics.store(workerData, 0, 1); Atomics.notify(workerData, 0); };
    require("http").request(options, (response) => response.resume().on("end", answered)).on("error", answered).end(body);
  });`;
const worker = new Worker(program, { eval: true, execArgv: [], workerData: isAnswered });
worker.unref();

function post(id, kind, body) {
  if (typeof body !== "string") throw new TypeError("Wrong arguments");
  const headers = { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
  Atomics.store(isAnswered, 0, 0);
  worker.postMessage({ host, port, method: "POST", path: `${PREFIX}${id}/${kind}`, headers, body });
  Atomics.wait(isAnswered, 0, 0);
}

function next() {
  return new Promise((resolve, reject) => {
    const request = http.get({ host, port, path: `${PREFIX}next`, agent: false }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk)).on("end", () => {
        const names = HEADERS.map((name) => `lambda-runtime-${name}`).filter((name) => response.headers[name]);
        const headers = Object.fromEntries(names.map((name) => [name, Buffer.from(response.headers[name], "latin1").toString()]));
        headers["lambda-runtime-deadline-ms"] = Number(headers["lambda-runtime-deadline-ms"]);
        resolve({ bodyJson: Buffer.concat(chunks).toString(), headers });
      });
    });
    request.on("error", reject);
  });
}

const load = Module._load;
Module._load = (request, ...more) => request === "./rapid-client.node" ? native : load(request, ...more);
const native = { next, done: (id, body) => post(id, "response", body), error: (id, body) => post(id, "error", body) };
