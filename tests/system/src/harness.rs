use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use anyhow::{Result, anyhow};
use libtest_mimic::{Arguments, Failed, Trial};
use tcs_testkit::machines_booted;

use crate::case::{Case, Work};
use crate::site::{Lab, Site};

const THREADS: usize = 3;
const JOURNAL_LINES: u32 = 60;

/// Where `cargo xtask test` wants to be told how many machines were booted.
const REPORT: &str = "TCS_TEST_REPORT";

/// Runs the cases of all modules as `cargo test` expects of a test binary, and ends all machines.
pub fn run(modules: Vec<(&str, Vec<Case>)>) -> ExitCode {
    let begun = Instant::now();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let lab = Arc::new(Lab::default());
    let trials = modules
        .into_iter()
        .flat_map(|(module, cases)| cases.into_iter().map(move |case| case.in_module(module)))
        .map(|case| trial(case, Arc::clone(&lab)))
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let booting = lab.booting();
    // The shared machine ends here; what a case that hangs still holds ends with the process.
    drop(lab);
    if !arguments.list {
        report(
            machines_booted(),
            booting.as_secs_f64(),
            begun.elapsed().as_secs_f64(),
        );
    }
    conclusion.exit_code()
}

#[expect(clippy::print_stdout, reason = "the last line of the test results")]
fn report(machines: u32, booting: f64, seconds: f64) {
    println!("machines: {machines} booted, {booting:.1} s of booting in {seconds:.1} s\n");
    if let Some(path) = std::env::var_os(REPORT) {
        let text =
            serde_json::json!({"machines": machines, "booting_s": booting, "seconds": seconds}).to_string();
        if let Err(error) = std::fs::write(&path, text) {
            println!("cannot write {}: {error}", path.display());
        }
    }
}

fn trial(case: Case, lab: Arc<Lab>) -> Trial {
    let Case { name, deadline, work } = case;
    Trial::test(name, move || {
        // A compiler's time is not the case's: whether it failed, the case itself finds out.
        if !matches!(work, Work::Lab(_)) {
            drop(lab.stage());
        }
        let (tell, told) = mpsc::channel();
        // On a thread of its own, so that a case that hangs fails by name and the others go on.
        std::thread::spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| perform(&work, &lab)));
            drop(lab);
            drop(tell.send(result.unwrap_or_else(|panic| Err(anyhow!("{}", panic_text(panic.as_ref()))))));
        });
        match told.recv_timeout(deadline) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failed::from(format!("{error:#}"))),
            Err(_) => Err(Failed::from(format!("not done within {} s", deadline.as_secs()))),
        }
    })
}

fn perform(work: &Work, lab: &Lab) -> Result<()> {
    match work {
        Work::Shared(test) => {
            let site = lab.shared()?;
            observed(&site, *test)
        }
        Work::Group(group, test) => {
            let site = lab.group(group)?;
            observed(&site, *test)
        }
        Work::Own(config, test) => {
            let site = lab.site(config())?;
            observed(&site, *test)
        }
        Work::Lab(test) => test(lab),
    }
}

/// A failure comes with the end of the machine's journal.
fn observed(site: &Site, test: fn(&Site) -> Result<()>) -> Result<()> {
    let result = catch_unwind(AssertUnwindSafe(|| test(site)));
    result
        .unwrap_or_else(|panic| Err(anyhow!("{}", panic_text(panic.as_ref()))))
        .map_err(|error| {
            let journal = site.machine.journal(JOURNAL_LINES);
            anyhow!("{error:#}\n--- the last {JOURNAL_LINES} lines of the machine's journal:\n{journal}")
        })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("the case panicked")
        .to_owned()
}
