// The Runtime API over HTTP. Node's http module cannot block, so post() uses a socket's descriptor.

import fs from "node:fs";
import http from "node:http";
import net from "node:net";

import { retry } from "./node_retry.mjs";

const PREFIX = "/2018-06-01/runtime/";
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
let socket; // for posts; undefined if there is none, or the API has closed it

async function connect() {
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
      response.on("end", () => resolve({ headers: decoded(response.headers), body: Buffer.concat(chunks).toString() }));
      response.on("error", reject);
    });
    request.on("error", reject);
  });
}

// A client context is UTF-8, and Node.js reads headers as Latin-1.
function decoded(headers) {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Buffer.from(value, "latin1").toString()]));
}

export function post(kind, requestId, body) {
  const operation = requestId ? `invocation/${encodeURIComponent(requestId)}/${kind}` : "init/error";
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

await connect(); // so that post() works from the start
