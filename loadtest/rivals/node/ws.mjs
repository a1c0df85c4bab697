// Rooms over the `ws` package: what a socket says goes to all in its room, which its URL names.
// Usage: node ws.mjs PORT

import { WebSocketServer } from "ws";

const PING_EVERY_MS = 25_000;

const rooms = new Map();
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), perMessageDeflate: false });

server.on("connection", (socket, request) => {
  const name = new URL(request.url, "http://localhost").searchParams.get("room");
  const room = rooms.get(name) ?? new Set();
  rooms.set(name, room.add(socket));
  socket.on("message", (text) => {
    for (const peer of room) peer.send(text, { binary: false });
  });
  socket.on("close", () => room.delete(socket));
  socket.on("error", () => {});
});

setInterval(() => {
  for (const socket of server.clients) socket.ping();
}, PING_EVERY_MS);
