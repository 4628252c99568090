// The client of the Lambda Runtime API: over frames if the process has inherited a connection for them, else over HTTP.
//
// next()                       returns a promise of the next event: {headers, body}, names of headers in lower case
// post(kind, requestId, body)  sends an answer: kind is "response" or "error"; without a request id, an error at the start
//
// post() returns when the answer has been sent, as AWS's native client does. So a function may call its callback and then
// process.exit(), or a loop without end.

import { openFrames } from "./node_frames.mjs";

export const { next, post } = openFrames() ?? (await import("./node_http.mjs"));
