// Values as elements: SQL and JSON laid out and coloured, long text folded. Text is always set as text.

import { copyButton } from "./copy.js";
import { el } from "./dom.js";

const LONG = 600;
const SQL_KEYS = new Set(["db.query.text", "db.statement"]);
const CLAUSES = new Set("SELECT FROM WHERE GROUP ORDER HAVING LIMIT OFFSET RETURNING VALUES SET UNION EXCEPT INTERSECT JOIN LEFT RIGHT INNER CROSS FULL WITH INSERT UPDATE DELETE ON".split(" "));
const WORDS = new Set([...CLAUSES, ..."BY INTO AS AND OR NOT IN IS NULL LIKE ILIKE BETWEEN DISTINCT ASC DESC OUTER CASE WHEN THEN ELSE END EXISTS ALL ANY CREATE TABLE INDEX ALTER DROP BEGIN COMMIT ROLLBACK SAVEPOINT RELEASE CONFLICT DO NOTHING FOR USING COUNT SUM MIN MAX COALESCE CAST TRUE FALSE".split(" ")]);
const JOINED = new Set(["LEFT JOIN", "RIGHT JOIN", "INNER JOIN", "CROSS JOIN", "FULL JOIN", "LEFT OUTER", "RIGHT OUTER", "DELETE FROM", "FULL OUTER", "OUTER JOIN", "ON CONFLICT"]);
const TOKEN = /(--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`)|(\d+(?:\.\d+)?\b)|([A-Za-z_][\w$]*)|(\s+)|([\s\S])/g;

export function valueOf(key, value) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const formatted = SQL_KEYS.has(key) ? sql(text) : json(text);
  const shown = el("div", { className: "value" + (typeof value === "string" ? "" : " typed") + (formatted ? " formatted" : "") });
  const fill = (all) => shown.replaceChildren(...(all || text.length <= LONG ? formatted || [text] : [text.slice(0, LONG) + "… ", el("button", { className: "more", onclick: () => fill(true) }, `all ${text.length.toLocaleString("en")} characters`)]));
  fill(false);
  return el("dd", {}, shown, copyButton(text, "", `Copy ${key}`));
}

function mark(className, text) {
  return el("span", { className }, text);
}

// A clause a line, conditions below it.
function sql(text) {
  const nodes = [];
  let depth = 0, previous = "", began = false;
  for (const [token, quoted, number, word, space] of text.matchAll(TOKEN)) {
    const upper = word?.toUpperCase();
    if (token === "(") depth++;
    if (token === ")") depth--;
    if (space) {
      if (nodes.length) nodes.push(" ");
      continue;
    }
    const starts = CLAUSES.has(upper) && !JOINED.has(`${previous} ${upper}`) && !(upper === "ON" && depth);
    if (began && depth === 0 && (starts || upper === "AND" || upper === "OR")) {
      if (nodes.at(-1) === " ") nodes.pop();
      nodes.push(starts && upper !== "ON" ? "\n" : "\n  ");
    }
    nodes.push(quoted ? mark("s", token) : number ? mark("n", token) : WORDS.has(upper) ? mark("k", token) : token);
    if (word) previous = upper;
    began = true;
  }
  return nodes;
}

function json(text) {
  if (!/^\s*[[{]/.test(text) || text.length > 100_000) return null;
  let parsed;
  try {
    parsed = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof parsed !== "object" || !Object.keys(parsed).length) return null;
  if (Array.isArray(parsed) && parsed.every((item) => typeof item !== "object") && text.length < 80) return null;
  const nodes = [];
  for (const [token, key, string, other] of JSON.stringify(parsed, null, 2).matchAll(/("(?:[^"\\]|\\.)*")(?=:)|("(?:[^"\\]|\\.)*")|(\b(?:true|false|null|-?\d[\d.eE+-]*)\b)|[\s\S]/g)) {
    if (key) nodes.push(mark("k", token));
    else if (string) nodes.push(mark("s", token));
    else if (other) nodes.push(mark("n", token));
    else nodes.push(token);
  }
  return nodes;
}
