// Listeners, and the error that the client throws. Knows nothing of the protocol.

export class Emitter {
  #listeners = new Map();

  /** Calls `listener` for each event of this name; returns what takes it off again. */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  emit(name, detail) {
    for (const listener of this.#listeners.get(name) ?? []) {
      // One listener's mistake is not another's, nor the connection's.
      try {
        listener(detail);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}

/** Something is not possible: `code` for programs, the message for people; `final`: nor will it ever be. */
export class StentorError extends Error {
  constructor(code, text, final) {
    super(text);
    this.name = "StentorError";
    this.code = code;
    this.final = final;
  }

  static of({ code, text, final }) {
    return new StentorError(code, text, final === true);
  }
}

/** A promise that listeners settle; `listen` returns what takes them off again. */
export async function until(listen) {
  let offs = [];
  try {
    return await new Promise((done, failed) => (offs = listen(done, failed)));
  } finally {
    for (const off of offs) off();
  }
}
