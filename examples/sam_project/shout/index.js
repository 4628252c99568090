// Greets whom the event names, loudly.
exports.handler = async (event) => `${process.env.GREETING} ${event.name || "world"}!`.toUpperCase();
