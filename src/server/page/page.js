// SPDX-License-Identifier: Apache-2.0
// The chat page: conversations at the side, one of them in the middle, written while it is thought.

import * as api from "./api.js";
import { $, button, iconButton, make, say, tell } from "./dom.js";
import { facts, messageNode } from "./message.js";
import { applyTexts, otherLanguage, switchLanguage, text } from "./texts.js";

const state = { session: "", messages: [], busy: null };  // busy: an AbortController while an answer is written
const settingNames = ["system", "temperature", "max-tokens", "window", "theme"];
const actions = {
  ask, show,
  again: (index) => ask(state.messages[index - 1].content, index - 1),
  busy: () => state.busy !== null,
};

// --- the conversation -----------------------------------------------------------------------------------------------

function welcome() {
  const ideas = make("div", "ideas", ...text("ideas").map((idea) => button(idea, () => ask(idea))));
  const picture = make("img", "");
  picture.src = "page/icon.svg";
  picture.alt = "";
  return make("div", "welcome", picture, make("p", "", text("welcome")), ideas);
}

function show() {
  $("log").replaceChildren(...state.messages.map((message, index) => messageNode(message, index, actions)));
  if (state.messages.length === 0) $("log").append(welcome());
  toEnd();
}

function isAtEnd() {
  const log = $("log");
  return log.scrollHeight - log.scrollTop - log.clientHeight < 80;
}

function toEnd() {
  $("log").scrollTop = $("log").scrollHeight;
  $("follow").hidden = true;
}

// --- asking ---------------------------------------------------------------------------------------------------------

function settings() {
  const body = {};
  const put = (name, id) => {
    const value = $(id).value;
    if (value !== "" && Number.isFinite(Number(value))) body[name] = Number(value);
  };
  put("temperature", "set-temperature");
  put("max_tokens", "set-max-tokens");
  put("window", "set-window");
  if ($("set-system").value || state.session) body.system = $("set-system").value;
  return body;
}

function setBusy(controller) {
  state.busy = controller;
  $("send").hidden = controller !== null;
  $("stop").hidden = controller === null;
  $("log").setAttribute("aria-busy", String(controller !== null));
}

// Paints at most once a frame, however fast tokens come.
function painter(node) {
  let frame = 0;
  const paint = () => {
    frame = 0;
    const following = isAtEnd();
    node.show();
    if (following) toEnd();
    else $("follow").hidden = false;
  };
  return { later: () => { frame ||= requestAnimationFrame(paint); }, now: () => { cancelAnimationFrame(frame); paint(); } };
}

async function receive(body, answer, paint) {
  let last = null;
  for await (const event of api.chat(body, state.busy.signal)) {
    if (event.session) state.session = event.session;
    if (event.usage) last = event;
    if (event.reasoning) answer.reasoning = (answer.reasoning ?? "") + event.reasoning;
    answer.content += event.text ?? "";
    paint.later();
  }
  return last;
}

async function ask(prompt, replaceFrom = state.messages.length) {
  if (state.busy || prompt.trim() === "") return;
  const body = { prompt, ...settings() };
  if (state.session) {
    body.session = state.session;
    if (replaceFrom < state.messages.length) body.replace_from = replaceFrom;
  }
  const answer = { role: "assistant", content: "" };
  state.messages = [...state.messages.slice(0, replaceFrom), { role: "user", content: prompt }, answer];
  show();
  const node = $("log").lastChild;
  const paint = painter(node);
  node.classList.add("waiting");
  setBusy(new AbortController());
  say(text("answering"));
  try {
    const last = await receive(body, answer, paint);
    if (last) node.querySelector(".tools").append(facts(last));
    say(text("ended"));
  } catch (error) {
    if (error.name === "AbortError") say(text("stopped"));
    else tell(error);
    if (answer.content === "") {
      state.messages.splice(-2);
      $("prompt").value ||= prompt;
    }
  }
  paint.now();
  node.classList.remove("waiting");
  setBusy(null);
  if (answer.content === "") show();
  await list();
  $("prompt").focus();
}

// --- conversations --------------------------------------------------------------------------------------------------

// When a conversation was last spoken in, as a heading.
function age(seconds) {
  const midnight = new Date().setHours(0, 0, 0, 0) / 1000;
  if (seconds >= midnight) return "today";
  if (seconds >= midnight - 86400) return "yesterday";
  return seconds >= midnight - 6 * 86400 ? "thisWeek" : "earlier";
}

function sessionRow(session) {
  const isCurrent = session.id === state.session;
  const open = button(session.title, () => select(session.id), "open");
  if (isCurrent) {
    open.setAttribute("aria-current", "true");
    $("title").textContent = session.title;
  }
  const forget = iconButton("forget", `${text("forget")}: ${session.title}`, () => drop(session.id), "forget");
  return make("li", isCurrent ? "current" : "", open, forget);
}

async function list() {
  try {
    const { sessions } = await api.get("chat/sessions");
    const groups = new Map();  // in the order they come: the newest first
    for (const session of sessions) {
      const name = age(session.updated);
      groups.set(name, [...groups.get(name) ?? [], session]);
    }
    $("sessions").replaceChildren(...[...groups].flatMap(([name, members]) =>
      [make("h2", "", text(name)), make("ul", "", ...members.map(sessionRow))]));
  } catch (error) {
    tell(error);
  }
}

function begin() {
  state.busy?.abort();
  state.session = "";
  state.messages = [];
  $("title").textContent = text("newChat");
  openMenu(false);
  show();
  list();
  $("prompt").focus();
}

async function select(id) {
  begin();
  try {
    const session = await api.get(`chat/sessions/${id}`);
    state.session = id;
    state.messages = session.messages;
    $("set-system").value = session.system;
    show();
    await list();
  } catch (error) {
    tell(error);
  }
}

async function drop(id) {
  if (!confirm(text("sure"))) return;
  try {
    await api.remove(`chat/sessions/${id}`);
    if (id === state.session) begin();
    await list();
  } catch (error) {
    tell(error);
  }
}

// --- the page -------------------------------------------------------------------------------------------------------

function grow() {
  const box = $("prompt");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}

function openMenu(open) {
  document.body.classList.toggle("menu", open);
  $("shade").hidden = !open;
  $("menu").setAttribute("aria-expanded", String(open));
}

function applyTheme() {
  document.documentElement.dataset.theme = $("set-theme").value;
}

function applyLanguage() {
  applyTexts();
  $("language").textContent = otherLanguage();
  if (!state.session) $("title").textContent = text("newChat");
  if (!state.busy) show();
}

// Shows the model's name, once it is loaded.
async function watchHealth() {
  try {
    $("model").textContent = (await api.get("health")).model;
    say("");
  } catch (error) {
    tell(error);
    if (error.status === 503) setTimeout(watchHealth, 1000);
  }
}

function submit(event) {
  event.preventDefault();
  const prompt = $("prompt").value;
  if (state.busy || prompt.trim() === "") return;
  $("prompt").value = "";
  grow();
  ask(prompt);
}

function wireSettings() {
  for (const name of settingNames) {
    const box = $(`set-${name}`);
    box.value = localStorage.getItem(name) ?? "";
    box.addEventListener("change", () => localStorage.setItem(name, box.value));
  }
  $("set-theme").addEventListener("change", applyTheme);
  applyTheme();
  $("set-key").value = api.key;
  $("set-key").addEventListener("change", async () => {
    api.setKey($("set-key").value);
    say("");
    await list();
  });
  $("settings-open").addEventListener("click", () => $("settings").showModal());
}

function wireKeys() {
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    $("ask").requestSubmit();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || $("settings").open) return;
    if (document.body.classList.contains("menu")) openMenu(false);
    else state.busy?.abort();
  });
}

async function start() {
  wireSettings();
  wireKeys();
  $("ask").addEventListener("submit", submit);
  $("prompt").addEventListener("input", grow);
  $("stop").addEventListener("click", () => state.busy?.abort());
  $("log").addEventListener("scroll", () => { $("follow").hidden = isAtEnd(); }, { passive: true });
  $("follow").addEventListener("click", toEnd);
  $("new").addEventListener("click", begin);
  $("language").addEventListener("click", () => { switchLanguage(); applyLanguage(); list(); });
  $("menu").addEventListener("click", () => openMenu(!document.body.classList.contains("menu")));
  $("shade").addEventListener("click", () => openMenu(false));
  applyLanguage();
  watchHealth();
  await list();
  $("prompt").focus();
}

start();
