// Sound, title and desktop notifications; each can be switched off. Knows nothing of chats.

import { keep, kept } from "./kept.js";

const KEY = "stentor-agents:alerts";
const TITLE = document.title;

export class Alerts {
  #settings = { sound: true, title: true, desktop: false, ...kept(KEY) };
  #count = 0;
  #audio;

  /** Ties the switches to the settings. */
  wire({ sound, title, desktop, problem }) {
    for (const [name, box] of Object.entries({ sound, title, desktop })) {
      box.checked = this.#settings[name];
      box.addEventListener("change", async () => {
        problem.hidden = true;
        if (name === "desktop" && box.checked && (await permission()) !== "granted") {
          box.checked = false;
          problem.textContent = "The browser does not allow notifications for this page.";
          problem.hidden = false;
        }
        this.#settings[name] = box.checked;
        keep(KEY, this.#settings);
        this.#showTitle();
      });
    }
  }

  /** How many chats want somebody. */
  count(count) {
    this.#count = count;
    this.#showTitle();
  }

  /** Something is new: `open` is called when the notification is chosen. */
  tell(title, text, open) {
    if (this.#settings.sound) this.#beep();
    if (!this.#settings.desktop || !document.hidden || globalThis.Notification?.permission !== "granted") return;
    const shown = new Notification(title, { body: text.slice(0, 120), tag: title });
    shown.onclick = () => {
      window.focus();
      open();
      shown.close();
    };
  }

  #showTitle() {
    document.title = this.#settings.title && this.#count > 0 ? `(${this.#count}) ${TITLE}` : TITLE;
  }

  #beep() {
    try {
      this.#audio ??= new AudioContext();
      const now = this.#audio.currentTime;
      for (const [place, pitch] of [660, 880].entries()) {
        const tone = new OscillatorNode(this.#audio, { frequency: pitch });
        const volume = new GainNode(this.#audio, { gain: 0 });
        volume.gain.setValueAtTime(0.08, now + place * 0.12);
        volume.gain.exponentialRampToValueAtTime(0.001, now + place * 0.12 + 0.2);
        tone.connect(volume).connect(this.#audio.destination);
        tone.start(now + place * 0.12);
        tone.stop(now + place * 0.12 + 0.25);
      }
    } catch {
      // No sound before the first click on a page: browsers want it so.
    }
  }
}

async function permission() {
  return globalThis.Notification ? Notification.requestPermission() : "denied";
}
