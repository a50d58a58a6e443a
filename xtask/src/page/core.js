// What every part of the page needs: elements without markup from data, numbers in words, the cases.
// Nothing in a report is ever parsed as markup: text goes in as text.

const index = JSON.parse(document.getElementById("index").textContent);
const cases = index.cases;
const byId = new Map(cases.map((one) => [one.id, one]));

/** What outcomes look like without their colour. */
const MARKS = { passed: "✓", failed: "✗", skipped: "s", "not-applicable": "–" };
const WORDS = { passed: "passed", failed: "failed", skipped: "skipped", "not-applicable": "not applicable" };
const ORDER = ["failed", "skipped", "passed", "not-applicable"];

/** An element: `el("td", { class: "x", onclick }, "text", child)`. */
function el(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for drawings. */
function draw(name, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""),
  );
  return node;
}

/** A table: `heads` are texts, or texts with a class; `rows` are lists of cells, the first one the row's head. */
function table(caption, heads, rows, attributes) {
  const body = rows.map((row) => {
    const [cells, rowAttributes] = Array.isArray(row) ? [row, {}] : [row.cells, row.attributes];
    const [first, ...rest] = cells;
    return el(
      "tr",
      rowAttributes,
      el("th", { scope: "row" }, first),
      rest.map((cell) => el("td", {}, cell)),
    );
  });
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table",
      attributes || {},
      el("caption", { class: "unseen" }, caption),
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          heads.map((head) => el("th", { scope: "col" }, head)),
        ),
      ),
      el("tbody", {}, body),
    ),
  );
}

/** Nanoseconds in the unit that fits. */
function time(ns) {
  if (ns === null || ns === undefined) return "";
  for (const [unit, name] of [
    [1e9, "s"],
    [1e6, "ms"],
    [1e3, "µs"],
  ]) {
    if (ns >= unit) {
      const value = ns / unit;
      return `${value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2)} ${name}`;
    }
  }
  return `${ns} ns`;
}

function badge(outcome) {
  return el("span", { class: `badge ${outcome}` }, `${MARKS[outcome] || "•"} ${WORDS[outcome] || outcome}`);
}

/** Says something to those who do not see the page. */
function say(text) {
  document.getElementById("spoken").textContent = text;
}

/** The whole of a case. Cases are packed some at a time, and unpacked when one is looked at. */
const packs = new Map();
async function details(one) {
  const place = index.cases.indexOf(one);
  const number = Math.floor(place / index.pack);
  if (!packs.has(number)) packs.set(number, unpack(document.getElementById(`pack-${number}`).textContent));
  return (await packs.get(number))[place % index.pack];
}

async function unpack(base64) {
  if (!("DecompressionStream" in window)) {
    throw new Error(
      "this browser cannot unpack cases (it has no DecompressionStream); cases.jsonl has the same content",
    );
  }
  const bytes = Uint8Array.from(atob(base64.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

/** A button that puts a text on the clipboard. */
function copier(text, what) {
  const button = el(
    "button",
    {
      type: "button",
      class: "copy",
      "aria-label": `Copy ${what}`,
      onclick: async () => {
        try {
          await navigator.clipboard.writeText(text);
          button.textContent = "Copied";
        } catch {
          const range = document.createRange();
          range.selectNodeContents(button.previousElementSibling);
          getSelection().removeAllRanges();
          getSelection().addRange(range);
          button.textContent = "Selected";
        }
        say(`${what}: ${button.textContent.toLowerCase()}`);
      },
    },
    "Copy",
  );
  return button;
}

function command(title, text) {
  return text
    ? el("div", { class: "command" }, el("h3", {}, title), el("code", {}, text), copier(text, title))
    : null;
}
