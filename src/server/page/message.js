// SPDX-License-Identifier: Apache-2.0
// One message of a conversation: what was said, and what can be done with it.

import { button, copyButton, iconButton, make } from "./dom.js";
import { MarkdownView } from "./markdown.js";
import { text } from "./texts.js";

// An answer, with thoughts apart from it.
class AnswerView {
  constructor(node) {
    this.node = node;
    this.answer = make("div");
    this.node.append(this.answer);
    this.view = new MarkdownView(this.answer);
  }
  update({ content, reasoning = "" }) {
    // A conversation that was kept has them in the text.
    const kept = reasoning ? null : /^\s*<think>([\s\S]*?)(?:<\/think>|$)/.exec(content);
    const thoughts = (kept ? kept[1] : reasoning).trim();
    if (thoughts) {
      if (!this.thoughts) {
        this.thoughts = make("details", "thoughts", make("summary", "", text("thinking")), make("div"));
        this.thoughtsView = new MarkdownView(this.thoughts.lastChild);
        this.node.prepend(this.thoughts);
      }
      this.thoughtsView.update(thoughts);
    }
    this.view.update(kept ? content.slice(kept[0].length) : content);
  }
}

// How it went: tokens a second, and how much of the prompt was remembered.
export function facts({ usage, timings, finish_reason: reason }) {
  const list = make("ul", "facts");
  const put = (fact) => list.append(make("li", "", fact));
  put(`${timings.predicted_per_second.toFixed(1)} tokens/s`);
  put(`${text("firstToken")} ${timings.ttft_ms.toFixed(0)} ms`);
  put(`${usage.completion_tokens} tokens`);
  put(`${text("cache")} ${usage.prompt_tokens_details.cached_tokens}/${usage.prompt_tokens}`);
  if (reason === "length") put(text("length"));
  return list;
}

// `actions`: ask(prompt, index) replaces the turn that begins at index; `message` may grow, show() paints it again.
export function messageNode(message, index, actions) {
  const body = make("div", "body");
  const tools = make("div", "tools");
  const node = make("article", `message ${message.role}`, body, tools);
  if (message.role === "user") {
    body.textContent = message.content;
    tools.append(iconButton("edit", text("edit"), () => edit(node, message.content, index, actions)));
  } else {
    const view = new AnswerView(body);
    node.show = () => view.update(message);
    node.show();
    tools.append(copyButton(() => message.content), iconButton("again", text("again"), () => actions.again(index)));
  }
  return node;
}

function edit(node, content, index, actions) {
  if (actions.busy()) return;
  const box = make("textarea", "edit");
  box.value = content;
  box.rows = Math.min(12, content.split("\n").length + 1);
  box.setAttribute("aria-label", text("edit"));
  const resend = () => actions.ask(box.value, index);
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") actions.show();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) resend();
  });
  const tools = make("div", "tools open", button(text("cancel"), actions.show), button(text("resend"), resend, "primary"));
  node.replaceChildren(box, tools);
  box.focus();
}
