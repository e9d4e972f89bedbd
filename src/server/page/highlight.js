// SPDX-License-Identifier: Apache-2.0
// Colours for code: comments, strings, numbers and the words that most languages share. Nodes only, never HTML text.

const words = new Set(("and as assert async await auto bool boolean break case catch char class const constexpr continue def " +
  "default defer del delete do double elif else elseif end enum except export extends extern false False finally float fn for " +
  "foreach from func function global go if impl implements import in include inline int interface is lambda let long match mod " +
  "mut namespace new nil None nonlocal not null nullptr of operator or package pass private protected pub public raise range " +
  "return self short signed sizeof static string struct super switch template then this throw trait true True try type typedef " +
  "typename typeof undefined union unless unsigned until use using var virtual void volatile when where while with yield " +
  "select insert update create table values join group order by limit echo fi done esac local").split(" "));

const hashComments = new Set(["python", "py", "sh", "bash", "shell", "zsh", "ruby", "rb", "yaml", "yml", "toml", "r", "perl", "make",
  "makefile", "dockerfile", "cmake", "ini", ""]);

function pattern(language) {
  const comments = ["\\/\\*[\\s\\S]*?(?:\\*\\/|$)"];
  if (hashComments.has(language)) comments.push("#[^\\n]*");
  if (["sql", "lua", "haskell", "hs"].includes(language)) comments.push("--[^\\n]*");
  else if (!["python", "py", "sh", "bash"].includes(language)) comments.push("\\/\\/[^\\n]*");
  const strings = "\"\"\"[\\s\\S]*?(?:\"\"\"|$)|'''[\\s\\S]*?(?:'''|$)|\"(?:\\\\.|[^\"\\\\\\n])*\"?|'(?:\\\\.|[^'\\\\\\n])*'?|`(?:\\\\.|[^`\\\\])*`?";
  return new RegExp(`(${comments.join("|")})|(${strings})|(\\b\\d[\\w.]*)|([A-Za-z_]\\w*)`, "g");
}

export function highlight(code, language) {
  const out = document.createDocumentFragment();
  let last = 0;
  const put = (match, kind) => {
    out.append(code.slice(last, match.index));
    const span = document.createElement("span");
    span.className = kind;
    span.textContent = match[0];
    out.append(span);
    last = match.index + match[0].length;
  };
  for (const match of code.matchAll(pattern(language))) {
    if (match[1]) put(match, "c");
    else if (match[2]) put(match, "s");
    else if (match[3]) put(match, "n");
    else if (words.has(match[4])) put(match, "k");
  }
  out.append(code.slice(last));
  return out;
}
