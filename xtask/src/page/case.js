// The page of one case.

function casePage(one, whole) {
  const place = cases.indexOf(one);
  const link = (other, words, rel) =>
    other ? el("a", { href: `#/case/${encodeURIComponent(other.id)}`, rel, title: other.id }, words) : null;
  const run = whole.run;
  const facts = [
    ["machine", one.machine],
    ...Object.entries(one.axes),
    ["seed", whole.seed],
    ...(run
      ? [
          ["ended", [run.ended, ...run.shutdowns].join(", ")],
          [
            "wall time",
            `${(run.wall_ms / 1000).toFixed(1)} s${run.floor_ms ? `, at least ${(run.floor_ms / 1000).toFixed(2)} s` : ""}`,
          ],
          ["build", run.build],
          ["deadlines", `budget × ${run.scale}`],
          ["nonce", run.nonce],
          ["folder", run.folder],
        ]
      : []),
  ].filter(([, value]) => value);
  return [
    el(
      "nav",
      { "aria-label": "Cases", class: "pager" },
      el("a", { href: back }, "All cases"),
      link(cases[place - 1], "Previous", "prev"),
      link(cases[place + 1], "Next", "next"),
    ),
    el("h1", { class: "id" }, one.id),
    el("p", {}, badge(one.outcome), " ", index.summaries[one.scenario] || ""),
    whole.reason ? el("p", { class: "warning" }, whole.reason) : null,
    run ? redChecks(run) : null,
    run ? section("Timeline", timeline(run)) : null,
    run && run.steps.length ? section("Steps", stepTable(run)) : null,
    run && run.record ? section("CPUs", cpuTable(run)) : null,
    run ? section("Checks", checkTable(run)) : null,
    section(
      "Run it again",
      command("The run", whole.rerun),
      command("The emulator alone", run && run.qemu),
      run && run.stderr ? [el("h3", {}, "What the emulator said"), el("pre", {}, run.stderr)] : null,
    ),
    section(
      "Facts",
      el(
        "dl",
        {},
        facts.map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, value))),
      ),
    ),
    run ? section("Backtraces", backtraces(run)) : null,
    run && run.record ? section("Crash record", recordPart(run.record)) : null,
    run ? section("Console", consolePart(run, whole.words)) : null,
  ];
}

function section(title, ...content) {
  const id = `section-${title.toLowerCase().replace(/\W+/g, "-")}`;
  return el("section", { "aria-labelledby": id }, el("h2", { id }, title), content);
}

function redChecks(run) {
  const red = run.checks.filter((check) => check.outcome === "fail");
  return red.length
    ? el(
        "div",
        { class: "red", role: "group", "aria-label": "What was not as expected" },
        red.map((check) =>
          el(
            "p",
            {},
            el("strong", {}, `✗ ${check.name}`),
            el("br"),
            "expected: ",
            el("code", {}, check.expected),
            el("br"),
            "found: ",
            el("code", {}, check.found),
          ),
        ),
      )
    : null;
}

function checkTable(run) {
  const marks = {
    ok: ["passed", "✓ ok"],
    fail: ["failed", "✗ FAIL"],
    "not-applicable": ["not-applicable", "– n/a"],
  };
  const row = (check) => ({
    attributes: { class: marks[check.outcome][0] },
    cells: [
      check.name,
      el("span", { class: `badge ${marks[check.outcome][0]}` }, marks[check.outcome][1]),
      check.outcome === "fail"
        ? ["expected ", el("code", {}, check.expected), ", found ", el("code", {}, check.found)]
        : check.found,
    ],
  });
  return table("Checks", ["check", "outcome", "what there was"], run.checks.map(row));
}

/** What a step took beside what it is meant to take. The bar is the part of the budget at scale 1. */
function stepTable(run) {
  const claim = run.events.find((event) => event.stream === "panic" && event.kind === "claim");
  const row = (step) => {
    const budget = step.budget_ms === undefined ? null : step.budget_ms * 1e6;
    const part = budget && step.ns !== undefined ? step.ns / budget : null;
    const words = part === null ? "" : part < 0.01 ? "< 1 %" : `${Math.round(part * 100)} %`;
    return {
      attributes: { class: step.outcome === "failed" ? "failed" : "" },
      cells: [
        step.name,
        el("span", { class: `badge ${step.outcome}` }, step.outcome),
        claim ? `+${time(Math.max(step.began_ns - claim.at_ns, 0))}` : "",
        step.ns === undefined ? "" : time(step.ns),
        budget ? time(budget) : "none",
        budget ? time(budget * run.scale) : "",
        part === null
          ? ""
          : el(
              "span",
              { class: "part" },
              el("span", {
                class: `bar${part > 1 ? " over" : ""}`,
                style: `width:${Math.min(part, 1) * 100}%`,
                "aria-hidden": "true",
              }),
              el("span", {}, words),
            ),
        step.detail || "",
      ],
    };
  };
  const table_ = table(
    "Steps",
    ["step", "outcome", "began", "took", "budget", "deadline", "of its budget", "what it says"],
    run.steps.map(row),
  );
  return [
    table_,
    el(
      "p",
      { class: "faint" },
      `Budgets are at scale 1, with the notifiers of this run; this run's deadlines are ${run.scale} times that. Times are the guest's.`,
    ),
  ];
}

function cpuTable(run) {
  const { record } = run;
  const since = (ns) => (ns ? `+${time(Math.max(ns - record.claimed_ns, 0))}` : "");
  const rows = record.cpus.map((cpu) => [
    `CPU ${cpu.cpu}`,
    [
      cpu.state,
      cpu.own_state !== cpu.state ? ` (says: ${cpu.own_state})` : "",
      cpu.role !== "none" ? `, ${cpu.role}` : "",
    ].join(""),
    cpu.rung && cpu.rung !== "none" ? cpu.rung : "",
    since(cpu.signalled_ns),
    [cpu.signals[0] && `${cpu.signals[0]} IPI`, cpu.signals[1] && `${cpu.signals[1]} NMI`]
      .filter(Boolean)
      .join(", "),
    since(cpu.deferred_ns),
    since(cpu.cut_ns),
    since(cpu.saved_ns),
    cpu.saved_ns && cpu.signalled_ns ? time(Math.max(cpu.saved_ns - cpu.signalled_ns, 0)) : "",
    `${cpu.held[0]} → ${cpu.held[1]}`,
    [cpu.orphan !== "none" ? cpu.orphan : "", cpu.blocked_by !== undefined ? `CPU ${cpu.blocked_by}` : ""]
      .filter(Boolean)
      .join(" "),
  ]);
  return table(
    "CPUs",
    [
      "CPU",
      "state",
      "stopped by",
      "signalled",
      "signals",
      "deferred",
      "grace over",
      "stopped",
      "signal to stop",
      "locks held, then → now",
      "orphans",
    ],
    rows,
  );
}

function backtraces(run) {
  const cpus = (run.record ? run.record.cpus : []).filter(
    (cpu) => cpu.backtrace.length || (cpu.first_backtrace || []).length,
  );
  if (!cpus.length)
    return el(
      "p",
      { class: "faint" },
      "The record was not read, or no CPU saved its registers. What the console shows is named there.",
    );
  const trace = (title, places) =>
    places && places.length
      ? el(
          "div",
          {},
          el("h3", {}, title),
          el(
            "ol",
            { start: 0, class: "trace" },
            places.map(([address, name]) =>
              el(
                "li",
                {},
                el("code", {}, address),
                " ",
                name || el("span", { class: "faint" }, "not in the image"),
              ),
            ),
          ),
        )
      : null;
  return el(
    "div",
    { class: "traces" },
    cpus.map((cpu) => [
      trace(
        `CPU ${cpu.cpu}, ${cpu.own_state === "owner" ? "where it panicked" : "where it stopped"}`,
        cpu.backtrace,
      ),
      trace(`CPU ${cpu.cpu}, at its first signal`, cpu.first_backtrace),
    ]),
  );
}

function recordPart(record) {
  const since = (ns) =>
    ns >= record.claimed_ns ? `+${time(ns - record.claimed_ns)}` : `${time(record.claimed_ns - ns)} before`;
  return [
    el(
      "p",
      {},
      `Read while ${record.read_in} held still. Digest ${record.digest}, owner ${record.owner === undefined ? "none" : `CPU ${record.owner}`}, ${record.entries.length} entries, ${record.surplus_nmis} surplus NMIs.`,
    ),
    (record.problems || []).map((problem) => el("p", { class: "warning" }, problem)),
    el(
      "details",
      {},
      el("summary", {}, `Entries: ${record.entries.length}`),
      table(
        "Entries of the record",
        ["kind", "step", "outcome", "CPU", "began", "took", "argument", "text"],
        record.entries.map((entry) => [
          entry.kind,
          entry.step || "",
          entry.outcome || "",
          entry.cpu,
          since(entry.began_ns),
          time(Math.max(entry.ended_ns - entry.began_ns, 0)),
          entry.argument || "",
          entry.text || "",
        ]),
      ),
    ),
    el(
      "details",
      {},
      el("summary", {}, `Newest lines of the log: ${record.log.length}`),
      table(
        "Newest lines of the log",
        ["CPU", "time", "text"],
        record.log.map(([cpu, at, text]) => [`CPU ${cpu}`, since(at), text]),
      ),
    ),
  ];
}

function consolePart(run, words) {
  const claim = run.events.find((event) => event.stream === "panic" && event.kind === "claim");
  let part = "boot";
  const lines = run.console.map((line, number) => {
    const event = typeof line === "number" ? run.events[line] : null;
    if (event) part = event.stream;
    const text = typeof line === "string" ? line : Array.isArray(line) ? line[0] : "";
    if (text.startsWith("*** panic")) part = "panic";
    const told = event ? words[line] : null;
    if (event && !told) return null;
    const clock = event
      ? event.stream === "panic" && claim
        ? `+${time(Math.max(event.at_ns - claim.at_ns, 0))}`
        : `${(event.at_ns / 1e9).toFixed(3)} s`
      : "";
    return el(
      "li",
      { class: `${part} ${event ? `event ${told[0]}` : "text"}`, value: number + 1 },
      event
        ? [el("span", { class: "who" }, `${event.stream} ${clock} CPU ${event.cpu}`), el("span", {}, told[1])]
        : [el("span", {}, text), Array.isArray(line) ? el("span", { class: "named" }, `  ${line[1]}`) : ""],
    );
  });
  const only = (kind, words) =>
    el(
      "label",
      {},
      el("input", {
        type: "checkbox",
        onchange: (event) => lists.classList.toggle(kind, event.target.checked),
      }),
      words,
    );
  const lists = el("ol", { class: "console" }, lines);
  return [
    el(
      "div",
      { class: "controls" },
      only("only-panic", "only the panic path"),
      only("no-events", "without event lines"),
    ),
    el(
      "p",
      { class: "faint" },
      "A bar on the left: the panic path. Lines with a clock are events, in words.",
    ),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Console" }, lists),
  ];
}
