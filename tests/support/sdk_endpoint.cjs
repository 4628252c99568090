// Sends the calls of Lambda, and no others, to AWS_ENDPOINT_URL_LAMBDA. The AWS SDK 2 does not read this variable.
const AWS = require(require.resolve("aws-sdk", { paths: [process.env.FOLDER_OF_THE_SDK] }));
AWS.config.update({ lambda: { endpoint: process.env.AWS_ENDPOINT_URL_LAMBDA } });
