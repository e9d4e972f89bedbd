// SPDX-License-Identifier: Apache-2.0
// The chat page: conversations at the side, one of them in the middle, written while it is thought.

import * as api from "./api.js";
import { MarkdownView } from "./markdown.js";
import { applyTexts, otherLanguage, switchLanguage, text } from "./texts.js";

const $ = (id) => document.getElementById(id);
const state = { session: "", messages: [], busy: null };  // busy: an AbortController while an answer is written
const settingNames = ["system", "temperature", "max-tokens", "window"];

function make(name, className, content = "") {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.textContent = content;
  return node;
}

function button(label, action, className = "") {
  const node = make("button", className, label);
  node.type = "button";
  node.addEventListener("click", action);
  return node;
}

function say(message, bad = false) {
  $("status").textContent = message;
  $("status").classList.toggle("bad", bad);
}

function tell(error) {
  if (error.status === 401) say(text("needKey"), true);
  else say(error instanceof TypeError ? text("offline") : error.message, true);
}

// --- one message ----------------------------------------------------------------------------------------------------

// Shows thoughts apart from the answer.
class AnswerView {
  constructor(node) {
    this.node = node;
    this.answer = make("div");
    this.node.append(this.answer);
    this.view = new MarkdownView(this.answer);
  }
  update(source) {
    const thought = /^\s*<think>([\s\S]*?)(?:<\/think>|$)/.exec(source);
    if (thought && thought[1].trim()) {
      if (!this.thought) {
        this.thought = make("details", "thought");
        this.thought.append(make("summary", "", text("thinking")), make("div"));
        this.thoughtView = new MarkdownView(this.thought.lastChild);
        this.node.prepend(this.thought);
      }
      this.thoughtView.update(thought[1].trim());
    }
    this.view.update(thought ? source.slice(thought[0].length) : source);
  }
}

function addMessage(role, content, index) {
  const node = make("article", `message ${role}`);
  const body = make("div", "body");
  const tools = make("div", "tools");
  node.append(body, tools);
  if (role === "user") {
    body.textContent = content;
    tools.append(button(text("edit"), () => edit(node, content, index)));
  } else {
    node.view = new AnswerView(body);
    node.view.update(content);
    tools.append(button(text("copy"), () => navigator.clipboard.writeText(state.messages[index]?.content ?? "")),
      button(text("again"), () => ask(state.messages[index - 1].content, index - 1)));
  }
  $("log").append(node);
  return node;
}

function edit(node, content, index) {
  if (state.busy) return;
  const box = make("textarea", "edit");
  box.value = content;
  box.rows = Math.min(12, content.split("\n").length + 1);
  box.setAttribute("aria-label", text("edit"));
  const tools = make("div", "tools");
  tools.append(button(text("resend"), () => ask(box.value, index), "primary"), button(text("cancel"), show));
  node.replaceChildren(box, tools);
  box.focus();
}

function show() {
  $("log").replaceChildren();
  if (state.messages.length === 0) $("log").append(make("p", "welcome", text("welcome")));
  state.messages.forEach((message, index) => addMessage(message.role, message.content, index));
  $("log").scrollTop = $("log").scrollHeight;
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

// How it went: tokens a second, and how much of the prompt was remembered.
function facts(last) {
  const { usage, timings, finish_reason: reason } = last;
  const parts = [`${usage.completion_tokens} tokens`, `${timings.predicted_per_second.toFixed(1)} tokens/s`,
    `${timings.ttft_ms.toFixed(0)} ms → 1`, `cache ${usage.prompt_tokens_details.cached_tokens}/${usage.prompt_tokens}`];
  if (reason === "length") parts.push(text("length"));
  return parts.join(" · ");
}

async function ask(prompt, replaceFrom = state.messages.length) {
  if (state.busy || prompt.trim() === "") return;
  const body = { prompt, ...settings() };
  if (state.session) {
    body.session = state.session;
    if (replaceFrom < state.messages.length) body.replace_from = replaceFrom;
  }
  state.messages = [...state.messages.slice(0, replaceFrom), { role: "user", content: prompt }, { role: "assistant", content: "" }];
  const answer = state.messages.at(-1);
  show();
  const node = $("log").lastChild;
  node.classList.add("waiting");
  setBusy(new AbortController());
  say(text("answering"));
  let frame = 0;
  const paint = () => {
    frame = 0;
    const log = $("log");
    const following = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    node.view.update(answer.content);
    if (following) log.scrollTop = log.scrollHeight;
  };
  try {
    let last = null;
    for await (const event of api.chat(body, state.busy.signal)) {
      if (event.session) state.session = event.session;
      if (event.usage) last = event;
      answer.content += event.text ?? "";
      frame ||= requestAnimationFrame(paint);
    }
    if (last) node.lastChild.append(make("span", "facts", facts(last)));
    say(text("ended"));
  } catch (error) {
    if (error.name === "AbortError") say(text("stopped"));
    else tell(error);
    if (answer.content === "") {
      state.messages.splice(-2);
      $("prompt").value ||= prompt;
    }
  }
  cancelAnimationFrame(frame);
  node.view.update(answer.content);
  node.classList.remove("waiting");
  setBusy(null);
  if (answer.content === "") show();
  await list();
  $("prompt").focus();
}

// --- conversations --------------------------------------------------------------------------------------------------

async function list() {
  try {
    const { sessions } = await api.get("chat/sessions");
    $("sessions").replaceChildren(...sessions.map((session) => {
      const row = make("li", session.id === state.session ? "current" : "");
      const forget = button("✕", () => drop(session.id), "forget");
      forget.setAttribute("aria-label", `${text("forget")}: ${session.title}`);
      const open = button(session.title, () => select(session.id), "open");
      if (session.id === state.session) {
        open.setAttribute("aria-current", "true");
        $("title").textContent = session.title;
      }
      row.append(open, forget);
      return row;
    }));
  } catch (error) {
    tell(error);
  }
}

function begin() {
  state.busy?.abort();
  state.session = "";
  state.messages = [];
  $("title").textContent = text("newChat");
  document.body.classList.remove("menu");
  $("menu").setAttribute("aria-expanded", "false");
  show();
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
  box.style.height = `${box.scrollHeight + 2}px`;
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

async function start() {
  for (const name of settingNames) {
    const box = $(`set-${name}`);
    box.value = localStorage.getItem(name) ?? "";
    box.addEventListener("change", () => localStorage.setItem(name, box.value));
  }
  $("set-key").value = api.key;
  $("set-key").addEventListener("change", async () => {
    api.setKey($("set-key").value);
    say("");
    await list();
  });
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const prompt = $("prompt").value;
    if (state.busy || prompt.trim() === "") return;
    $("prompt").value = "";
    grow();
    ask(prompt);
  });
  $("prompt").addEventListener("input", grow);
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    $("ask").requestSubmit();
  });
  $("stop").addEventListener("click", () => state.busy?.abort());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !$("settings").open) state.busy?.abort();
  });
  $("new").addEventListener("click", begin);
  $("settings-open").addEventListener("click", () => $("settings").showModal());
  $("language").addEventListener("click", () => { switchLanguage(); applyLanguage(); });
  $("menu").addEventListener("click", () => {
    const open = document.body.classList.toggle("menu");
    $("menu").setAttribute("aria-expanded", String(open));
  });
  applyLanguage();
  watchHealth();
  await list();
  $("prompt").focus();
}

start();
