export const lambdaHandler = async (event, context) => ({
  statusCode: 200,
  body: JSON.stringify({ message: "hello world", path: event.rawPath, stage: event.requestContext.stage }),
});
