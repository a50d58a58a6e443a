// Which page is shown: what is behind the `#`.

let back = "#/";
let turn = 0;

async function route() {
  const mine = ++turn;
  const hash = location.hash.replace(/^#\/?/, "");
  const main = document.getElementById("main");
  if (!hash.startsWith("case/")) {
    back = location.hash || "#/";
    const query = hash.startsWith("?") ? hash.slice(1) : "";
    main.replaceChildren(...overview(query).flat(Infinity).filter(Boolean));
    main.dataset.page = "overview";
    return;
  }
  const id = decodeURIComponent(hash.slice("case/".length));
  document.title = `${id} – Mayday report`;
  const one = byId.get(id);
  try {
    const content = one
      ? casePage(one, await details(one))
      : [el("h1", {}, "No such case"), el("p", {}, id), el("a", { href: back }, "All cases")];
    if (mine !== turn) return;
    main.replaceChildren(...content.flat(Infinity).filter(Boolean));
  } catch (error) {
    main.replaceChildren(
      el("h1", {}, id),
      el("p", { class: "warning", role: "alert" }, String(error.message || error)),
    );
    console.error(error);
  }
  main.dataset.page = "case";
  window.scrollTo(0, 0);
  main.focus({ preventScroll: true });
}

const tally = ORDER.map((outcome) => [outcome, cases.filter((one) => one.outcome === outcome).length]).filter(
  ([, many]) => many,
);
document
  .getElementById("counts")
  .append(
    ...tally.map(([outcome, many]) =>
      el("span", { class: `badge ${outcome}` }, `${MARKS[outcome]} ${many} ${WORDS[outcome]}`),
    ),
  );
window.addEventListener("hashchange", route);
// Where a filter was left, its page comes back.
document.getElementById("home").addEventListener("click", (event) => {
  event.preventDefault();
  location.hash = back;
});
if (!location.hash && cases.length === 1 && index.left_out === 0) location.replace(`#/case/${encodeURIComponent(cases[0].id)}`);
route();
