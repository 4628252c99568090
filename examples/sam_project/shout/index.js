// Greet the name in the event, or in the body of an HTTP request, in capital letters.
exports.handler = async (event) => {
  const body = Buffer.from(event.body || "", event.isBase64Encoded ? "base64" : "utf8").toString();
  const greeting = `${process.env.GREETING} ${event.name || body || "world"}!`.toUpperCase();
  return event.requestContext ? { statusCode: 200, body: greeting } : greeting; // a REST API needs a status
};
