// The client of the stentor.v2 protocol, for browsers and Node 20 or later: no dependencies, no build step.
// Sessions see every event once and in order; what was sent is kept until the router has it on disk.
// Knows nothing of pages. How to use it: docs/stentor-js.md; what goes over the wire: docs/protocol-v2.md.

import { Emitter, StentorError, until } from "./stentor/events.js";
import { Session } from "./stentor/session.js";
import { Store, defaultStorage } from "./stentor/store.js";
import { StreamLine, WebSocketLine } from "./stentor/lines.js";

export { Session, StentorError };

const BACKOFF_MIN_MS = 500;
/** Somebody may be looking at the page: however long the router was away, it is noticed soon that it is back. */
const BACKOFF_MAX_MS = 10_000;
/** A connection that lasted this long was a good one. */
const STABLE_MS = 5_000;
/** Nothing at all for this long: the connection is dead, whatever the system says. */
const SILENT_MS = 60_000;
/** How long a connection may take until the router's welcome. */
const WELCOME_MS = 10_000;
/** Sockets that never opened before the other way is tried. */
const BLOCKED_AFTER = 2;
/** How long before its end a token is renewed. */
const RENEW_BEFORE_MS = 60_000;
const UNAUTHORISED = 4401;

export class Stentor extends Emitter {
  #options;
  #store;
  #line;
  #attempt = 0;
  #blocked = 0;
  #retryInMs;
  #timers = {};
  #heard = 0;
  #began = 0;
  #reference = 0;
  #asked = new Map();
  #sessions = new Set();
  #watching = false;
  /** Tells whose messages they are, once it is known. */
  #told;

  state = "offline";
  role;
  app;

  constructor(options) {
    super();
    const page = globalThis.location?.origin;
    if (!options?.app) throw new TypeError("app: missing");
    if (!options.url && !page) throw new TypeError("url: missing, and there is no page to take it from");
    this.app = options.app;
    this.#options = { transport: "auto", random: Math.random, ...options, url: new URL(options.url ?? page, page) };
    const whose = new Promise((told) => (this.#told = told));
    this.#store = new Store(options.storage ?? defaultStorage(), `stentor:${this.#options.url.host}:${options.app}`, whose);
    const { token, login, user } = this.#options;
    if (user !== undefined || typeof token !== "function") this.#told(user ?? (token ? subjectOf(token) : login ? "staff" : "visitor"));
  }

  /** Opens a session: `{ name }` for a visitor's own, or `{ sid }`. Connects if need be. */
  open(which, { displayName } = {}) {
    const session = new Session(this.#port(), this.#store, which, displayName);
    this.#sessions.add(session);
    // Only the token tells whose messages are to be sent.
    if (typeof this.#options.token === "function") this.connect();
    session.prepare().then(() => {
      if (this.state === "online") session.begin();
      else this.connect();
    });
    return session;
  }

  /** Connects without opening a session. */
  connect() {
    if (this.#line || this.#timers.retry || this.state === "closed") return;
    this.#dial();
  }

  /** Connects if need be. Resolves when there is a connection; rejects if there will be none. */
  async ready() {
    this.connect();
    await until((done, failed) => {
      const look = ({ state, reason }) => {
        if (state === "online") done();
        if (state === "closed") failed(new StentorError("closed", reason || "this client was closed", true));
      };
      look(this);
      return [this.on("state", look)];
    });
  }

  /** Sessions of the app, for staff: `{ items, next }`. */
  async list({ filter, search, after, limit } = {}) {
    const { items, next } = await this.#ask({ t: "list", filter, search, after, limit });
    return { items, next };
  }

  /** Whether "listChanged" is to be told, also after reconnects: before whatever is asked for when the state is "online". */
  async watch(on) {
    this.#watching = on;
    if (this.state === "online") await this.#ask({ t: "watch", on });
    else this.connect();
  }

  /** Ends it all. What is unsent stays in the storage. */
  close() {
    for (const session of this.#sessions) {
      session.stop();
      session.emit("closed", {});
    }
    this.#sessions.clear();
    this.#end("closed", {});
  }

  /** What sessions may do with the connection. */
  #port() {
    return {
      isOnline: () => this.state === "online",
      ready: () => this.ready(),
      send: (frame) => this.#line?.send(frame),
      ask: (frame) => this.#ask(frame),
      reference: () => ++this.#reference,
      gone: (session) => this.#sessions.delete(session),
    };
  }

  async #dial() {
    this.#set("connecting", {});
    let token;
    try {
      token = await this.#credentials();
    } catch (error) {
      return this.#later({ reason: String(error) });
    }
    if (this.state !== "connecting" || this.#line) return;
    const { transport, url } = this.#options;
    const WebSocketKind = this.#options.WebSocket ?? globalThis.WebSocket;
    const sockets = transport === "websocket" || (transport === "auto" && WebSocketKind && this.#blocked < BLOCKED_AFTER);
    const hello = { t: "hello", app: this.app, ...(this.#options.login ? { login: true } : {}), ...(token ? { token } : {}) };
    const Line = sockets ? WebSocketLine : StreamLine;
    this.#began = this.#heard = Date.now();
    const line = new Line({
      url,
      hello,
      WebSocket: WebSocketKind,
      fetch: this.#options.fetch ?? globalThis.fetch,
      opens: () => [...this.#sessions].filter((session) => session.isPrepared).map((session) => session.opening()),
      places: () => [...this.#sessions].filter((session) => session.isPrepared).map((session) => session.place(0)),
      frame: (frame) => {
        this.#heard = Date.now();
        if (line === this.#line) this.#take(frame);
      },
      // Says nothing about the stream, which may be dead.
      answer: (frame) => line === this.#line && this.#take(frame),
      lost: () => line === this.#line && this.#sessions.forEach((session) => session.lost()),
      heard: () => (this.#heard = Date.now()),
      closed: (code, reason, opened) => line === this.#line && this.#closed(code, reason, sockets && !opened),
    });
    this.#line = line;
    line.start();
    clearInterval(this.#timers.alive);
    this.#timers.alive = setInterval(() => this.#checkAlive(), WELCOME_MS / 4);
  }

  async #credentials() {
    const { token, login } = this.#options;
    if (login) return undefined;
    if (typeof token === "function") {
      const fetched = await token();
      this.#told(subjectOf(fetched));
      return fetched;
    }
    return token ?? this.#store.device();
  }

  #checkAlive() {
    const patience = this.state === "online" ? SILENT_MS : WELCOME_MS;
    if (Date.now() - this.#heard > patience) this.#drop(1006, "nothing was heard");
  }

  /** Gives the connection up; what the network says about it later does not count. */
  #drop(code, reason) {
    const line = this.#line;
    this.#line = undefined;
    line?.stop();
    this.#closed(code, reason, false);
  }

  #take(frame) {
    if (frame.t === "welcome") return this.#welcome(frame);
    if (frame.t === "drain") {
      this.#retryInMs = frame.reconnectInMs;
      return;
    }
    if (frame.t === "listChanged") return this.emit("listChanged", { items: frame.items, missed: frame.missed === true });
    const asked = this.#asked.get(frame.ref);
    if (asked && (frame.t === "done" || frame.t === "refused" || frame.t === "listed")) {
      this.#asked.delete(frame.ref);
      return frame.t === "refused" ? asked.reject(StentorError.of(frame)) : asked.resolve(frame);
    }
    for (const session of [...this.#sessions]) if (session.concerns(frame)) session.receive(frame);
  }

  async #welcome(frame) {
    const line = this.#line;
    if (frame.device) {
      const device = await this.#store.keepDevice(frame.device);
      // Another tab was faster: both are to be the same visitor.
      if (device !== frame.device) return this.#drop(1000, "another tab has a device already");
      if (line !== this.#line) return;
    }
    this.role = frame.role;
    this.#renewBefore(frame.expires);
    const again = this.state === "online";
    this.state = "online";
    // Before anybody hears of it and asks for a list: what changes after the answer must be told.
    if (this.#watching && !again) this.#ask({ t: "watch", on: true }).catch(() => {});
    this.#set("online", {});
    this.emit("welcome", frame);
    if (again) return;
    // A stream has brought those that were prepared when it began.
    for (const session of this.#sessions) if (!session.isLooking) session.begin();
  }

  /** A token that is given by a function is asked for again before it ends. */
  #renewBefore(expires) {
    clearTimeout(this.#timers.renew);
    if (!expires || typeof this.#options.token !== "function") return;
    const inMs = Math.max(1_000, expires * 1_000 - Date.now() - RENEW_BEFORE_MS);
    this.#timers.renew = setTimeout(async () => {
      // If there is no fresh one the server closes the connection in time, and it is asked for again.
      const token = await Promise.resolve(this.#options.token()).catch(() => undefined);
      if (token) this.#line?.send({ t: "hello", app: this.app, token });
    }, Math.min(inMs, 2 ** 31 - 1));
  }

  #closed(code, reason, neverOpened) {
    this.#line = undefined;
    clearInterval(this.#timers.alive);
    clearTimeout(this.#timers.renew);
    const error = new StentorError("offline", reason || "the connection is gone", false);
    for (const { reject } of this.#asked.values()) reject(error);
    this.#asked.clear();
    for (const session of this.#sessions) session.offline();
    if (this.state === "closed") return;
    const fixed = typeof this.#options.token !== "function";
    const hopeless = code === 4403 || code === 4404 || code >= 4500 || (code === UNAUTHORISED && fixed);
    if (hopeless) return this.#end("closed", { code, reason });
    this.#blocked = neverOpened ? this.#blocked + 1 : 0;
    if (Date.now() - this.#began > STABLE_MS && !neverOpened) this.#attempt = 0;
    this.#later({ code, reason });
  }

  /** Tries again after a while: full jitter, so that many clients do not come at once. */
  #later(why) {
    const most = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** this.#attempt++);
    const jittered = BACKOFF_MIN_MS / 2 + this.#options.random() * (most - BACKOFF_MIN_MS / 2);
    const retryInMs = Math.round(why.code === 1000 ? 0 : (this.#retryInMs ?? jittered));
    this.#retryInMs = undefined;
    this.#timers.retry = setTimeout(() => {
      this.#timers.retry = undefined;
      this.#dial();
    }, retryInMs);
    this.#set("offline", { ...why, retryInMs });
  }

  #end(state, why) {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.#timers = {};
    const line = this.#line;
    this.#line = undefined;
    line?.stop();
    const error = new StentorError("offline", why.reason || "this client was closed", false);
    for (const { reject } of this.#asked.values()) reject(error);
    this.#asked.clear();
    this.#set(state, why);
  }

  #ask(frame) {
    if (this.state !== "online") return Promise.reject(new StentorError("offline", "there is no connection", false));
    const ref = ++this.#reference;
    return new Promise((resolve, reject) => {
      this.#asked.set(ref, { resolve, reject });
      this.#line.send({ ...frame, ref });
    });
  }

  #set(state, more) {
    this.state = state;
    this.emit("state", { state, ...more });
  }
}

/** Who a token is for: what one person has left unsent is not for the next one at the same browser to send. */
function subjectOf(token) {
  try {
    const claims = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    return `user:${JSON.parse(new TextDecoder().decode(Uint8Array.from(claims, (char) => char.charCodeAt(0)))).sub}`;
  } catch {
    // The router will say what is wrong with it.
    return "staff";
  }
}
