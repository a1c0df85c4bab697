// Serves the bot over HTTP on loopback: `node server.js [PORT]`, then POST http://127.0.0.1:PORT/bot.
// Port 0 (the default) picks a free one; the first line on stdout names the URL.
"use strict";

// The SDK loads aws-sdk, which wants a region even though nothing here ever calls AWS.
process.env.AWS_REGION ??= "us-east-1";
process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = "1";

const { Assistant } = require("stentor");

const { channel, handlerService, userStorage } = require("./bot");

const app = new Assistant()
  .withChannels([channel])
  .withHandlers([])
  .withHandlerService(handlerService)
  .withUserStorage(userStorage)
  .express(undefined, "/bot");

const server = app.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(`listening http://127.0.0.1:${server.address().port}/bot`);
});
