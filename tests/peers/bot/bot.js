// A small restaurant bot: content handlers, a keyword NLU and a memory store, all on the real Stentor SDK.
//
// It answers five things, so a test can tell the answers apart: the greeting (with three chips), the opening
// hours, the menu (a list to choose from), a hand-off to a person, and whatever it does not understand.
"use strict";

/** Wraps texts into the two forms that the SDK expects side by side. */
const say = (text, more = {}) => ({ ssml: `<speak>${text}</speak>`, displayText: text, ...more });

/** One content handler; `content` maps an intent to the responses it may give. */
const handler = (intentId, content) => ({ appId: "local", intentId, type: "InSessionIntent", content, data: {} });

const handlers = new Map(
  [
    handler("LaunchRequest", {
      LaunchRequest: [
        {
          outputSpeech: say("Hello! Ask me about hours.", {
            suggestions: ["Hours", "Menu", { title: "Website", url: "https://example.com/" }],
          }),
          reprompt: say("What would you like?"),
        },
      ],
    }),
    handler("HoursIntent", {
      HoursIntent: [
        {
          outputSpeech: say("We open at nine."),
          context: { active: [{ name: "hours_asked", timeToLive: { turnsToLive: 2 } }] },
        },
      ],
    }),
    handler("MenuIntent", {
      MenuIntent: [
        {
          outputSpeech: say("Pick one"),
          displays: [
            {
              type: "LIST",
              title: "Menu",
              items: [
                { token: "soup", title: "Soup", description: "Hot" },
                { token: "tea", title: "Tea", description: "Green" },
              ],
            },
          ],
        },
      ],
      OptionSelect: [{ outputSpeech: say("Chosen.") }],
    }),
    handler("AgentIntent", {
      AgentIntent: [
        { outputSpeech: say("Connecting you"), system: "HANDOFF", data: { handoffTargetId: "front-desk" } },
      ],
    }),
    handler("InputUnknown", { InputUnknown: [{ outputSpeech: say("Sorry, I did not get that.") }] }),
  ].map((one) => [one.intentId, one]),
);

const intents = [
  [/hours|open/i, "HoursIntent"],
  [/menu/i, "MenuIntent"],
  [/agent|human/i, "AgentIntent"],
];

const nlu = {
  async query(text) {
    const hit = intents.find(([pattern]) => pattern.test(text ?? ""));
    return hit
      ? { type: "INTENT_REQUEST", intentId: hit[1], matchConfidence: 0.9 }
      : { type: "INPUT_UNKNOWN_REQUEST", intentId: "InputUnknown" };
  },
};

/** The widget's channel: both directions are already in the SDK's own shape. */
const channel = {
  name: "stentor-platform",
  test: (body) => body?.platform === "stentor-platform",
  nlu,
  request: { translate: (body) => body },
  response: { translate: (turn) => turn.response },
  capabilities: () => ({
    channel: "widget",
    audioSupported: false,
    canPlayAudio: false,
    videoSupported: false,
    canPlayVideo: false,
    canSpeak: false,
    canThrowCard: true,
    canTransferCall: false,
    hasScreen: true,
    hasWebBrowser: true,
  }),
};

const users = new Map();
const keep = async (id, user) => {
  users.set(id, user);
  return user;
};
const userStorage = { get: async (id) => users.get(id), create: keep, update: keep };

const handlerService = {
  get: async (wanted) => handlers.get(typeof wanted === "string" ? wanted : wanted.intentId),
};

module.exports = { channel, handlerService, userStorage };
