// Greet the name in the event, in capital letters.
exports.handler = async (event) => `${process.env.GREETING} ${event.name || "world"}!`.toUpperCase();
