// What the browser keeps of the page from one visit to the next. Where it keeps nothing, in private windows, or has no
// room, it lasts as long as the page.

export function kept(key) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? {};
  } catch {
    return {};
  }
}

export function keep(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Whoever has it goes by it all the same.
  }
}
