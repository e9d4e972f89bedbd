// SPDX-License-Identifier: Apache-2.0
// The LaTeX that models write in answers, as MathML nodes. What it does not know is shown as it was written.

const space = "http://www.w3.org/1998/Math/MathML";
const symbols = {
  alpha: "α", beta: "β", gamma: "γ", delta: "δ", epsilon: "ϵ", varepsilon: "ε", zeta: "ζ", eta: "η", theta: "θ", iota: "ι",
  kappa: "κ", lambda: "λ", mu: "μ", nu: "ν", xi: "ξ", pi: "π", rho: "ρ", sigma: "σ", tau: "τ", phi: "ϕ", varphi: "φ", chi: "χ",
  psi: "ψ", omega: "ω", Gamma: "Γ", Delta: "Δ", Theta: "Θ", Lambda: "Λ", Xi: "Ξ", Pi: "Π", Sigma: "Σ", Phi: "Φ", Psi: "Ψ",
  Omega: "Ω", infty: "∞", partial: "∂", nabla: "∇", ell: "ℓ", hbar: "ℏ", emptyset: "∅", forall: "∀", exists: "∃",
};
const operators = {
  times: "×", cdot: "⋅", div: "÷", pm: "±", mp: "∓", leq: "≤", le: "≤", geq: "≥", ge: "≥", neq: "≠", ne: "≠", approx: "≈",
  equiv: "≡", sim: "∼", propto: "∝", in: "∈", notin: "∉", subset: "⊂", subseteq: "⊆", cup: "∪", cap: "∩", to: "→",
  rightarrow: "→", leftarrow: "←", Rightarrow: "⇒", Leftarrow: "⇐", iff: "⇔", Leftrightarrow: "⇔", implies: "⟹", mapsto: "↦",
  ldots: "…", cdots: "⋯", dots: "…", sum: "∑", prod: "∏", int: "∫", iint: "∬", oint: "∮", land: "∧", lor: "∨", neg: "¬",
  mid: "∣", circ: "∘", star: "⋆", perp: "⊥", parallel: "∥", langle: "⟨", rangle: "⟩", lfloor: "⌊", rfloor: "⌋", lceil: "⌈",
  rceil: "⌉", prime: "′", setminus: "∖", oplus: "⊕", otimes: "⊗", "{": "{", "}": "}", "|": "‖", "%": "%", "&": "&", "#": "#",
};
const spaces = { ",": "0.17em", ";": "0.28em", ":": "0.22em", " ": "0.25em", quad: "1em", qquad: "2em", "!": "0" };
const accents = { hat: "^", bar: "¯", vec: "→", dot: "˙", tilde: "~", overline: "¯", widehat: "^" };
const functions = new Set(["sin", "cos", "tan", "log", "ln", "exp", "lim", "max", "min", "sup", "inf", "det", "dim", "gcd", "arg",
  "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan", "Pr"]);
const limitsAboveAndBelow = new Set(["∑", "∏", "lim", "max", "min", "sup", "inf"]);
const maxDepth = 40;

function make(name, ...children) {
  const node = document.createElementNS(space, name);
  node.append(...children);
  return node;
}

function thinSpace() {
  const node = make("mspace");
  node.setAttribute("width", spaces[","]);
  return node;
}

class Parser {
  constructor(source, block) {
    this.tokens = source.match(/\\[A-Za-z]+|\\[\s\S]|[A-Za-z]|\d+(?:\.\d+)?|\s+|[\s\S]/gu) ?? [];
    this.at = 0;
    this.block = block;
    this.depth = 0;
  }
  peek() {
    while (this.at < this.tokens.length && /^\s+$/.test(this.tokens[this.at])) ++this.at;
    return this.tokens[this.at];
  }
  next() {
    const token = this.peek();
    ++this.at;
    return token;
  }
  row(end) {
    if (++this.depth > maxDepth) throw new Error("too deep");
    const row = make("mrow");
    for (let token = this.peek(); token !== undefined && !end(token); token = this.peek()) {
      const isFunction = functions.has(token.slice(1));  // stands off from its neighbours, as in n log n
      if (isFunction && row.lastChild && row.lastChild.localName !== "mo") row.append(thinSpace());
      row.append(this.scripted());
      if (isFunction && !/^[([{)\]},.]$/.test(this.peek() ?? ")")) row.append(thinSpace());
    }
    --this.depth;
    return row;
  }
  argument() {
    if (this.peek() !== "{") return this.atom();
    this.next();
    const row = this.row((token) => token === "}");
    if (this.next() !== "}") throw new Error("no }");
    return row;
  }
  rawArgument() {
    if (this.next() !== "{") throw new Error("no {");
    let raw = "";
    for (let open = 1; this.at < this.tokens.length; ++this.at) {
      const token = this.tokens[this.at];
      if (token === "{") ++open;
      if (token === "}" && --open === 0) break;
      raw += token;
    }
    ++this.at;
    return raw;
  }
  scripted() {
    const base = this.atom();
    let below, above;
    for (let token = this.peek(); token === "_" || token === "^" || token === "'"; token = this.peek()) {
      this.next();
      if (token === "_") below = this.argument();
      else above = token === "'" ? make("mo", "′") : this.argument();
    }
    const stacked = this.block && limitsAboveAndBelow.has(base.textContent);
    if (below && above) return make(stacked ? "munderover" : "msubsup", base, below, above);
    if (below) return make(stacked ? "munder" : "msub", base, below);
    return above ? make(stacked ? "mover" : "msup", base, above) : base;
  }
  atom() {
    const token = this.next();
    if (token === undefined) throw new Error("ends too soon");
    if (token === "{") {
      --this.at;
      return this.argument();
    }
    if (token.startsWith("\\")) return this.command(token.slice(1));
    if (/^\d/.test(token)) return make("mn", token);
    if (/^[A-Za-z\u0080-\uffff]/.test(token)) return make("mi", token);
    if (token === "}" || token === "&") throw new Error("misplaced " + token);
    const node = make("mo", token === "-" ? "−" : token);
    if (/[()[\]|]/.test(token)) node.setAttribute("stretchy", "false");  // \left and \right ask for more
    return node;
  }
  command(name) {
    if (name in symbols) return make("mi", symbols[name]);
    if (name in operators) return make("mo", operators[name]);
    if (functions.has(name)) return make("mi", name);
    if (name in accents) {
      const node = make("mover", this.argument(), make("mo", accents[name]));
      node.setAttribute("accent", "true");
      return node;
    }
    if (name in spaces) {
      const node = make("mspace");
      node.setAttribute("width", spaces[name]);
      return node;
    }
    switch (name) {
      case "frac": case "dfrac": case "tfrac": return make("mfrac", this.argument(), this.argument());
      case "binom": {
        const fraction = make("mfrac", this.argument(), this.argument());
        fraction.setAttribute("linethickness", "0");
        return make("mrow", make("mo", "("), fraction, make("mo", ")"));
      }
      case "sqrt": {
        if (this.peek() !== "[") return make("msqrt", this.argument());
        this.next();
        const degree = this.row((token) => token === "]");
        this.next();
        return make("mroot", this.argument(), degree);
      }
      case "text": case "mathrm": case "textbf": case "operatorname": case "textit": return make("mtext", this.rawArgument());
      case "mathbf": case "mathbb": case "mathcal": case "boldsymbol": case "boxed": return this.argument();
      case "left": case "right": case "big": case "Big": case "bigg": case "Bigg": {
        const fence = this.next() ?? "";
        return make("mo", fence === "." ? "" : fence.startsWith("\\") ? operators[fence.slice(1)] ?? fence : fence);
      }
      case "begin": return this.environment(this.rawArgument());
      default: throw new Error("unknown " + name);
    }
  }
  environment(name) {
    const fences = { pmatrix: ["(", ")"], bmatrix: ["[", "]"], vmatrix: ["|", "|"], cases: ["{", ""] }[name] ?? ["", ""];
    if (!/^(p|b|v|)matrix$|^cases$|^aligned$|^align\*?$/.test(name)) throw new Error("unknown " + name);
    const table = make("mtable");
    let row = make("mtr");
    for (;;) {
      row.append(make("mtd", this.row((token) => ["&", "\\\\", "\\end"].includes(token))));
      const token = this.next();
      if (token === "&") continue;
      table.append(row);
      row = make("mtr");
      if (token === undefined) throw new Error("no end");
      if (token === "\\end") break;
    }
    this.rawArgument();
    return make("mrow", make("mo", fences[0]), table, make("mo", fences[1]));
  }
}

export function renderMath(source, block) {
  try {
    const parser = new Parser(source, block);
    const row = parser.row(() => false);
    const node = make("math", row);
    if (block) node.setAttribute("display", "block");
    return node;
  } catch {
    const code = document.createElement("code");
    code.textContent = source;
    return code;
  }
}
