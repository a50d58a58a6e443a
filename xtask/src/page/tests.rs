//! The page's source, and the page in a browser.

use std::path::PathBuf;
use std::time::Duration;

use super::browser::Browser;
use super::sample::{NASTY, cases};
use super::*;
use crate::cases::Outcome;

#[test]
fn base64_is_that() {
    let texts = ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes()));
    assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
}

#[test]
fn text_of_a_guest_does_not_end_a_script() {
    let page = page(&cases(), &[NASTY.to_owned()], None).unwrap();
    let scripts = page.matches("<script").count();
    assert_eq!(scripts, page.matches("</script>").count());
    assert_eq!(scripts, 3, "the list, one pack, the program");
    assert!(!page.contains("document.title='harm'</script"), "it is there as it came");
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
    let folder = tempfile::tempdir().unwrap();
    let mut report = Writing::begin(Some(folder.path())).unwrap();
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
        let mut report = Writing::begin(Some(folder)).unwrap();
        read.iter().skip(part).step_by(3).for_each(|case| report.add(case.clone()).unwrap());
        report.finish().unwrap();
    }
    let mut args = crate::cli::ReportArgs {
        folders,
        out: Some(parts.path().join("all")),
        compare: None,
        equals: Some(folder.path().to_path_buf()),
    };
    command(&args).unwrap();
    let page = |folder: &Path| std::fs::read_to_string(folder.join(PAGE)).unwrap();
    assert!(page(&parts.path().join("all")) == page(folder.path()), "the page is another one");
    args.folders.pop();
    assert!(command(&args).is_err(), "a part is missing");
    args.out = None;
    assert!(command(&args).is_err(), "nowhere to put it");
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

/// What the page does wrong, in the words of this test.
fn faults(page: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut browser) = open(folder.path(), page, "") else { panic!("{NEEDS}") };
    let mut faults = browser.problems();
    if !faults.is_empty() {
        return faults;
    }
    let mut check = |browser: &mut Browser, what: &str, expression: &str, expected: Value| {
        let found = browser.value(expression);
        if found != expected {
            faults.push(format!("{what}: {found}, not {expected}"));
        }
    };
    let shown = "document.getElementById('shown').textContent";
    let rows = "document.querySelectorAll('table.cases tbody tr').length";
    let hash = "location.hash";
    check(&mut browser, "all cases are listed", rows, 7.into());
    check(&mut browser, "they are counted", shown, "7 of 7 cases".into());
    check(&mut browser, "nothing did harm", "document.title", "Mayday report".into());
    check(&mut browser, "no markup came from data", "document.querySelectorAll('main img').length", 0.into());
    let cells = "document.querySelectorAll('.map a.cell').length";
    check(&mut browser, "a cell for each; what has no meaning has one in each column", cells, 8.into());
    let heads = "[...document.querySelectorAll('table th')].every((head) => head.scope)";
    check(&mut browser, "every head says what it is of", heads, true.into());

    // Filters, by typing, by clicking, and kept in the address.
    browser.value("document.getElementById('text').focus()");
    browser.text("beta -nmi");
    check(&mut browser, "words filter", shown, "2 of 7 cases".into());
    check(&mut browser, "the filter is in the address", hash, "#/?q=beta+-nmi".into());
    check(&mut browser, "it is said", "document.getElementById('spoken').textContent", "2 of 7 cases".into());
    browser.value("document.querySelector('input[name=outcome][value=passed]').click()");
    check(&mut browser, "outcomes filter", shown, "1 of 7 cases".into());
    browser.value("document.getElementById('clear').click()");
    browser.until("document.getElementById('text').value === ''", Duration::from_secs(3));
    check(&mut browser, "clear clears", shown, "7 of 7 cases".into());
    browser.value("document.querySelector('input[name=machine][value=n]').click()");
    check(&mut browser, "machines filter", rows, 4.into());
    browser.value("document.getElementById('clear').click()");
    browser.until(&format!("{rows} === 7"), Duration::from_secs(3));

    // The keyboard: into the map, over it, and into a case.
    let focus = "document.activeElement.getAttribute('aria-label')";
    browser.value("document.getElementById('text').focus()");
    for _ in 0..30 {
        browser.key("Tab");
        if browser.value("document.activeElement.matches('.map a')") == true {
            break;
        }
    }
    let alone = "document.activeElement.matches(':focus-visible') && getComputedStyle(document.activeElement).outlineStyle";
    check(&mut browser, "the focus is seen", alone, "solid".into());
    check(&mut browser, "the tab key gets into the map", focus, "alpha, m, deferred: 1 passed".into());
    browser.key("ArrowRight");
    check(&mut browser, "arrows move", focus, "alpha, m, nmi: 1 passed".into());
    browser.key("ArrowRight");
    check(&mut browser, "a red cell says why", focus, "alpha, n, deferred: 1 failed: steps".into());
    browser.key("Enter");
    if !browser.until("document.querySelector('main').dataset.page === 'case'", Duration::from_secs(10)) {
        faults.push("Enter does not open a case".into());
        return faults;
    }
    let mut check = |browser: &mut Browser, what: &str, expression: &str, expected: Value| {
        let found = browser.value(expression);
        if found != expected {
            faults.push(format!("{what}: {found}, not {expected}"));
        }
    };
    check(
        &mut browser,
        "the case is there",
        "document.querySelector('h1').textContent",
        "n/alpha/deferred".into(),
    );
    check(&mut browser, "it has the focus", "document.activeElement.id", "main".into());
    let lanes = "document.querySelectorAll('.timeline svg text.lane').length";
    check(&mut browser, "a lane for each CPU", lanes, 3.into());
    let kinds = |kind: &str| format!("document.querySelectorAll('.timeline svg g .seg.{kind}').length > 0");
    for kind in
        ["running", "claim", "step.failed", "notifier.failed", "signalled", "warden", "missing", "orphan"]
    {
        check(&mut browser, kind, &kinds(kind), true.into());
    }
    let shots = "document.querySelectorAll('.timeline svg line.shot').length";
    check(&mut browser, "the warden shoots", shots, 1.into());
    let console = "document.querySelectorAll('.console li.panic').length > 0 && document.querySelector('.console').textContent.includes('</script>')";
    check(&mut browser, "the console is there as it came", console, true.into());
    let step = "[...document.querySelectorAll('table')].find((table) => table.caption.textContent === 'Steps').tBodies[0].rows[0].textContent";
    check(
        &mut browser,
        "a step with its budget",
        &format!("{step}.includes('9.00 s') && {step}.includes('1.00 s') && {step}.includes('10.0 s')"),
        true.into(),
    );
    browser.value("location.hash = '#/case/' + encodeURIComponent('m/alpha/deferred')");
    browser.until("document.querySelector('h1').textContent === 'm/alpha/deferred'", Duration::from_secs(10));
    for kind in ["deferred", "parked", "hold", "capture", "step.done"] {
        check(&mut browser, kind, &kinds(kind), true.into());
    }
    check(&mut browser, "the capture kernel has a lane", lanes, 4.into());
    for id in ["m/beta/deferred", "n/beta/deferred", "m/other", "no such"] {
        browser.value(&format!("location.hash = '#/case/{}'", id.replace('/', "%2F")));
        let title = format!("document.title === '{id} – Mayday report'");
        check(
            &mut browser,
            id,
            &format!("new Promise((done) => setTimeout(() => done({title}), 300))"),
            true.into(),
        );
    }
    for (width, scheme) in [(1280, "dark"), (390, "light")] {
        browser.looks(width, 800, scheme);
        let wide = "document.documentElement.scrollWidth <= innerWidth";
        check(&mut browser, "the page is not wider than its window", wide, true.into());
    }
    faults.extend(browser.problems());
    faults
}

#[test]
#[ignore = "needs Chromium; `cargo xtask test --filter report-page` runs it"]
fn in_a_browser_the_page_works() {
    assert_eq!(faults(&page(&cases(), &[], None).unwrap()), Vec::<String>::new());
}

#[test]
#[ignore = "needs Chromium; `cargo xtask test --filter report-page` runs it"]
fn in_a_browser_a_broken_page_is_noticed() {
    let broken = |from: &str, to: &str| {
        let script = format!("(() => {{\n\"use strict\";\n{}\n}})();", SCRIPTS.join("\n"));
        assert!(script.contains(from), "{from}");
        faults(&with_script(&cases(), &[], None, &script.replace(from, to)).unwrap()).join("; ")
    };
    let noticed = |found: &str, what: &str| assert!(found.contains(what), "{found}");
    noticed(&broken("const shown = cases", "const shown = nothing"), "nothing is not defined");
    noticed(&broken("route();", "route(;"), "SyntaxError");
    noticed(&broken("filters.outcomes.has(one.outcome)", "true"), "outcomes filter");
    noticed(&broken("link.focus();", ""), "arrows move");
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
    let page = page(&now, &["a line is missing".into()], Some(&earlier)).unwrap();
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
