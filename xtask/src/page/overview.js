// The first page: what there is, what changed, a heat map, and the list of cases.

const AXES = [...new Set(cases.flatMap((one) => Object.keys(one.axes)))].sort();
const MACHINES = [...new Set(cases.map((one) => one.machine))].sort();
const VARYING = AXES.filter((axis) =>
  MACHINES.some(
    (machine) =>
      new Set(
        cases
          .filter((one) => one.machine === machine)
          .map((one) => one.axes[axis])
          .filter(Boolean),
      ).size > 1,
  ),
);

/** Axes whose values make the columns: as many columns as fit beside each other and are half full. */
const DEFAULT_COLUMNS = (() => {
  const ran = cases.filter((one) => Object.keys(one.axes).length);
  const rows = new Set(ran.map((one) => one.scenario)).size;
  let best = { columns: 0, axes: [] };
  for (let set = 0; set < 2 ** VARYING.length; set++) {
    const axes = VARYING.filter((_, place) => set & (2 ** place));
    const key = (one) => [one.machine, ...axes.map((axis) => one.axes[axis])].join("/");
    const columns = new Set(ran.map(key)).size;
    const cells = new Set(ran.map((one) => `${one.scenario}/${key(one)}`)).size;
    if (columns <= 26 && cells >= rows * columns * 0.5 && columns > best.columns) best = { columns, axes };
  }
  return best.axes;
})();

function readFilters(query) {
  const parameters = new URLSearchParams(query);
  const list = (key, otherwise) =>
    parameters.has(key) ? parameters.get(key).split(",").filter(Boolean) : otherwise;
  return {
    text: parameters.get("q") || "",
    outcomes: new Set(list("o", ORDER)),
    machines: new Set(list("m", MACHINES)),
    columns: list("c", DEFAULT_COLUMNS).filter((axis) => VARYING.includes(axis)),
  };
}

function writeFilters(filters) {
  const parameters = new URLSearchParams();
  if (filters.text) parameters.set("q", filters.text);
  if (filters.outcomes.size < ORDER.length) parameters.set("o", [...filters.outcomes].join(","));
  if (filters.machines.size < MACHINES.length) parameters.set("m", [...filters.machines].join(","));
  if (filters.columns.join() !== DEFAULT_COLUMNS.join()) parameters.set("c", filters.columns.join(","));
  const query = parameters.toString();
  history.replaceState(null, "", query ? `#/?${query}` : "#/");
}

/** Every word has to be in a case's name, outcome, checks, reason or summary; one with a minus before it must not.
 * `cpus=4` is that value of that choice and no other. */
function matches(one, filters) {
  if (!filters.outcomes.has(one.outcome) || !filters.machines.has(one.machine)) return false;
  const text =
    `${one.id} ${WORDS[one.outcome]} ${one.red.join(" ")} ${one.why} ${index.summaries[one.scenario] || ""}`.toLowerCase();
  const has = (word) => {
    const [, key, value] = word.match(/^([a-z]+)=(.*)$/) || [];
    const own =
      key === undefined ? undefined : { machine: one.machine, scenario: one.scenario, ...one.axes }[key];
    return own === undefined ? text.includes(word) : own.toLowerCase() === value;
  };
  return filters.text
    .toLowerCase()
    .split(/\s+/)
    .filter(Boolean)
    .every((word) => (word.startsWith("-") && word.length > 1 ? !has(word.slice(1)) : has(word)));
}

function overview(query) {
  document.title = "Mayday report";
  const filters = readFilters(query);
  const mapPlace = el("div", {});
  const listPlace = el("div", {});
  const count = el("p", { id: "shown" });
  const redraw = () => {
    const shown = cases.filter((one) => matches(one, filters));
    count.textContent = `${shown.length} of ${cases.length} cases`;
    mapPlace.replaceChildren(
      heatMap(shown, filters, (words) => {
        filters.text = words;
        text.value = words;
        changed();
        document.getElementById("cases-title").scrollIntoView();
        document.getElementById("cases-title").focus();
      }),
    );
    listPlace.replaceChildren(list(shown));
  };
  const columns = new Set(filters.columns);
  const changed = () => {
    filters.columns = VARYING.filter((axis) => columns.has(axis));
    writeFilters(filters);
    redraw();
    say(count.textContent);
  };
  const text = el("input", {
    type: "search",
    id: "text",
    value: filters.text,
    placeholder: "words; -word leaves out",
    autocomplete: "off",
    oninput: () => {
      filters.text = text.value;
      changed();
    },
  });
  const boxes = (legend, name, values, chosen, label) =>
    el(
      "fieldset",
      {},
      el("legend", {}, legend),
      values.map((value) =>
        el(
          "label",
          {},
          el("input", {
            type: "checkbox",
            name,
            value,
            checked: chosen.has(value),
            onchange: (event) => {
              event.target.checked ? chosen.add(value) : chosen.delete(value);
              changed();
            },
          }),
          label(value),
        ),
      ),
    );
  const ofOutcome = (outcome) => cases.filter((one) => one.outcome === outcome).length;
  const page = [
    el("h1", {}, "Mayday report"),
    index.warnings.map((warning) => el("p", { class: "warning", role: "alert" }, warning)),
    index.left_out > 0
      ? el("p", {}, `${index.left_out} more runs went well like the first one of their row; cases.jsonl has them.`)
      : null,
    comparison(),
    el(
      "form",
      {
        class: "filters",
        role: "search",
        "aria-label": "Filter",
        onsubmit: (event) => event.preventDefault(),
      },
      el("label", { class: "text", for: "text" }, "Filter", text),
      boxes(
        "Outcome",
        "outcome",
        ORDER.filter(ofOutcome),
        filters.outcomes,
        (outcome) => `${MARKS[outcome]} ${WORDS[outcome]} (${ofOutcome(outcome)})`,
      ),
      boxes("Machine", "machine", MACHINES, filters.machines, (machine) => machine),
      VARYING.length ? boxes("Columns by", "columns", VARYING, columns, (axis) => axis) : null,
      el(
        "button",
        {
          type: "button",
          id: "clear",
          onclick: () => {
            location.hash = "#/";
            if (location.hash === "#/") route();
          },
        },
        "Clear",
      ),
    ),
    count,
    el("h2", { id: "map-title" }, "Scenarios and axes"),
    mapPlace,
    el("h2", { id: "cases-title", tabindex: "-1" }, "Cases"),
    listPlace,
    times(),
    unnamed(),
  ];
  redraw();
  return page;
}

/** What cases take, beside the same emulator with a kernel that ends at once. */
function times() {
  if (!index.times.length) return null;
  const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;
  return el(
    "section",
    { class: "times", "aria-labelledby": "times-title" },
    el("h2", { id: "times-title" }, "Wall time and its floor"),
    el(
      "p",
      {},
      "The floor is the same emulator with a kernel that turns the machine off as soon as it has read its command line. Medians; one run at a time.",
    ),
    table(
      "Wall time and its floor",
      ["machine", "cases", "a case", "floor", "times the floor"],
      index.times.map((one) => [
        one.machine,
        one.cases,
        seconds(one.wall_ms),
        seconds(one.floor_ms),
        one.ratio.toFixed(2),
      ]),
    ),
  );
}

/** Scenarios of this report that nothing is known to turn red. */
function unnamed() {
  const { named, unnamed: list } = index.mutants;
  const all = named + list.length;
  if (!all) return null;
  return el(
    "section",
    { class: "unnamed", "aria-labelledby": "unnamed-title" },
    el("h2", { id: "unnamed-title" }, "Scenarios that no mutant turns red"),
    el(
      "p",
      {},
      list.length ? `${list.length} of ${all}` : `None of ${all}`,
      ", each machine's counted, as the headers of the patches in mutants/ name them when this page is made. That is a claim: ",
      el("code", {}, "cargo xtask mutants --metal"),
      " breaks the tree with each patch and looks.",
    ),
    el(
      "ul",
      {},
      index.mutants.unnamed.map(([machine, scenario]) => el("li", {}, `${machine}/${scenario}`)),
    ),
  );
}

/** What differs from an earlier report. */
function comparison() {
  const changes = index.comparison;
  if (!changes) return null;
  const group = (title, kind, ids, words) =>
    !ids.length && kind !== "failed" && kind !== "passed"
      ? null
      : el(
          "details",
          { open: kind === "failed" && ids.length > 0, class: kind },
          el("summary", {}, `${title}: ${ids.length}`),
          el(
            "ul",
            {},
            ids.map((id, at) =>
              el(
                "li",
                {},
                byId.has(id) ? caseLink(id) : id,
                words ? el("span", { class: "faint" }, ` ${words[at]}`) : null,
              ),
            ),
          ),
        );
  const pairs = (list) => [list.map((one) => one[0]), list.map((one) => `${one[1]} → ${one[2]}`)];
  return el(
    "section",
    { class: "comparison", "aria-labelledby": "comparison-title" },
    el("h2", { id: "comparison-title" }, `Compared with ${index.compared}`),
    group("New red", "failed", changes.newly_red),
    group("Newly green", "passed", changes.newly_green),
    group("Still red", "still", changes.still_red),
    group("New cases", "new", changes.new),
    group("Gone", "gone", changes.gone),
    group("Other outcome", "other", ...pairs(changes.other)),
    group("As good as before, other outcomes of steps", "other", ...pairs(changes.other_steps)),
  );
}

function caseLink(id) {
  return el("a", { href: `#/case/${encodeURIComponent(id)}` }, id);
}

/** Rows are scenarios, columns machines and the values of the chosen axes. */
function heatMap(shown, filters, narrow) {
  const keyOf = (one) => filters.columns.map((axis) => one.axes[axis] || "");
  const numeric = (a, b) => a.localeCompare(b, "en", { numeric: true });
  const columns = new Map();
  const bare = new Map();
  const cells = new Map();
  const ran = new Set(
    cases.filter((one) => Object.keys(one.axes).length).map((one) => `${one.machine}\n${one.scenario}`),
  );
  const at = (map, key) => map.get(key) || map.set(key, []).get(key);
  for (const one of shown) {
    if (!Object.keys(one.axes).length) {
      // Of a row that runs with other values, the cell that has no meaning is not known.
      if (ran.has(`${one.machine}\n${one.scenario}`)) continue;
      at(bare, `${one.machine}\n${one.scenario}`).push(one);
      if (![...columns.values()].some((column) => column.machine === one.machine))
        columns.set(one.machine, { machine: one.machine, values: filters.columns.map(() => "") });
      continue;
    }
    const key = [one.machine, ...keyOf(one)].join("\n");
    columns.set(key, { machine: one.machine, values: keyOf(one) });
    at(cells, `${one.scenario}\n${key}`).push(one);
  }
  const withCases = new Set(
    [...columns.values()].filter((column) => column.values.some(Boolean)).map((column) => column.machine),
  );
  const order = [...columns.entries()]
    .filter(
      ([, column]) =>
        !filters.columns.length || column.values.some(Boolean) || !withCases.has(column.machine),
    )
    .sort(
      (a, b) =>
        numeric(a[1].machine, b[1].machine) ||
        a[1].values.reduce((found, value, place) => found || numeric(value, b[1].values[place]), 0),
    );
  const scenarios = [
    ...new Set([...cells.values(), ...bare.values()].flat().map((one) => one.scenario)),
  ].sort();
  if (!scenarios.length) return el("p", { class: "faint" }, "Nothing matches.");
  const groups = [...new Set(order.map(([, column]) => column.machine))];
  const heads = [
    el(
      "tr",
      {},
      el("th", { scope: "row", class: "axis" }, "machine"),
      groups.map((machine) =>
        el(
          "th",
          {
            scope: "colgroup",
            colspan: order.filter(([, column]) => column.machine === machine).length,
            class: "group first",
          },
          machine,
        ),
      ),
    ),
  ];
  const first = (place) => place === 0 || order[place - 1][1].machine !== order[place][1].machine;
  filters.columns.forEach((axis, level) => {
    const row = el("tr", {}, el("th", { scope: "row", class: "axis" }, axis));
    for (let place = 0; place < order.length;) {
      const same = (other) =>
        order[other] &&
        !(other > place && first(other)) &&
        order[other][1].values.slice(0, level + 1).join() ===
          order[place][1].values.slice(0, level + 1).join();
      let end = place + 1;
      while (same(end)) end++;
      const value = order[place][1].values[level];
      row.append(
        el(
          "th",
          {
            scope: end - place > 1 ? "colgroup" : "col",
            colspan: end - place,
            class: first(place) ? "first" : null,
            title: `${axis} ${value}`,
          },
          value,
        ),
      );
      place = end;
    }
    heads.push(row);
  });
  const rows = scenarios.map((scenario) =>
    el(
      "tr",
      {},
      el("th", { scope: "row", title: index.summaries[scenario] || null }, scenario),
      order.map(([key, column], place) => {
        const own = cells.get(`${scenario}\n${key}`) || bare.get(`${column.machine}\n${scenario}`) || [];
        return el(
          "td",
          { class: first(place) ? "first" : null },
          own.length ? cell(scenario, column, filters, own, narrow) : null,
        );
      }),
    ),
  );
  const grid = el(
    "table",
    { class: "map", "aria-labelledby": "map-title", "aria-describedby": "map-help", onkeydown: arrows },
    el("thead", {}, heads),
    el("tbody", {}, rows),
  );
  const links = grid.querySelectorAll("tbody a");
  links.forEach((link, place) => link.setAttribute("tabindex", place ? "-1" : "0"));
  return el(
    "div",
    {},
    el(
      "p",
      { id: "map-help", class: "faint" },
      ORDER.map((outcome) => `${MARKS[outcome]} ${WORDS[outcome]}`).join(", "),
      ". A number: so many cases. Arrow keys move from cell to cell.",
    ),
    el("div", { class: "scroll map-scroll" }, grid),
  );
}

function cell(scenario, column, filters, own, narrow) {
  const worst = ORDER.find((outcome) => own.some((one) => one.outcome === outcome));
  const bad = own.filter((one) => one.outcome === worst).length;
  const words = ORDER.map((outcome) => [outcome, own.filter((one) => one.outcome === outcome).length])
    .filter(([, many]) => many)
    .map(([outcome, many]) => `${many} ${WORDS[outcome]}`)
    .join(", ");
  const place = [column.machine, ...column.values.filter(Boolean)].join(", ");
  const why = own.length === 1 ? [own[0].red.join(", "), own[0].why].filter(Boolean).join(": ") : "";
  const label = `${scenario}, ${place}: ${words}${why ? `: ${why}` : ""}`;
  const number = own.length === 1 ? "" : bad === own.length ? bad : `${bad}/${own.length}`;
  const one = own.length === 1 ? `#/case/${encodeURIComponent(own[0].id)}` : null;
  const exact = () =>
    [
      `scenario=${scenario}`,
      `machine=${column.machine}`,
      ...filters.columns.map((axis, at) => column.values[at] && `${axis}=${column.values[at]}`),
    ].filter(Boolean);
  return el(
    "a",
    {
      class: `cell ${worst}`,
      href: one || "#/",
      "aria-label": label,
      title: label,
      onclick: (event) => {
        if (!one) {
          event.preventDefault();
          narrow(exact().join(" "));
        }
      },
    },
    `${MARKS[worst]}${number}`,
  );
}

/** Arrow keys in the heat map: one stop for the tab key, however large it is. */
function arrows(event) {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  const here = event.target.closest("td");
  if (!step || !here) return;
  event.preventDefault();
  const rows = [...here.closest("tbody").rows];
  let row = rows.indexOf(here.parentElement);
  let column = here.cellIndex;
  for (;;) {
    row += step[0];
    column += step[1];
    const next = rows[row] && rows[row].cells[column];
    if (!next || next.tagName !== "TD") return;
    const link = next.querySelector("a");
    if (link) {
      here.querySelector("a").setAttribute("tabindex", "-1");
      link.setAttribute("tabindex", "0");
      link.focus();
      return;
    }
  }
}

function list(shown) {
  const news = new Set(index.comparison ? index.comparison.newly_red : []);
  const sorted = [...shown].sort((a, b) => ORDER.indexOf(a.outcome) - ORDER.indexOf(b.outcome));
  return table(
    "Cases",
    ["case", "outcome", "wall time", "what was not as expected, or why it was not run"],
    sorted.map((one) => ({
      attributes: { class: one.outcome },
      cells: [
        caseLink(one.id),
        badge(one.outcome),
        one.wall === null ? "" : `${(one.wall / 1000).toFixed(1)} s`,
        [
          news.has(one.id) ? el("strong", {}, "new: ") : null,
          [one.red.join(", "), one.why].filter(Boolean).join(": "),
        ],
      ],
    })),
    { class: "cases" },
  );
}
