// Several apps: `?app=NAME` says which one this page belongs to. With one app the widget knows already.
"use strict";
(() => {
  const app = new URLSearchParams(location.search).get("app");
  if (!app) return;
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const serverUrl = `${scheme}://${location.host}/?appId=${encodeURIComponent(app)}`;
  window.xaConfig = { connection: { type: "websocketraw", serverUrl } };
})();
