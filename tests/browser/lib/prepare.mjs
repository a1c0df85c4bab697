// Runs in the page before any of its own scripts: a clock that is wrong, a tab that is hidden, an id that is given.
// Playwright sends the source of this one function, so it refers to nothing outside itself.

export function prepare({ hidden, skewMs, userId }) {
  let isHidden = hidden;
  Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden });
  Object.defineProperty(document, "visibilityState", {
    configurable: true,
    get: () => (isHidden ? "hidden" : "visible"),
  });
  globalThis.setTabHidden = (value) => {
    isHidden = value;
    document.dispatchEvent(new Event("visibilitychange"));
  };

  if (skewMs !== 0) {
    const Right = Date;
    const now = () => Right.now() + skewMs;
    globalThis.Date = new Proxy(Right, {
      construct: (target, words) => (words.length === 0 ? new target(now()) : new target(...words)),
      apply: () => new Right(now()).toString(),
      get: (target, key) => (key === "now" ? now : Reflect.get(target, key)),
    });
  }

  if (userId) {
    // The page may set the whole configuration itself; the id is added to whatever it sets.
    let config = { userId };
    Object.defineProperty(globalThis, "xaConfig", {
      configurable: true,
      get: () => config,
      set: (value) => (config = { ...value, userId }),
    });
  }
}
