// Rooms over Socket.IO: what a socket says goes to all in its room, which it names when it connects.
// With `recover`, whoever comes back within two minutes is given what it missed.
// Usage: node socketio.mjs PORT SECRET [recover]

import { createServer } from "node:http";
import jwt from "jsonwebtoken";
import { Server } from "socket.io";

const [port, secret, recover] = process.argv.slice(2);
const recovery = { connectionStateRecovery: { maxDisconnectionDuration: 120_000, skipMiddlewares: false } };
const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  perMessageDeflate: false,
  serveClient: false,
  pingInterval: 25_000,
  ...(recover ? recovery : {}),
});

io.use((socket, next) => {
  jwt.verify(socket.handshake.auth.token, secret, { algorithms: ["HS256"] }, (error) => next(error ?? undefined));
});

io.on("connection", (socket) => {
  const { room } = socket.handshake.auth;
  if (!socket.recovered) socket.join(room);
  socket.on("say", (text) => io.to(room).emit("said", text));
});

http.listen(Number(port), "127.0.0.1");
