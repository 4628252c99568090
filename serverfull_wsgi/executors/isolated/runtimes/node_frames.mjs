// The Runtime API over frames, on an inherited descriptor. The docstring of the package runtime_api has their form.

import fs from "node:fs";
import net from "node:net";

import { retry } from "./node_retry.mjs";

const VARIABLE = "_SERVERFULL_FRAMES"; // has the descriptor, its inode, and the API's address
const PREFIX_SIZE = 9; // a letter for the kind, and the lengths of head and body in 4 bytes each
const NEXT = prefix("N", 0, 0);
const EVENT = "E".charCodeAt(0);
const RECEIVE_SIZE = 65536;

export function openFrames() {
  const [descriptor, inode, address] = (process.env[VARIABLE] ?? "").split(" ");
  delete process.env[VARIABLE];
  const fd = Number(descriptor);
  if (!descriptor || !hasInode(fd, inode)) return undefined; // or a wrapper script has closed the connection
  if (address === process.env.AWS_LAMBDA_RUNTIME_API) return connection(fd, inode);
  fs.closeSync(fd); // a wrapper script has put a proxy between
  return undefined;
}

function hasInode(fd, inode) {
  try {
    return fs.fstatSync(fd).ino === Number(inode);
  } catch {
    return false;
  }
}

function connection(fd, inode) {
  let received = []; // pieces of a frame
  let size = 0; // of all pieces
  let wanted = PREFIX_SIZE; // as many bytes as the frame has, as far as that is known
  let resolveNext;
  let isOver = false; // the API has closed the connection

  const receive = (count, buffer) => {
    received.push(Buffer.from(buffer.subarray(0, count))); // a copy: the buffer is used again
    size += count;
    if (size < wanted) return;
    let frame = received.length === 1 ? received[0] : Buffer.concat(received);
    wanted = PREFIX_SIZE + frame.readUInt32BE(1) + frame.readUInt32BE(5);
    if (size < wanted) {
      received = [frame];
      return;
    }
    received = [];
    size = 0;
    wanted = PREFIX_SIZE;
    socket.unref();
    if (frame[0] === EVENT) resolveNext(event(frame));
  };
  const socket = new net.Socket({ fd, onread: { buffer: Buffer.allocUnsafe(RECEIVE_SIZE), callback: receive } });
  // After its last message the API ends this process. Until then nothing more happens here.
  socket.on("error", () => {}).on("close", () => {
    isOver = true;
    setInterval(() => {}, 2 ** 30);
  });
  socket.unref();

  return {
    next: () =>
      new Promise((resolve) => {
        resolveNext = resolve;
        socket.ref();
        write(fd, NEXT);
      }),
    post: (kind, requestId, body) => {
      if (isOver) return;
      if (!hasInode(fd, inode)) exitWithoutConnection(); // a file of the function may have the number
      write(fd, answer(kind, requestId, Buffer.from(body)));
    },
  };
}

function exitWithoutConnection() {
  console.error("The function has closed the connection to the Runtime API, a descriptor that it did not open");
  process.exit(1);
}

function event(frame) {
  const bodyAt = PREFIX_SIZE + frame.readUInt32BE(1);
  const headers = {};
  for (const [name, value] of Object.entries(JSON.parse(frame.utf8Slice(PREFIX_SIZE, bodyAt)))) {
    headers[name.toLowerCase()] = value;
  }
  return { headers, body: frame.utf8Slice(bodyAt) };
}

function answer(kind, requestId, body) {
  const head = Buffer.from(`${requestId ?? ""}\napplication/json`);
  const letter = !requestId ? "I" : kind === "response" ? "R" : "X";
  return Buffer.concat([prefix(letter, head.length, body.length), head, body]);
}

function prefix(letter, headSize, bodySize) {
  const bytes = Buffer.alloc(PREFIX_SIZE, letter);
  bytes.writeUInt32BE(headSize, 1);
  bytes.writeUInt32BE(bodySize, 5);
  return bytes;
}

function write(fd, data) {
  try {
    for (let written = 0; written < data.length; ) {
      written += retry(() => fs.writeSync(fd, data, written));
    }
  } catch {
    // The API has closed the connection: it refuses a response that is too large without reading it.
  }
}
