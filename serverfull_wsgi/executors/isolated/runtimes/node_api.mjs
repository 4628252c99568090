// The client of the Lambda Runtime API.
//
// post() returns when the API has accepted the answer, as AWS's native client does. So a function may call its callback
// and then process.exit(), or a loop without end. Node's http module cannot block, so post() uses a socket's descriptor.

import fs from "node:fs";
import http from "node:http";
import net from "node:net";

const PREFIX = "/2018-06-01/runtime/";
const PAUSE = 0.1; // milliseconds between two attempts; the API answers in about as long
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const pause = new Int32Array(new SharedArrayBuffer(4));
let socket; // for posts; undefined if there is none, or the API has closed it

export async function connect() {
  socket ??= await new Promise((resolve, reject) => {
    const connecting = net.connect({ host, port }, () => resolve(connecting));
    connecting.setNoDelay().pause().on("error", reject); // paused, so that only post() reads from it
  });
  socket.unref();
}

export async function next() {
  await connect();
  return new Promise((resolve, reject) => {
    const options = { host, port, agent, path: `${PREFIX}invocation/next` };
    const request = http.get(options, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(chunks).toString() }));
      response.on("error", reject);
    });
    request.on("error", reject);
  });
}

export function post(operation, body) {
  const content = Buffer.from(body);
  const head = `POST ${PREFIX}${operation} HTTP/1.1\r\nHost: ${host}:${port}\r\nContent-Type: application/json\r\nContent-Length: ${content.length}\r\n\r\n`;
  try {
    write(Buffer.concat([Buffer.from(head), content]));
    readResponse();
  } catch {
    socket = undefined; // a response that is too large: the API refuses it, and closes the connection
  }
}

function write(data) {
  for (let written = 0; written < data.length; ) {
    written += retry(() => fs.writeSync(socket._handle.fd, data, written));
  }
}

function readResponse() {
  const buffer = Buffer.alloc(4096);
  for (let text = ""; ; ) {
    const size = retry(() => fs.readSync(socket._handle.fd, buffer));
    if (size === 0) throw new Error("The Runtime API has closed the connection");
    text += buffer.latin1Slice(0, size);
    const [head, body] = text.split("\r\n\r\n", 2);
    if (body === undefined || body.length < (/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0)) continue;
    if (!head.startsWith("HTTP/1.1") || /^connection: *close/im.test(head)) socket = undefined;
    return;
  }
}

function retry(attempt) {
  for (;;) {
    try {
      return attempt();
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
      Atomics.wait(pause, 0, 0, PAUSE);
    }
  }
}
