// SPDX-License-Identifier: Apache-2.0
// Markdown to DOM nodes, for text that is still being written: only blocks that changed are built anew. No HTML is ever
// parsed; images are links, since loading one could carry the conversation away.

import { copyButton, make as element } from "./dom.js";
import { highlight } from "./highlight.js";
import { renderMath } from "./math.js";

// --- inline ---------------------------------------------------------------------------------------------------------

const inlinePattern = new RegExp([
  "(?<code>(`+)(?!`)([\\s\\S]+?)(?<!`)\\2(?!`))",
  "(?<math>\\\\\\(([\\s\\S]+?)\\\\\\)|\\\\\\[([\\s\\S]+?)\\\\\\]|\\$\\$([\\s\\S]+?)\\$\\$|\\$(?![\\s$])([^$\\n]*?[^\\s$\\\\])\\$(?!\\d))",
  "(?<link>!?\\[([^\\]\\n]*)\\]\\(<?([^\\s()<>]*(?:\\([^\\s()]*\\)[^\\s()<>]*)*)>?(?:\\s+\"[^\"\\n]*\")?\\))",
  "(?<strong>\\*\\*(?=\\S)([\\s\\S]*?\\S)\\*\\*|__(?=\\S)([\\s\\S]*?\\S)__)",
  "(?<em>\\*(?=[^\\s*])([^*]*?[^\\s*])\\*(?!\\*)|(?<![A-Za-z0-9_])_(?=[^\\s_])([^_]*?[^\\s_])_(?![A-Za-z0-9_]))",
  "(?<del>~~(?=\\S)([\\s\\S]*?\\S)~~)",
  "(?<url>https?:\\/\\/[^\\s<>\"'`）】，。]*[^\\s<>\"'`）】，。.,;:!?)\\]])",
  "(?<escape>\\\\([!-\\/:-@\\[-`{-~]))",
].join("|"), "gu");

function safeLink(label, address) {
  let url;
  try {
    url = new URL(address, "https://invalid.invalid/");
  } catch {
    return element("span", "", ...label);
  }
  if (!["http:", "https:", "mailto:"].includes(url.protocol) || url.hostname === "invalid.invalid") return element("span", "", ...label);
  const node = element("a", "", ...label);
  node.href = url.href;
  node.target = "_blank";
  node.rel = "noopener noreferrer nofollow";
  return node;
}

function inline(source, depth = 0) {
  if (depth > 8) return [source];
  const out = [];
  let last = 0;
  for (const match of source.matchAll(inlinePattern)) {
    const g = match.groups;
    if (match.index > last) out.push(source.slice(last, match.index));
    last = match.index + match[0].length;
    const inner = (...parts) => inline(parts.find((part) => part !== undefined), depth + 1);
    if (g.code) out.push(element("code", "", match[3].replace(/^ (.+) $/s, "$1")));
    else if (g.math) out.push(renderMath(match[5] ?? match[6] ?? match[7] ?? match[8], match[6] !== undefined || match[7] !== undefined));
    else if (g.link) out.push(safeLink(inner(match[10] || match[11]), match[11]));
    else if (g.strong) out.push(element("strong", "", ...inner(match[13], match[14])));
    else if (g.em) out.push(element("em", "", ...inner(match[16], match[17])));
    else if (g.del) out.push(element("del", "", ...inner(match[19])));
    else if (g.url) out.push(safeLink([g.url], g.url));
    else out.push(match[22]);
  }
  if (last < source.length) out.push(source.slice(last));
  return out;
}

// --- blocks ---------------------------------------------------------------------------------------------------------

const fence = /^ {0,3}(```+|~~~+)\s*([^\s`]*)[^`]*$/;
const heading = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const item = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const rule = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const mathBegin = /^ {0,3}(\$\$|\\\[)/;

// Cuts the text into the sources of its blocks; each is a list of lines.
function split(lines) {
  const blocks = [];
  for (let i = 0; i < lines.length;) {
    const begin = i;
    const open = fence.exec(lines[i]);
    if (open) {
      for (++i; i < lines.length && !(lines[i].trim().startsWith(open[1]) && /^[`~]+$/.test(lines[i].trim()));) ++i;
      ++i;
    } else if (mathBegin.test(lines[i])) {
      const end = lines[i].trim().startsWith("$$") ? "$$" : "\\]";
      if (!lines[i].trim().slice(2).includes(end)) for (++i; i < lines.length && !lines[i].includes(end);) ++i;
      ++i;
    } else if (lines[i].trim() === "" || heading.test(lines[i]) || rule.test(lines[i])) {
      ++i;
    } else if (item.test(lines[i])) {
      for (++i; i < lines.length; ++i) {
        const blank = lines[i].trim() === "";
        const goesOn = (line) => item.test(line) || /^\s{2,}\S/.test(line);
        if (blank ? !(i + 1 < lines.length && goesOn(lines[i + 1])) : heading.test(lines[i]) || fence.test(lines[i]) && !/^\s/.test(lines[i])) break;
      }
    } else {
      const quote = lines[i].startsWith(">"), table = lines[i].trimStart().startsWith("|");
      for (++i; i < lines.length && lines[i].trim() !== ""; ++i) {
        if (fence.test(lines[i]) || heading.test(lines[i]) || mathBegin.test(lines[i])) break;
        if (!quote && !table && (item.test(lines[i]) || lines[i].startsWith(">"))) break;
        if (table !== lines[i].trimStart().startsWith("|")) break;
      }
    }
    if (lines[begin].trim() !== "") blocks.push(lines.slice(begin, i));
  }
  return blocks;
}

// What may be wider than the page is scrolled by keys, too.
function scrolling(node) {
  node.tabIndex = 0;
  return node;
}

function codeBlock(lines) {
  const open = fence.exec(lines[0]);
  const closed = lines.length > 1 && /^\s*[`~]{3,}\s*$/.test(lines.at(-1));
  const code = lines.slice(1, closed ? -1 : undefined).join("\n");
  const pre = scrolling(element("pre", "", element("code", "", highlight(code, open[2].toLowerCase()))));
  return element("div", "code", element("div", "code-head", element("span", "", open[2]), copyButton(() => code)), pre);
}

function list(lines, depth) {
  const first = item.exec(lines[0]);
  const ordered = /\d/.test(first[2]);
  const node = element(ordered ? "ol" : "ul");
  if (ordered) node.start = Number.parseInt(first[2], 10);
  const indent = first[1].length;
  for (let i = 0; i < lines.length;) {
    const head = item.exec(lines[i]);
    const own = [head ? head[3] : lines[i]];
    for (++i; i < lines.length; ++i) {
      const next = item.exec(lines[i]);
      if (next && next[1].length <= indent + 1) break;
      own.push(lines[i].slice(Math.min(indent + 2, lines[i].length - lines[i].trimStart().length)));
    }
    const blocks = depth < 8 ? split(own) : [own];
    const tight = blocks.length > 0 && !fence.test(blocks[0][0]) && !item.test(blocks[0][0]);
    const li = element("li", "", ...(tight ? inline(blocks[0].join("\n")) : []));
    for (const block of blocks.slice(tight ? 1 : 0)) li.append(render(block, depth + 1));
    node.append(li);
  }
  return node;
}

function table(lines) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim());
  const row = (line, name) => element("tr", "", ...cells(line).map((cell) => element(name, "", ...inline(cell))));
  const isTable = lines.length > 1 && /^[\s|:-]+$/.test(lines[1]) && lines[1].includes("-");
  if (!isTable) return element("p", "", ...inline(lines.join("\n")));
  return scrolling(element("table", "", element("thead", "", row(lines[0], "th")),
    element("tbody", "", ...lines.slice(2).map((line) => row(line, "td")))));
}

function render(lines, depth = 0) {
  if (fence.test(lines[0])) return codeBlock(lines);
  if (mathBegin.test(lines[0])) {
    const source = lines.join("\n").trim();
    return scrolling(element("div", "formula", renderMath(source.slice(2).replace(/(\$\$|\\\])\s*$/, ""), true)));
  }
  const title = heading.exec(lines[0]);
  if (title) return element("h" + Math.min(6, title[1].length + 1), "", ...inline(title[2]));
  if (rule.test(lines[0])) return element("hr");
  if (item.test(lines[0])) return list(lines, depth);
  if (lines[0].startsWith(">") && depth < 8) {
    const inner = split(lines.map((line) => line.replace(/^>\s?/, "")));
    return element("blockquote", "", ...inner.map((block) => render(block, depth + 1)));
  }
  if (lines[0].trimStart().startsWith("|")) return table(lines);
  return element("p", "", ...inline(lines.join("\n")));
}

// Renders growing text into a node.
export class MarkdownView {
  constructor(node) {
    this.node = node;
    this.sources = [];
  }
  update(source) {
    const blocks = split(source.split("\n"));
    const sources = blocks.map((lines) => lines.join("\n"));
    let same = 0;
    while (same < sources.length && sources[same] === this.sources[same]) ++same;
    while (this.node.childNodes.length > same) this.node.lastChild.remove();
    for (const lines of blocks.slice(same)) this.node.append(render(lines));
    this.sources = sources;
  }
}
