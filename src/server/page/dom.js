// SPDX-License-Identifier: Apache-2.0
// Nodes, and what the status line says. Text never becomes HTML.

import { text } from "./texts.js";

export const $ = (id) => document.getElementById(id);

export function make(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `page/icons.svg#${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

export function button(label, action, className = "") {
  const node = make("button", className, label);
  node.type = "button";
  node.addEventListener("click", action);
  return node;
}

// A button that shows a picture; its name is read out, and shown while the pointer rests on it.
export function iconButton(name, label, action, className = "") {
  const node = button(icon(name), action, `icon ${className}`);
  node.setAttribute("aria-label", label);
  node.title = label;
  return node;
}

// Copies what `source` gives, and says so for a moment.
export function copyButton(source, className = "") {
  const node = iconButton("copy", text("copy"), async () => {
    await navigator.clipboard.writeText(source());
    node.replaceChildren(icon("done"));
    node.setAttribute("aria-label", text("copied"));
    setTimeout(() => {
      node.replaceChildren(icon("copy"));
      node.setAttribute("aria-label", text("copy"));
    }, 1500);
  }, className);
  return node;
}

export function say(message, bad = false) {
  $("status").textContent = message;
  $("status").classList.toggle("bad", bad);
}

export function tell(error) {
  if (error.status === 401) say(text("needKey"), true);
  else say(error instanceof TypeError ? text("offline") : error.message, true);
}
