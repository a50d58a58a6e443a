//! The page's source, and the page in a browser.

use std::path::PathBuf;
use std::time::Duration;

use super::browser::Browser;
use super::sample::{NASTY, cases};
use super::*;
use crate::workspace::Workspace;

/// What the mutants of the made-up cases name.
fn named() -> Named {
    Named::of(&[("m", "alpha"), ("m", "beta"), ("n", "gone")])
}

#[test]
fn base64_is_that() {
    let texts = ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes()));
    assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
}

#[test]
fn text_of_a_guest_does_not_end_a_script() {
    let page = page(&cases(), &[NASTY.to_owned()], None, &named()).unwrap();
    let scripts = page.matches("<script").count();
    assert_eq!(scripts, page.matches("</script>").count());
    assert_eq!(scripts, 3, "the list, one pack, the program");
    assert!(!page.contains("document.title='harm'</script"), "it is there as it came");
}

#[test]
fn of_too_many_runs_those_are_shown_that_differ() {
    let mut many = cases();
    let (good, bad) = (Outcome::Passed, Outcome::Failed);
    let like = |outcome, id: &str| {
        let case = cases().into_iter().find(|case| case.outcome == outcome).unwrap();
        Case { id: id.into(), ..case }
    };
    many.extend([like(good, "well"), like(good, "well#2"), like(good, "well#3")]);
    many.extend([like(good, "odd"), like(bad, "odd#2"), like(good, "odd#3")]);
    let mut other = like(good, "ways#2");
    other.run.as_mut().unwrap().steps.clear();
    many.extend([like(good, "ways"), other]);
    let ids =
        |most| shown(&many, most).iter().skip(cases().len()).map(|case| case.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(5), ["well", "odd", "odd#2", "odd#3", "ways", "ways#2"]);
    assert_eq!(ids(many.len()).len(), 8);
}

#[test]
fn junit_has_every_case_with_its_outcome() {
    let text = junit::of(&cases()).unwrap();
    assert_eq!(text.matches("<testcase ").count(), 7);
    assert_eq!((text.matches("<failure").count(), text.matches("<skipped").count()), (2, 2));
    assert!(!text.contains("<img"), "{text}");
    assert!(text.contains("steps: expected &lt;/script&gt;"), "{text}");
}

#[test]
fn what_is_written_while_cases_come_is_a_report() {
    let workspace = Workspace::at(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let folder = tempfile::tempdir().unwrap();
    let mut report = Writing::begin(&workspace, Some(folder.path())).unwrap();
    let mut cases = cases();
    cases.push(cases[6].clone());
    cases.iter().rev().for_each(|case| report.add(case.clone()).unwrap());
    report.finish().unwrap();
    let read = crate::cases::Cases::read(folder.path()).unwrap().cases;
    assert_eq!((read.len(), read[1].id.as_str()), (8, "m/other#2"));
    assert!([PAGE, JUNIT].iter().all(|name| folder.path().join(name).is_file()));
    // A report of parts is that of the whole.
    let parts = tempfile::tempdir().unwrap();
    let folders: Vec<_> = (0..3).map(|part| parts.path().join(part.to_string())).collect();
    for (part, folder) in folders.iter().enumerate() {
        let mut report = Writing::begin(&workspace, Some(folder)).unwrap();
        read.iter().skip(part).step_by(3).for_each(|case| report.add(case.clone()).unwrap());
        report.finish().unwrap();
    }
    let mut args = crate::cli::ReportArgs {
        folders,
        out: Some(parts.path().join("all")),
        compare: None,
        equals: Some(folder.path().to_path_buf()),
    };
    command(&workspace, &args).unwrap();
    let page = |folder: &Path| std::fs::read_to_string(folder.join(PAGE)).unwrap();
    assert!(page(&parts.path().join("all")) == page(folder.path()), "the page is another one");
    args.folders.pop();
    assert!(command(&workspace, &args).is_err(), "a part is missing");
    // What would be lost is refused, whatever it is called.
    let lines = |folder: &Path| std::fs::read(folder.join(crate::cases::FILE)).unwrap();
    let before = (lines(folder.path()), lines(&args.folders[0]));
    args.out = Some(folder.path().join("../").join(folder.path().file_name().unwrap()));
    assert!(command(&workspace, &args).is_err(), "what it is held against");
    (args.compare, args.equals) = (args.equals.take(), None);
    assert!(command(&workspace, &args).is_err(), "what it is compared with");
    args.out = Some(args.folders[0].join("."));
    assert!(command(&workspace, &args).is_err(), "a part of it");
    args.out = None;
    assert!(command(&workspace, &args).is_err(), "nowhere to put it");
    assert!(before == (lines(folder.path()), lines(&args.folders[0])));
}

#[test]
fn a_report_keeps_what_stood_there_and_the_files_of_what_failed() {
    let root = tempfile::tempdir().unwrap();
    let workspace = Workspace::at(root.path());
    for folder in ["machines", "mutants", "scenarios"] {
        std::fs::create_dir(root.path().join(folder)).unwrap();
    }
    let mut all = cases().into_iter();
    let mut case = all.find(|case| case.outcome == Outcome::Failed && case.run.is_some()).unwrap();
    case.run.as_mut().unwrap().folder = "out/one".into();
    std::fs::create_dir_all(root.path().join("out/one")).unwrap();
    std::fs::write(root.path().join("out/one/console.log"), "panic").unwrap();
    let folder = root.path().join("report");
    let write = |folder: &Path| {
        let mut report = Writing::begin(&workspace, Some(folder)).unwrap();
        report.add(case.clone()).unwrap();
        report.finish().unwrap();
    };
    write(&folder);
    assert!(!folder.join("earlier").exists());
    assert_eq!(std::fs::read_to_string(folder.join("failed/one/console.log")).unwrap(), "panic");
    std::fs::remove_dir_all(root.path().join("out/one")).unwrap();
    write(&folder);
    assert!(!folder.join("failed").exists() && folder.join(PAGE).is_file());
    for file in [PAGE, JUNIT, crate::cases::FILE, "failed/one/console.log"] {
        assert!(folder.join("earlier").join(file).is_file(), "{file}");
    }
    write(&folder);
    assert!(!folder.join("earlier/failed").exists() && folder.join("earlier").join(PAGE).is_file());
}

/// A page in a browser. `None`, and said so, where there is no browser.
fn open(folder: &Path, page: &str, hash: &str) -> Option<Browser> {
    let program = crate::suite::browser()?;
    let path: PathBuf = folder.join(PAGE);
    std::fs::write(&path, page).unwrap();
    let mut browser = Browser::start(&program);
    browser.looks(1280, 900, "light");
    browser.open(&path, hash);
    Some(browser)
}

const NEEDS: &str = "needs Chromium";

/// A page in use, and what it did wrong.
struct Use {
    browser: Browser,
    faults: Vec<String>,
}

impl Use {
    /// Something has to be so, soon.
    fn is(&mut self, what: &str, expression: &str, expected: impl Into<Value>) {
        let expected = expected.into();
        let so = format!("({expression}) === {expected}");
        if !self.browser.until(&so, Duration::from_secs(3)) {
            let found = self.browser.value(expression);
            self.faults.push(format!("{what}: {found}, not {expected}"));
        }
    }

    fn run(&mut self, expression: &str) {
        self.browser.value(&format!("{{ {expression} }}"));
    }
}

const SHOWN: &str = "document.getElementById('shown').textContent";
const ROWS: &str = "document.querySelectorAll('table.cases tbody tr').length";
const TITLE: &str = "document.querySelector('h1').textContent";
const FOCUS: &str = "document.activeElement.getAttribute('aria-label')";
const LANES: &str = "document.querySelectorAll('.timeline svg text.lane').length";

/// What the page does wrong, in the words of this test.
fn faults(page: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut browser) = open(folder.path(), page, "") else { panic!("{NEEDS}") };
    let faults = browser.problems();
    if !faults.is_empty() {
        return faults;
    }
    let mut page = Use { browser, faults };
    first_page(&mut page);
    filters(&mut page);
    keyboard(&mut page);
    case_pages(&mut page);
    for (width, scheme) in [(1280, "dark"), (390, "light")] {
        page.browser.looks(width, 800, scheme);
        page.is("not wider than its window", "document.documentElement.scrollWidth <= innerWidth", true);
    }
    let problems = page.browser.problems();
    page.faults.into_iter().chain(problems).collect()
}

fn first_page(page: &mut Use) {
    page.is("all cases are listed", ROWS, 7);
    page.is("they are counted", SHOWN, "7 of 7 cases");
    page.is("nothing did harm", "document.title", "Mayday report");
    page.is("no markup came from data", "document.querySelectorAll('main img').length", 0);
    // What has no meaning has a cell in each column.
    page.is("a cell for each", "document.querySelectorAll('.map a.cell').length", 8);
    page.is(
        "wall time beside its floor",
        "[...document.querySelectorAll('.times tbody tr')].map((one) => one.textContent).join(' ')",
        "m21.23 s0.62 s2.00 n21.23 s0.62 s2.00",
    );
    page.is(
        "what no mutant names is listed",
        "[...document.querySelectorAll('.unnamed li')].map((one) => one.textContent).join(' ')",
        "n/alpha n/beta",
    );
    let heads = "[...document.querySelectorAll('table th')].every((head) => head.scope)";
    page.is("every head says what it is of", heads, true);
}

/// By typing and by clicking, kept in the address.
fn filters(page: &mut Use) {
    page.run("document.getElementById('text').focus()");
    page.browser.text("beta -nmi");
    page.is("words filter", SHOWN, "2 of 7 cases");
    page.is("the filter is in the address", "location.hash", "#/?q=beta+-nmi");
    page.is("it is said", "document.getElementById('spoken').textContent", "2 of 7 cases");
    page.run("document.querySelector('input[name=outcome][value=passed]').click()");
    page.is("outcomes filter", SHOWN, "1 of 7 cases");
    page.run("document.getElementById('clear').click()");
    page.is("clear clears", SHOWN, "7 of 7 cases");
    page.run("document.querySelector('input[name=machine][value=n]').click()");
    page.is("machines filter", ROWS, 4);
    page.run("document.getElementById('clear').click()");
    page.is("clear clears again", ROWS, 7);
    page.run("document.getElementById('text').focus()");
    page.browser.text("stop=nmi");
    page.is("values filter", ROWS, 2);
    page.run("document.getElementById('clear').click()");
    page.is("clear clears the text", ROWS, 7);
}

/// Into the map, over it, and into a case.
fn keyboard(page: &mut Use) {
    page.run("document.getElementById('text').focus()");
    for _ in 0..30 {
        page.browser.key("Tab");
        if page.browser.value("document.activeElement.matches('.map a')") == true {
            break;
        }
    }
    page.is("the focus is seen", "getComputedStyle(document.activeElement).outlineStyle", "solid");
    page.is("the tab key gets into the map", FOCUS, "alpha, m, deferred: 1 passed");
    page.browser.key("ArrowRight");
    page.is("arrows move", FOCUS, "alpha, m, nmi: 1 passed");
    page.browser.key("ArrowRight");
    page.is("a red cell says why", FOCUS, "alpha, n, deferred: 1 failed: steps");
    page.browser.key("Enter");
    page.is("Enter opens a case", TITLE, "n/alpha/deferred");
    page.is("it has the focus", "document.activeElement.id", "main");
}

fn case_pages(page: &mut Use) {
    let drawn = |page: &mut Use, kinds: &[&str]| {
        for kind in kinds {
            let there = format!("document.querySelectorAll('.timeline svg g .seg.{kind}').length > 0");
            page.is(kind, &there, true);
        }
    };
    page.run("location.hash = '#/case/' + encodeURIComponent('n/alpha/deferred')");
    page.is("a hang is there", TITLE, "n/alpha/deferred");
    page.is("a lane for each CPU", LANES, 3);
    let kinds =
        ["running", "claim", "step.failed", "notifier.failed", "signalled", "warden", "missing", "orphan"];
    drawn(page, &kinds);
    page.is("the warden shoots", "document.querySelectorAll('.timeline svg line.shot').length", 1);
    page.is(
        "the console is there as it came",
        "document.querySelector('.console').textContent.includes('</script>')",
        true,
    );
    page.is(
        "the panic path is marked in it",
        "document.querySelectorAll('.console li.panic').length > 4",
        true,
    );
    let step = "[...document.querySelectorAll('table')].find((one) => one.caption.textContent === 'Steps').rows[1].cells";
    for (place, text) in [(0, "inform"), (3, "9.00 s"), (4, "1.00 s"), (5, "10.0 s"), (6, "900 %")] {
        page.is("a step with its budget", &format!("{step}[{place}].textContent"), text);
    }
    page.run("location.hash = '#/case/' + encodeURIComponent('m/alpha/deferred')");
    page.is("a good one is there", TITLE, "m/alpha/deferred");
    drawn(page, &["deferred", "parked", "hold", "capture", "step.done"]);
    page.is("the capture kernel has a lane", LANES, 4);
    for id in ["m/beta/deferred", "n/beta/deferred", "m/other", "no such"] {
        page.run(&format!("location.hash = '#/case/' + encodeURIComponent('{id}')"));
        page.is(id, "document.title", format!("{id} – Mayday report"));
    }
}

#[test]
#[ignore = "needs Chromium; `cargo xtask test --filter report-page` runs it"]
fn in_a_browser_the_page_works() {
    assert_eq!(faults(&page(&cases(), &[], None, &named()).unwrap()), Vec::<String>::new());
}

#[test]
#[ignore = "needs Chromium; `cargo xtask test --filter report-page` runs it"]
fn in_a_browser_a_broken_page_is_noticed() {
    let broken = |from: &str, to: &str| {
        let script = format!("(() => {{\n\"use strict\";\n{}\n}})();", SCRIPTS.join("\n"));
        assert!(script.contains(from), "{from}");
        faults(&with_script(&cases(), &[], None, &named(), &script.replace(from, to)).unwrap()).join("; ")
    };
    let noticed = |found: &str, what: &str| assert!(found.contains(what), "{found}");
    noticed(&broken("const shown = cases", "const shown = nothing"), "nothing is not defined");
    noticed(&broken("route();", "route(;"), "SyntaxError");
    noticed(&broken("filters.outcomes.has(one.outcome)", "true"), "outcomes filter");
    noticed(&broken("link.focus();", ""), "arrows move");
    noticed(&broken("index.mutants.unnamed.map", "[].map"), "what no mutant names is listed");
    noticed(
        &broken("const count = Math.max(", "fetch('http://localhost/'); const count = Math.max("),
        "localhost",
    );
}

#[test]
#[ignore = "needs Chromium; `cargo xtask test --filter report-page` runs it"]
fn in_a_browser_a_comparison_is_shown() {
    let now = cases();
    let mut before = cases();
    before[2].outcome = Outcome::Passed;
    before[0].id = "gone".into();
    let comparison = Comparison::of(&before, &now);
    let earlier = Earlier { shown: "before".into(), comparison: &comparison };
    let folder = tempfile::tempdir().unwrap();
    let page = page(&now, &["a line is missing".into()], Some(&earlier), &named()).unwrap();
    let Some(mut browser) = open(folder.path(), &page, "") else { panic!("{NEEDS}") };
    let text = browser.value("document.querySelector('.comparison').innerText");
    let text = text.as_str().unwrap();
    for part in [
        "Compared with before",
        "New red: 1",
        "n/alpha/deferred",
        "Gone: 1",
        "New cases: 1",
        "Newly green: 0",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(browser.value("document.querySelector('.warning').textContent"), "a line is missing");
    assert_eq!(browser.problems(), Vec::<String>::new());
}
