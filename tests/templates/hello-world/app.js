exports.lambdaHandler = async () => ({ statusCode: 200 });
