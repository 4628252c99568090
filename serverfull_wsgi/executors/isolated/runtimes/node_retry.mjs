// A way to block on a descriptor, which Node.js sets not to block.

const PAUSE = 0.1; // milliseconds between two attempts; the API answers in about as long
const pause = new Int32Array(new SharedArrayBuffer(4));

export function retry(attempt) {
  for (;;) {
    try {
      return attempt();
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
      Atomics.wait(pause, 0, 0, PAUSE);
    }
  }
}
