// Starts AWS's client of version 3 as its runtime does; the argument is the client's file.
const { run } = await import(process.argv[2]);
await run(process.cwd(), process.env._HANDLER);
