// Answers of a custom resource to CloudFormation, with the interface of AWS's module of this name.

exports.SUCCESS = "SUCCESS";
exports.FAILED = "FAILED";

exports.send = function (event, context, responseStatus, responseData, physicalResourceId, noEcho) {
  return new Promise((resolve, reject) => {
    const body = JSON.stringify({
      Status: responseStatus,
      Reason: "See the details in CloudWatch Log Stream: " + context.logStreamName,
      PhysicalResourceId: physicalResourceId || context.logStreamName,
      StackId: event.StackId,
      RequestId: event.RequestId,
      LogicalResourceId: event.LogicalResourceId,
      NoEcho: noEcho || false,
      Data: responseData,
    });
    console.log("Response body:\n", body);
    const fail = (error) => {
      const message = String(error.message).replace(/(X-Amz-(?:Credential|Signature))=[^&\s]+/gi, "$1=*****");
      console.log("send(..) failed executing https.request(..): " + message);
      reject(context.done?.(error));
    };
    try {
      const url = new URL(event.ResponseURL);
      const headers = { "content-type": "", "content-length": Buffer.byteLength(body) };
      const request = require(url.protocol === "http:" ? "http" : "https").request(url, { method: "PUT", headers }, (response) => {
        console.log("Status code: " + response.statusCode);
        response.resume();
        resolve(context.done?.());
      });
      request.on("error", fail);
      request.end(body);
    } catch (error) {
      fail(error);
    }
  });
};
