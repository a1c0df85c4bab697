// Two ways to carry frames: a WebSocket, or a streaming answer with a POST for what is said.
// Know nothing of sessions but how they are opened, and nothing of trying again.

/** Carries frames over a WebSocket. */
export class WebSocketLine {
  #port;
  #socket;
  #opened = false;

  constructor(port) {
    this.#port = port;
  }

  start() {
    const url = new URL(this.#port.url);
    url.protocol = url.protocol.replace("http", "ws");
    try {
      this.#socket = new this.#port.WebSocket(url.href, "stentor.v2");
    } catch (error) {
      // Tells later, as a socket would.
      setTimeout(() => this.#port.closed(1006, String(error), false));
      return;
    }
    this.#socket.onopen = () => {
      this.#opened = true;
      this.send(this.#port.hello);
    };
    this.#socket.onmessage = ({ data }) => this.#port.frame(JSON.parse(data));
    this.#socket.onclose = ({ code, reason }) => this.#port.closed(code, reason, this.#opened);
    this.#socket.onerror = () => {};
  }

  send(frame) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  stop() {
    if (this.#socket) this.#socket.onclose = null;
    this.#socket?.close(1000);
  }
}

/** Several `open` in a row make one new stream. */
const GATHER_MS = 20;
/** Frames in one POST, besides `hello` and what opens the sessions. */
const TOGETHER_MAX = 48;
/** Their characters, together with the first frame that is too many: well below the megabyte of UTF-8 that a router reads. */
const TOGETHER_CHARS_MAX = 128 * 1024;
const AGAIN_MS = 1_000;

/** Carries frames over a streaming answer; what is said goes by POST, one at a time. */
export class StreamLine {
  #port;
  #hello;
  #abort;
  #restart;
  #welcomed = false;
  #waiting = [];
  #posting = false;
  #stopped = false;

  constructor(port) {
    this.#port = port;
    this.#hello = port.hello;
  }

  async start() {
    const abort = new AbortController();
    this.#abort = abort;
    try {
      const answer = await this.#post("/v2/stream", [this.#hello, ...this.#port.opens()], abort.signal);
      if (!answer.ok) return this.#end(abort, codeOf(answer.status), await answer.text());
      await this.#read(answer.body, abort);
      this.#end(abort, 1006, "the stream has ended");
    } catch (error) {
      this.#end(abort, 1006, String(error));
    }
  }

  send(frame) {
    if (frame.t === "open" || frame.t === "hello") {
      if (frame.t === "hello") this.#hello = frame;
      // A stream says what it opens when it begins.
      this.#restart ??= setTimeout(() => {
        this.#restart = undefined;
        this.#abort.abort();
        if (!this.#stopped) this.start();
      }, GATHER_MS);
      return;
    }
    if (frame.t === "close") return;
    this.#waiting.push(frame);
    this.#flush();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#restart);
    this.#abort?.abort();
  }

  /** Closed, unless a newer stream has taken its place. */
  #end(abort, code, reason) {
    if (this.#stopped || abort !== this.#abort || abort.signal.aborted) return;
    this.#stopped = true;
    this.#port.closed(code, reason, true);
  }

  async #read(body, abort) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done || abort !== this.#abort) return;
      this.#port.heard();
      text += value;
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const event = text.slice(0, end);
        text = text.slice(end + 2);
        this.#event(event, abort);
      }
    }
  }

  #event(event, abort) {
    const data = JSON.parse(event.split("\n").find((line) => line.startsWith("data: ")).slice(6));
    if (event.startsWith("event: close")) return this.#end(abort, data.code, data.reason);
    if (data.t === "welcome") {
      this.#welcomed = true;
      if (data.device) this.#hello = { ...this.#hello, token: data.device };
    }
    this.#port.frame(data);
    this.#flush();
  }

  async #flush() {
    if (this.#posting || !this.#welcomed || this.#waiting.length === 0 || this.#stopped) return;
    this.#posting = true;
    const frames = this.#waiting.splice(0, this.#together());
    const used = new Set(frames.map(({ sid }) => sid));
    // Their reference is 0: these answers are nobody's but ours.
    const opens = this.#port.places().filter(({ sid }) => used.has(sid));
    try {
      const answer = await this.#post("/v2/frames", [this.#hello, ...opens, ...frames]);
      const text = await answer.text();
      const answers = answer.ok ? text.split("\n").filter(Boolean).map((line) => JSON.parse(line)) : (JSON.parse(text).frames ?? []);
      for (const frame of answers) if (frame.t !== "welcome" && frame.ref !== 0) this.#port.answer(frame);
      if (answer.status === 503 || answer.status === 429) await new Promise((done) => setTimeout(done, AGAIN_MS));
    } catch {
      await new Promise((done) => setTimeout(done, AGAIN_MS));
      this.#port.lost();
    }
    this.#posting = false;
    this.#flush();
  }

  /** How many of those that wait fit into one POST. */
  #together() {
    let chars = 0;
    const fit = this.#waiting.slice(0, TOGETHER_MAX).findIndex((frame) => (chars += JSON.stringify(frame).length) > TOGETHER_CHARS_MAX);
    return fit < 0 ? TOGETHER_MAX : fit + 1;
  }

  #post(path, frames, signal) {
    const body = frames.map((frame) => `${JSON.stringify(frame)}\n`).join("");
    const credentials = this.#hello.login ? "same-origin" : "omit";
    const url = new URL(this.#port.url);
    url.protocol = url.protocol.replace("ws", "http");
    url.pathname = path;
    return this.#port.fetch(url.href, { method: "POST", headers: { "Content-Type": "text/plain" }, body, signal, credentials });
  }
}

/** A refusal in the words of a socket. */
function codeOf(status) {
  return { 400: 4500, 401: 4401, 403: 4403, 404: 4404, 413: 4500, 429: 4029 }[status] ?? 1006;
}
