// The page of an agent about one session, with the published widget: `?isAdmin=true&sessionId=…` (the widget reads
// these itself). Loads the widget with the session in its server URL, so that every reconnect is about it too.

const query = new URLSearchParams(location.search);
const session = query.get("sessionId") ?? "";
const problem = document.getElementById("problem");

function fail(text) {
  problem.textContent = text;
  problem.hidden = false;
}

async function start() {
  const me = await fetch("/api/v1/me");
  if (!me.ok) return fail("Nobody is logged in here. Open your login link first.");
  if (query.get("isAdmin") !== "true" || session === "") {
    return fail("This page needs ?isAdmin=true&sessionId=… in its address.");
  }
  const { app } = await me.json();
  const script = document.createElement("script");
  script.id = "xapp-js";
  script.src = `/widget/xapp-chat-widget.js?app=${encodeURIComponent(app)}&session=${encodeURIComponent(session)}`;
  script.addEventListener("error", () => fail("The published widget is not here: start the router with --widget-dir."));
  document.body.append(script);
}

start();
