// The lanes as a drawing, and as a table for those who do not see it.

const LEGEND = [
  ["running", "running"],
  ["step done", "step of the panic path"],
  ["step failed", "step failed or cut"],
  ["notifier done", "notifier"],
  ["signalled", "signalled"],
  ["deferred", "deferred: finishes its section"],
  ["parked", "parked"],
  ["warden", "warden or standby"],
  ["missing", "missing"],
  ["hold", "holds a lock"],
  ["orphan", "holds it for ever"],
  ["capture", "capture kernel"],
];

/** What a moment is on the paper: to scale, or with every gap shortened to the logarithm of its length. */
function scaleOf(moments, width, even) {
  const sorted = [...new Set(moments)].sort((a, b) => a - b);
  const [from, to] = [sorted[0], sorted[sorted.length - 1]];
  if (!even) return (ns) => ((Math.min(Math.max(ns, from), to) - from) / (to - from || 1)) * width;
  const places = [0];
  for (let place = 1; place < sorted.length; place++) {
    places.push(places[place - 1] + 0.25 + Math.log10(1 + (sorted[place] - sorted[place - 1]) / 20_000));
  }
  const whole = places[places.length - 1] || 1;
  return (ns) => {
    const moment = Math.min(Math.max(ns, from), to);
    let place = sorted.findIndex((known) => known >= moment);
    if (place <= 0) place = 1;
    if (sorted.length === 1) return 0;
    const part = (moment - sorted[place - 1]) / (sorted[place] - sorted[place - 1] || 1);
    return ((places[place - 1] + part * (places[place] - places[place - 1])) / whole) * width;
  };
}

function ticksOf(from, to, scale, width) {
  const step = 10 ** Math.floor(Math.log10((to - from) / 4 || 1));
  const pitch =
    [1, 2, 5, 10]
      .map((times) => times * step)
      .find((pitch) => (to - from) / pitch <= Math.max(3, width / 110)) || step * 10;
  const ticks = [];
  for (let tick = Math.ceil(from / pitch) * pitch; tick <= to; tick += pitch) ticks.push(tick);
  return ticks;
}

function timeline(run) {
  const all = lanesOf(run);
  if (!all) return el("p", { class: "faint" }, "No CPU claimed a panic in this run.");
  const total = all.end + all.lead;
  const longest = Math.max(0, ...all.spans.map((span) => span.to - span.from));
  const shortest = Math.min(...all.spans.map((span) => span.to - span.from).filter((ns) => ns > 0), total);
  const state = { even: longest > total * 0.5 || shortest < total / 60, from: -all.lead, to: all.end };
  const place = el("div", {
    class: "scroll timeline",
    tabindex: "0",
    role: "region",
    "aria-label": "Timeline",
  });
  const redraw = () => place.replaceChildren(picture(all, state, Math.max(place.clientWidth || 960, 640)));
  const zoom = el(
    "select",
    {
      id: "zoom",
      onchange: () => {
        const span = all.spans[Number(zoom.value)];
        const margin = span ? Math.max((span.to - span.from) * 0.06, 1000) : 0;
        Object.assign(
          state,
          span ? { from: span.from - margin, to: span.to + margin } : { from: -all.lead, to: all.end },
        );
        redraw();
      },
    },
    el("option", { value: "-1" }, "whole path"),
    all.spans.map((span, number) =>
      span.to > span.from
        ? el("option", { value: number }, `${span.name} (${time(span.to - span.from)})`)
        : null,
    ),
  );
  const even = el("input", {
    type: "checkbox",
    id: "even",
    checked: state.even,
    onchange: () => {
      state.even = even.checked;
      redraw();
    },
  });
  // At once in some width, and in the right one as soon as there is one.
  redraw();
  if ("ResizeObserver" in window) {
    let width = 0;
    new ResizeObserver(() => {
      if (place.clientWidth !== width) {
        width = place.clientWidth;
        redraw();
      }
    }).observe(place);
  }
  return el(
    "div",
    {},
    el(
      "div",
      { class: "controls" },
      el("label", { for: "zoom" }, "Show ", zoom),
      el("label", {}, even, "shorten long waits (not to scale)"),
    ),
    place,
    legend(),
    el("details", {}, el("summary", {}, "The timeline as a table"), asTable(all)),
  );
}

function legend() {
  return el(
    "ul",
    { class: "legend", "aria-label": "Legend" },
    LEGEND.map(([kind, words]) =>
      el(
        "li",
        {},
        draw(
          "svg",
          { width: 22, height: 12, "aria-hidden": "true" },
          patterns(),
          draw("rect", { width: 22, height: 12, class: `seg ${kind}` }),
        ),
        words,
      ),
    ),
    el("li", {}, el("span", { class: "glyph reentry", "aria-hidden": "true" }, "▼"), "entered again"),
    el(
      "li",
      {},
      el("span", { class: "glyph ruling", "aria-hidden": "true" }, "◆"),
      "lock or firmware refused or taken",
    ),
    el("li", {}, el("span", { class: "glyph cut", "aria-hidden": "true" }, "✂"), "grace over"),
    el("li", {}, el("span", { class: "glyph", "aria-hidden": "true" }, "↯"), "signals sent"),
    el("li", {}, el("span", { class: "glyph", "aria-hidden": "true" }, "■"), "final action"),
  );
}

function patterns() {
  const lines = (id, angle, kind) =>
    draw(
      "pattern",
      { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: `rotate(${angle})` },
      draw("rect", { width: 6, height: 6, class: `${kind} ground` }),
      draw("line", { x1: 0, y1: 0, x2: 0, y2: 6, class: `${kind} ink` }),
    );
  return draw(
    "defs",
    {},
    lines("hatch-deferred", 45, "p-deferred"),
    lines("hatch-missing", -45, "p-missing"),
    lines("hatch-orphan", 45, "p-orphan"),
    lines("hatch-failed", -45, "p-failed"),
  );
}

function picture(all, state, width) {
  const names = 152;
  const tail = all.capture && state.to >= all.end ? 96 : 0;
  const room = width - names - tail - 12;
  const inside = (ns) => ns >= state.from && ns <= state.to;
  const moments = [state.from, state.to];
  for (const lane of all.lanes) {
    for (const part of [...lane.segments, ...lane.inner]) moments.push(part.from, part.to);
    for (const mark of lane.marks) moments.push(mark.at);
  }
  const scale = scaleOf(moments.filter(inside), room, state.even);
  const x = (ns) => names + scale(ns);
  const parts = [];
  const rows = [];
  let y = 26;
  for (const lane of all.lanes) {
    const height = lane.owner ? 58 : lane.holds.length ? 38 : 28;
    rows.push({ lane, y, height });
    y += height + 6;
  }
  let captureY = null;
  if (tail) {
    captureY = y;
    y += 34;
  }
  // The steps reach down over all lanes: what the others did in which step is seen at a glance.
  for (const [number, span] of all.spans.entries()) {
    if (span.to < state.from || span.from > state.to || span.to === span.from) continue;
    parts.push(
      draw("rect", {
        x: x(span.from),
        y: 20,
        width: Math.max(x(span.to) - x(span.from), 0.5),
        height: y - 20,
        class: `column ${number % 2 ? "odd" : ""}`,
      }),
    );
  }
  let free = -Infinity;
  const ticks = state.even
    ? [0, ...all.spans.map((span) => span.from), all.end].filter(inside)
    : ticksOf(state.from, state.to, scale, room);
  for (const tick of ticks) {
    if (x(tick) < free) continue;
    const words = tick === 0 ? "claim" : `+${time(tick)}`;
    const wide = words.length * 6.4 + 12;
    const over = x(tick) + wide - 8 > width;
    parts.push(draw("line", { x1: x(tick), x2: x(tick), y1: 16, y2: y, class: "tick" }));
    if (over && x(tick) - wide < free) continue;
    parts.push(
      draw(
        "text",
        { x: x(tick) + (over ? -2 : 2), y: 12, class: "axis", "text-anchor": over ? "end" : "start" },
        words,
      ),
    );
    free = x(tick) + wide;
  }
  for (const { lane, y: top, height } of rows) {
    parts.push(
      draw("text", { x: 4, y: top + 14, class: "lane" }, lane.name),
      draw("text", { x: 4, y: top + 26, class: "note" }, lane.notes.filter(Boolean).join(", ").slice(0, 27)),
    );
    const bar = lane.owner ? 36 : 22;
    lane.segments.forEach((segment) => parts.push(block(segment, top, bar)));
    lane.inner.forEach((segment) => parts.push(block(segment, top + 39, 14)));
    lane.holds.forEach((segment) => parts.push(block(segment, top + 24, 11)));
    lane.marks.filter((mark) => inside(mark.at)).forEach((mark) => parts.push(glyph(mark, top, bar)));
    parts.push(draw("line", { x1: 0, x2: width, y1: top + height + 3, y2: top + height + 3, class: "rule" }));
  }
  const warden = rows.find(({ lane }) => lane.segments.some((segment) => segment.kind === "warden"));
  const owner = rows.filter(({ lane }) => lane.owner);
  for (const { lane, y: top } of owner) {
    for (const mark of lane.marks.filter((mark) => mark.shot && inside(mark.at))) {
      if (
        warden &&
        warden.lane.segments.some((segment) => segment.kind === "warden" && segment.from <= mark.at)
      ) {
        const end = top + (warden.y > top ? 30 : 0);
        parts.push(
          draw(
            "line",
            { x1: x(mark.at), x2: x(mark.at), y1: warden.y + 11, y2: end, class: "shot" },
            draw("title", {}, "the warden's shot"),
          ),
          draw("circle", { cx: x(mark.at), cy: warden.y + 11, r: 3, class: "shot-from" }),
        );
      }
    }
  }
  if (tail) {
    const left = width - tail;
    const kind = all.capture.verdict === "fail" ? "capture failed" : "capture";
    parts.push(
      draw("text", { x: 4, y: captureY + 14, class: "lane" }, "capture"),
      draw("text", { x: 4, y: captureY + 26, class: "note" }, "the second kernel, own clock"),
      draw("line", { x1: x(all.end), x2: left, y1: captureY + 11, y2: captureY + 11, class: "jump" }),
      draw(
        "g",
        {},
        draw("rect", { x: left, y: captureY, width: tail - 6, height: 22, class: `seg ${kind}` }),
        draw(
          "text",
          { x: left + 5, y: captureY + 15, class: "inlabel" },
          `${all.capture.verdict || "runs"} ${time(all.capture.to)}`,
        ),
        draw("title", {}, all.capture.title),
      ),
    );
  }
  const label = all.lanes.map((lane) => `${lane.name}: ${lane.notes.filter(Boolean).join(", ")}`).join("; ");
  return draw(
    "svg",
    {
      width,
      height: y + 4,
      role: "img",
      "aria-label": `${all.lanes.length} CPUs from the claim to ${time(all.end)} after it. ${label}`,
    },
    patterns(),
    parts,
  );

  function block(segment, top, height) {
    if (segment.to < state.from || segment.from > state.to) return [];
    const left = x(segment.from);
    const wide = Math.max(x(segment.to) - left, 1.5);
    const fits = (words) => {
      if (!words || words.length * 6.1 + 8 <= wide) return words || "";
      const letters = Math.floor((wide - 8) / 6.1) - 1;
      return letters >= 2 ? `${words.slice(0, letters)}…` : "";
    };
    const line = (words, y, small) =>
      words ? draw("text", { x: left + 4, y, class: small ? "inlabel small" : "inlabel" }, words) : "";
    const took = segment.took && segment.took.length * 5.6 + 6 <= wide ? segment.took : "";
    const middle = top + height / 2 + 4;
    return draw(
      "g",
      {},
      draw("rect", { x: left, y: top, width: wide, height, rx: 2, class: `seg ${segment.kind}` }),
      line(fits(segment.label), took ? middle - 7 : middle, height < 16),
      line(took, middle + 7, true),
      draw("title", {}, segment.title),
    );
  }

  function glyph(mark, top, bar) {
    const [sign, dy] = {
      reentry: ["▼", 3],
      ruling: ["◆", bar + 1],
      cut: ["✂", 4],
      signal: ["", 0],
      rung: ["↯", bar + 1],
      final: ["■", bar + 1],
    }[mark.kind];
    return sign
      ? draw(
          "text",
          { x: x(mark.at), y: top + dy, class: `glyph ${mark.kind}`, "text-anchor": "middle" },
          sign,
          draw("title", {}, mark.title),
        )
      : [];
  }
}

function asTable(all) {
  const rows = all.lanes.flatMap((lane) =>
    [
      ...[...lane.segments, ...lane.inner, ...lane.holds].map((part) => ({
        lane,
        from: part.from,
        to: part.to,
        words: part.title,
      })),
      ...lane.marks.map((mark) => ({ lane, from: mark.at, to: null, words: mark.title })),
    ].sort((a, b) => a.from - b.from),
  );
  const moment = (ns) => (ns < 0 ? "before" : `+${time(ns)}`);
  return table(
    "The timeline as a table",
    ["CPU", "from", "to", "took", "what"],
    rows.map(({ lane, from, to, words }) => [
      lane.name,
      moment(from),
      to === null ? "" : moment(to),
      to === null || from < 0 ? "" : time(to - from),
      words,
    ]),
  );
}
