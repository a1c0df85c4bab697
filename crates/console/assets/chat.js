// The demo page: shows where widgets connect to, and a small chat where the published widget is absent.
import { LegacyClient } from "/legacy-client.js";

const app = new URLSearchParams(location.search).get("app") ?? "demo";
const url = `${location.protocol.replace("http", "ws")}//${location.host}/dev?appId=${encodeURIComponent(app)}`;
const find = (id) => document.getElementById(id);
find("server-url").textContent = url;

if (find("form")) {
  const client = new LegacyClient(url);
  const button = (text, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", act);
    return made;
  };
  const row = ({ who, text, options = [] }, last) => {
    const item = document.createElement("li");
    item.className = who;
    item.textContent = text;
    if (options.length > 0 && last) {
      const list = document.createElement("div");
      list.className = "options";
      for (const { token, title } of options) {
        list.append(button(title, () => (token ? client.choose(token, title) : client.say(title))));
      }
      item.append(list);
    }
    return item;
  };
  const show = () => {
    find("state").dataset.state = client.online ? "on" : "off";
    find("state-text").textContent = client.online ? "online" : "connecting again …";
    find("typing").hidden = !client.typing;
    find("messages").replaceChildren(...client.items.map((item, place) => row(item, place === client.items.length - 1)));
    find("chips").replaceChildren(...client.chips.map((chip) => button(chip, () => client.say(chip))));
    find("messages").lastElementChild?.scrollIntoView({ block: "end" });
  };
  client.addEventListener("change", show);
  find("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = find("text").value;
    find("text").value = "";
    if (text !== "") client.say(text);
  });
  find("reset").addEventListener("click", () => client.reset());
  show();
}
