// Calls a server with the AWS SDK for JavaScript and prints what came back, as JSON.
const { LambdaClient, InvokeCommand } = require("@aws-sdk/client-lambda");

const client = new LambdaClient({ endpoint: process.argv[2], region: "us-east-1" });

async function invoke(input) {
  const answer = await client.send(new InvokeCommand(input));
  const text = Buffer.from(answer.Payload ?? []).toString();
  return { answer, brief: { status: answer.StatusCode, version: answer.ExecutedVersion ?? null,
    payload: text ? JSON.parse(text) : null, error: answer.FunctionError ?? null } };
}

async function refused(input) {
  try {
    await invoke(input);
  } catch (error) {
    return { name: error.name, message: error.message };
  }
}

async function main() {
  const broken = await invoke({ FunctionName: "broken" });
  const noisy = await invoke({ FunctionName: "noisy", LogType: "Tail" });
  console.log(JSON.stringify({
    call: (await invoke({ FunctionName: "echo", Payload: '{"n": 1}' })).brief,
    alias: (await invoke({ FunctionName: "hello", Qualifier: "prod" })).brief,
    event: (await invoke({ FunctionName: "hello", InvocationType: "Event" })).brief,
    dryRun: (await invoke({ FunctionName: "hello", InvocationType: "DryRun" })).brief,
    broken: broken.brief,
    tail: Buffer.from(noisy.answer.LogResult, "base64").toString(),
    absent: await refused({ FunctionName: "absent" }),
    notJson: await refused({ FunctionName: "hello", Payload: "{" }),
    attempts: broken.answer.$metadata.attempts,
  }));
}

main();
