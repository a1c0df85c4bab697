// What is kept between page loads: the device token, and per session the messages that nobody has acknowledged.
// Every tab numbers its messages as a client instance of its own. Knows nothing of connections.

/** How long a tab that says nothing keeps its client instance, where there are no Web Locks. */
const LEASE_MS = 120_000;
const RENEW_MS = 20_000;

/** The page's storage where there is one, else memory. */
export function defaultStorage() {
  try {
    const storage = globalThis.localStorage;
    storage.setItem("stentor:try", "1");
    storage.removeItem("stentor:try");
    return storage;
  } catch {
    return new MemoryStorage();
  }
}

export class MemoryStorage {
  #items = new Map();
  getItem(key) {
    return this.#items.get(key) ?? null;
  }
  setItem(key, value) {
    this.#items.set(key, String(value));
  }
  removeItem(key) {
    this.#items.delete(key);
  }
}

export class Store {
  #storage;
  #prefix;
  #whose;

  /** `whose`: a promise of who it is; outboxes are theirs alone. */
  constructor(storage, prefix, whose) {
    this.#storage = storage;
    this.#prefix = prefix;
    this.#whose = whose;
  }

  /** The device token, if there is one. */
  device() {
    return this.#storage.getItem(`${this.#prefix}:visitor:device`) ?? undefined;
  }

  /** Keeps a device token unless there is one. Returns the one that counts. */
  async keepDevice(device) {
    const key = `${this.#prefix}:visitor:device`;
    return exclusively(key, () => {
      const known = this.#storage.getItem(key);
      if (known === null) this.#write(key, device);
      return known ?? device;
    });
  }

  /** An outbox for a session: one that a closed tab has left, or a new one. */
  async outbox(session) {
    const index = `${this.#prefix}:${await this.#whose}:${session}`;
    return exclusively(index, async () => {
      const known = parse(this.#storage.getItem(index)) ?? [];
      const waiting = (client) => parse(this.#storage.getItem(`${index}:${client}`))?.items?.length ?? 0;
      // Those that hold something come first.
      for (const client of [...known].sort((one, other) => waiting(other) - waiting(one))) {
        const outbox = new Outbox(this.#storage, index, client);
        if (await outbox.claim()) return outbox;
      }
      return this.#fresh(index);
    });
  }

  /** A new outbox in the place of one whose client instance the router has forgotten. */
  async renewed(session, old) {
    const index = `${this.#prefix}:${await this.#whose}:${session}`;
    return exclusively(index, async () => {
      old.forget();
      return this.#fresh(index);
    });
  }

  async #fresh(index) {
    const random = globalThis.crypto.getRandomValues(new Uint8Array(16));
    const client = [...random].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const outbox = new Outbox(this.#storage, index, client);
    await outbox.claim();
    const known = parse(this.#storage.getItem(index)) ?? [];
    this.#write(index, JSON.stringify([...known, client]));
    return outbox;
  }

  #write(key, value) {
    try {
      this.#storage.setItem(key, value);
    } catch {
      // A full storage: it works until the page goes.
    }
  }
}

/** The unacknowledged messages of one client instance in one session, oldest first. */
export class Outbox {
  #storage;
  #index;
  #owner = Math.random().toString(36).slice(2);
  #renewing;
  #release;
  items = [];
  lastMid = 0;

  constructor(storage, index, client) {
    this.#storage = storage;
    this.#index = index;
    this.client = client;
  }

  /** Whether it is ours from now on. */
  async claim() {
    const key = `${this.#index}:${this.client}`;
    const kept = parse(this.#storage.getItem(key));
    if (globalThis.navigator?.locks) {
      const ours = await new Promise((claimed) => {
        navigator.locks.request(key, { ifAvailable: true }, (lock) => {
          claimed(lock !== null);
          // Held until the page goes, however long it sleeps.
          return lock && new Promise((release) => (this.#release = release));
        });
      });
      if (!ours) return false;
    } else {
      if (kept?.until > Date.now() && kept.owner !== this.#owner) return false;
      this.#renewing = setInterval(() => this.save(), RENEW_MS);
      this.#renewing.unref?.();
    }
    this.items = (kept?.items ?? []).map((frame) => ({ ...frame, state: "waiting" }));
    this.lastMid = kept?.lastMid ?? 0;
    this.save();
    return true;
  }

  save() {
    const items = this.items.filter(({ state }) => state !== "failed").map(({ mid, text, request, note }) => ({ mid, text, request, note }));
    const lease = this.#renewing ? { owner: this.#owner, until: Date.now() + LEASE_MS } : {};
    try {
      this.#storage.setItem(`${this.#index}:${this.client}`, JSON.stringify({ lastMid: this.lastMid, items, ...lease }));
    } catch {
      // A full storage: it works until the page goes.
    }
  }

  /** Lets another tab have it. */
  leave() {
    clearInterval(this.#renewing);
    this.#renewing = undefined;
    this.save();
    this.#release?.();
  }

  /** It is of no use to anybody. */
  forget() {
    clearInterval(this.#renewing);
    const known = parse(this.#storage.getItem(this.#index)) ?? [];
    this.#storage.setItem(this.#index, JSON.stringify(known.filter((client) => client !== this.client)));
    this.#storage.removeItem(`${this.#index}:${this.client}`);
    this.#release?.();
  }
}

function parse(text) {
  try {
    return JSON.parse(text) ?? undefined;
  } catch {
    return undefined;
  }
}

/** One tab at a time, where the browser can see to it. */
function exclusively(name, act) {
  const locks = globalThis.navigator?.locks;
  return locks ? locks.request(`${name}:lock`, act) : act();
}
