// From events and record to lanes: who did what from when to when. Nothing is drawn here.

/**
 * A lane has `segments` ({ from, to, kind, label, title }), `inner` ones (notifiers within a step), `holds` (locks held)
 * and `marks` ({ at, kind, title }). Times are ns since the claim.
 */
function lanesOf(run) {
  const panic = run.events.filter((event) => event.stream === "panic");
  const field = (event, key) => (event && event.fields ? event.fields[key] : undefined) ?? "";
  const claim = panic.find((event) => event.kind === "claim");
  if (!claim) return null;
  const record = run.record || { cpus: [] };
  const zero = record.claimed_ns && record.claimed_ns <= claim.at_ns ? record.claimed_ns : claim.at_ns;
  const at = (ns) => ns - zero;
  const last = panic[panic.length - 1];
  const capture = run.events.filter((event) => event.stream === "capture");
  const parked = record.cpus.map((cpu) => cpu.saved_ns).filter(Boolean);
  const told = Math.max(at(last.at_ns), ...parked.map(at).filter((ns) => ns < 1e12), 1000);
  // What did not end goes on for longer than anything tells.
  const whole = run.steps.some((step) => step.ns === undefined) ? told * 1.05 : told;
  const end = whole;
  const lead = Math.max(whole * 0.04, 1000);
  const boot = run.events.find((event) => event.kind === "boot");
  const count = Math.max(
    Number(field(boot, "cpus")) || 0,
    record.cpus.length,
    ...panic.map((event) => event.cpu + 1),
  );
  const lanes = [];

  // Whoever owns the panic, in turn.
  const reigns = [{ cpu: claim.cpu, from: 0 }];
  for (const event of panic.filter((event) => event.kind === "owner")) {
    reigns.push({
      cpu: event.cpu,
      from: at(event.at_ns),
      why: field(event, "why"),
      origin: Number(field(event, "from")),
    });
  }
  reigns.forEach((reign, place) => {
    reign.to = place + 1 < reigns.length ? reigns[place + 1].from : end;
  });

  for (let cpu = 0; cpu < count; cpu++) {
    const lane = { name: `CPU ${cpu}`, cpu, segments: [], inner: [], holds: [], marks: [], notes: [] };
    const reign = reigns.find((one) => one.cpu === cpu);
    if (reign) ownersLane(lane, reign);
    else secondaryLane(lane);
    if (reigns.some((one) => one.origin === cpu && one.why === "redirect")) lane.notes.push("handed over");
    lanes.push(lane);
  }
  return {
    lanes,
    end,
    lead,
    capture: captureLane(),
    spans: run.steps.map((step) => ({
      name: step.name,
      from: at(step.began_ns),
      to: at(step.began_ns) + (step.ns ?? 0),
    })),
  };

  function ownersLane(lane, reign) {
    lane.owner = true;
    lane.notes.push(
      reign.why === "takeover"
        ? "owner, took over"
        : reign.why === "redirect"
          ? "owner, by redirect"
          : "owner",
    );
    if (reign.from === 0)
      lane.segments.push({
        from: -lead,
        to: 0,
        kind: "running",
        label: "running",
        title: "running until it panicked",
      });
    else secondaryLane(lane, reign);
    lane.segments.push({
      from: reign.from,
      to: reign.to,
      kind: "between",
      label: "",
      title: "between two steps",
    });
    const steps = run.steps.map((step, place) => ({
      ...step,
      from: at(step.began_ns),
      next: run.steps[place + 1],
    }));
    const first = steps.find((step) => step.from >= reign.from);
    lane.segments.push({
      from: reign.from,
      to: Math.min(first ? first.from : reign.to, reign.to),
      kind: "claim",
      label: reign.from === 0 ? "claim" : reign.why,
      title: reign.from === 0 ? `claim: ${field(claim, "reason")}` : `the panic is this CPU's: ${reign.why}`,
    });
    for (const step of steps) {
      let to = step.ns !== undefined ? step.from + step.ns : step.next ? at(step.next.began_ns) : end;
      let from = step.from;
      if (to < reign.from || from >= reign.to) continue;
      from = Math.max(from, reign.from);
      to = Math.min(to, reign.to);
      lane.segments.push({
        from,
        to,
        kind: `step ${step.outcome}`,
        label: step.name,
        step: step.name,
        title: `${step.name}: ${step.outcome}${step.ns !== undefined ? ` in ${time(step.ns)}` : ""}${step.detail ? `, ${step.detail}` : ""}`,
        took: step.ns !== undefined ? time(step.ns) : "",
      });
    }
    for (const event of panic.filter(
      (event) => at(event.at_ns) >= reign.from && at(event.at_ns) <= reign.to,
    )) {
      const moment = at(event.at_ns);
      if (event.kind === "notifier") {
        const took = Number(field(event, "ns")) || 0;
        lane.inner.push({
          from: Math.max(moment - took, reign.from),
          to: moment,
          kind: `notifier ${field(event, "outcome")}`,
          label: field(event, "name"),
          title: `${field(event, "class")} notifier ${field(event, "name")}: ${field(event, "outcome")} in ${time(took)}${field(event, "detail") ? `, ${field(event, "detail")}` : ""}`,
        });
      } else if (event.kind === "reentry") {
        lane.marks.push({
          at: moment,
          kind: "reentry",
          title: `entered again in ${field(event, "step")}: ${field(event, "cause")}, depth ${field(event, "depth")}`,
          shot: field(event, "cause") === "deadline",
        });
      } else if (event.kind === "lock" || event.kind === "firmware") {
        lane.marks.push({
          at: moment,
          kind: "ruling",
          title: `${event.kind} ${field(event, "name")} ${field(event, "outcome")}: ${field(event, "ruling")}${field(event, "who") !== "none" ? `, CPU ${field(event, "who")}` : ""}`,
        });
      } else if (event.kind === "rung") {
        lane.marks.push({
          at: moment,
          kind: "rung",
          title: `${field(event, "rung")} to ${field(event, "targets")} CPUs, ${field(event, "strength")}`,
        });
      } else if (event.kind === "final") {
        lane.marks.push({ at: moment, kind: "final", title: `final action: ${field(event, "action")}` });
      }
    }
    if (reign.to < end) {
      const why = reigns.find((one) => one.from === reign.to && one !== reign);
      const lost = why && why.why === "takeover";
      lane.segments.push({
        from: reign.to,
        to: end,
        kind: lost ? "missing" : "parked",
        label: lost ? "missing" : "parked",
        title: lost ? "taken over from: may still run" : "parked after it had handed the panic over",
      });
    }
  }

  /** What a CPU did that does not own the panic, or until it did. */
  function secondaryLane(lane, reign) {
    const end = reign ? reign.from : whole;
    const told = panic.filter((event) => String(field(event, "who")) === String(lane.cpu));
    const stopped = told.find((event) => event.kind === "stopped");
    const held = told.find((event) => event.kind === "held");
    const own = record.cpus.find((cpu) => cpu.cpu === lane.cpu) || {};
    const state =
      own.state && own.state !== "online" ? own.state : field(stopped, "state") || own.own_state || "";
    const add = (from, to, kind, label, title) => {
      if (to > from) lane.segments.push({ from, to, kind, label, title: title || label });
    };
    if (state === "never-online" || state === "starting") {
      add(-lead, end, "absent", state, state === "starting" ? "started, and never came up" : "never started");
      return;
    }
    const rung = panic.find((event) => event.kind === "rung");
    const byRung =
      field(stopped, "rung") && !["none", "lock", "lost-claim", "online"].includes(field(stopped, "rung"));
    const latency = Number(field(stopped, "ns")) || 0;
    const signalled = own.signalled_ns ? at(own.signalled_ns) : byRung && rung ? at(rung.at_ns) : null;
    let saved = own.saved_ns
      ? at(own.saved_ns)
      : byRung && signalled !== null
        ? signalled + latency
        : stopped && state === "parked"
          ? at(stopped.at_ns)
          : null;
    if (reign ? saved === null || saved >= end : state !== "parked" && own.own_state !== "parked")
      saved = null;
    const deferred = own.deferred_ns ? at(own.deferred_ns) : null;
    const then = own.held ? own.held[0] : Number(field(held, "then")) || 0;
    const now = own.held ? own.held[1] : Number(field(held, "now")) || 0;
    const how = own.rung || field(stopped, "rung");
    const locks = (many) => `${many} lock${many === 1 ? "" : "s"}`;
    const orphan = own.orphan && own.orphan !== "none" && own.orphan !== "unknown" ? own.orphan : "";
    // Only the warden takes over.
    const role =
      reign && reign.why === "takeover"
        ? "warden"
        : own.role === "warden" || own.role === "standby"
          ? own.role
          : "";
    const until = (moment) => (moment === null ? end : Math.min(moment, end));
    add(-lead, until(signalled ?? saved), "running", "running", "running its load");
    if (signalled !== null) {
      if (deferred !== null) {
        add(
          signalled,
          until(deferred),
          "signalled",
          "signalled",
          `signalled; acknowledged after ${time(deferred - signalled)}`,
        );
        add(
          deferred,
          until(saved),
          "deferred",
          "deferred",
          `deferred: finishes its critical section (${locks(then)} held)${saved !== null ? `, ${time(saved - deferred)}` : ""}`,
        );
      } else {
        add(
          signalled,
          until(saved),
          "signalled",
          "signalled",
          saved !== null
            ? `signalled; stopped after ${time(saved - signalled)}`
            : "signalled; never answered",
        );
      }
      lane.marks.push({
        at: signalled,
        kind: "signal",
        title: `signalled (${
          (own.signals || [])
            .map((many, place) => many && `${many} ${place ? "NMI" : "IPI"}`)
            .filter(Boolean)
            .join(", ") || how
        })`,
      });
    }
    if (own.cut_ns)
      lane.marks.push({ at: at(own.cut_ns), kind: "cut", title: "second signal: the grace is over" });
    if (saved !== null && reign && reign.why === "redirect")
      add(saved, end, "signalled", "asked", "has the signal that hands it the panic");
    else if (saved !== null)
      add(
        saved,
        end,
        role || "parked",
        role ? `parked, ${role}` : "parked",
        `parked (${how === "lock" ? "asked for a lock" : how})${role ? `; ${role} in the end` : ""}`,
      );
    else if (state === "missing") {
      lane.segments
        .filter((segment) => segment.kind === "signalled")
        .forEach((segment) => {
          segment.kind = "missing";
          segment.label = "missing";
          segment.title = "missing: signalled, never answered; may still run";
        });
      if (!lane.segments.some((segment) => segment.kind === "missing"))
        add(0, end, "missing", "missing", "missing: may still run");
    }
    if (then > 0 || now > 0) {
      const from = Math.max((signalled ?? saved ?? 0) - lead / 2, -lead);
      const orphanTitle = `${locks(now || then)} held when it stopped${orphan ? `: ${orphan}` : ""}${own.blocked_by !== undefined ? `, CPU ${own.blocked_by}` : ""}`;
      if (now > 0)
        lane.holds.push({
          from,
          to: end,
          kind: "orphan",
          label: `holds ${locks(now)}${orphan ? `: orphaned (${orphan})` : ""}`,
          title: orphanTitle,
        });
      else
        lane.holds.push({
          from,
          to: until(saved),
          kind: "hold",
          label: `holds ${locks(then)}`,
          title: `${locks(then)} held at its signal, released before it parked`,
        });
    }
    if (!reign) lane.notes.push([state, role, orphan && `orphan: ${orphan}`].filter(Boolean).join(", "));
  }

  /** The second kernel has a clock of its own: its lane begins at its first event, after the jump. */
  function captureLane() {
    if (!capture.length) return null;
    const start = capture[0].at_ns;
    const moments = capture.map((event) => event.at_ns - start);
    const hold = capture.find((event) => event.kind === "hold");
    const passed = capture.find((event) => event.kind === "pass" || event.kind === "fail");
    const to = Math.max(...moments.filter((_, place) => !hold || capture[place].at_ns <= hold.at_ns), 1000);
    return {
      to,
      verdict: passed ? passed.kind : "",
      title: `capture kernel${passed ? (passed.kind === "pass" ? ": vouches for what it found" : ": cannot vouch") : ""}, ${time(to)} by its own clock`,
    };
  }
}
