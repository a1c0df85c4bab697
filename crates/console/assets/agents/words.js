// Words and times as people read them. Knows nothing of the page.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });

export const time = (ms) => clock.format(ms);
export const longDay = (ms) => day.format(ms);

/** A time as short as it can be. */
export const when = (ms, now = Date.now()) => (new Date(ms).toDateString() === new Date(now).toDateString() ? clock : date).format(ms);

/** How long ago. */
export function ago(ms, now = Date.now()) {
  const minutes = Math.floor((now - ms) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} d`;
}

/** What to call somebody who has no name. */
export const visitorName = ({ name, visitor }) => name || `Visitor ${visitor.slice(2, 6)}`;

/** The words of a bot's Response. */
export function responseText({ outputSpeech: speech } = {}) {
  if (typeof speech === "string") return speech;
  const text = speech?.displayText;
  if (Array.isArray(text)) return text.join("\n");
  return text === undefined ? (speech?.ssml ?? "").replace(/<[^>]*>/g, "") : String(text);
}

/** What a Response offers besides its words: chips, and items of lists and cards. */
export function responseExtras(response = {}) {
  const title = (entry) => (typeof entry === "string" ? entry : (entry?.title ?? entry?.displayText ?? entry?.name));
  const chips = (response.outputSpeech?.suggestions ?? []).map(title).filter(Boolean);
  const items = [];
  for (const display of Array.isArray(response.displays) ? response.displays : []) {
    if (title(display)) items.push([title(display), display.subTitle ?? display.content].filter(Boolean).join(" – "));
    for (const item of Array.isArray(display?.items) ? display.items : []) {
      const text = [title(item), item?.subTitle ?? item?.description ?? item?.synopsis].filter(Boolean).join(" – ");
      if (text) items.push(text);
    }
  }
  return { chips, items };
}

export const FAILURES = { timedOut: "did not answer in time", unreachable: "could not be reached", status: "answered with an error", badAnswer: "gave an answer that cannot be read", breakerOpen: "is left alone for a while after too many failures", notAllowed: "may not be called" };

/** A new element with a class and a text. */
export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
