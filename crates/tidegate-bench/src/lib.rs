//! `tidegate bench URL`: a load rig for any server that speaks HTTP/1.1, on the same kind of event
//! loop as the server.
//!
//! It shares no code with the server that it is to measure, and is told how many connections the process may have.
//! The command line has its [`BenchOptions`] from here, and the [`Size`] and [`Span`] that all options are told in.
//!
//! ```text
//! BenchOptions ─▶ Plan ─▶ Request ─▶ Rig ─▶ Measurement ─┬─▶ table | JSON ─▶ stdout
//!                  │                  │ (a loop over      └─▶ chart ─▶ file
//!                  └─ Target          │  clients)
//!                     (URL, address)  ├─ Schedule: when requests are due
//!                                     ├─ ResponseReader: where answers end
//!                                     ├─ Tally, Histogram: what is counted
//!                                     ├─ Doubt: whether the server is still there
//!                                     └─ Process: the server from outside
//! ```
//!
//! With `--sweep` all of that is one turn of many (`sweep`).
//!
//! One thread; where that is too few, several processes (`parts`). It speaks no TLS and no HTTP/2, follows no
//! redirection, and reads no content: it finds the end of each answer and drops it.

#![forbid(unsafe_code)]

mod alarm;
mod chunked;
mod client;
mod comparison;
mod contender;
mod doubt;
mod figures;
mod histogram;
mod json;
mod observed;
mod options;
mod output;
mod parts;
mod progress;
mod report;
mod request;
mod response;
mod result;
mod rig;
mod schedule;
mod source;
mod surroundings;
mod sweep;
mod table;
mod tally;
mod target;
mod turns;
mod units;
mod wire;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

pub use self::options::BenchOptions;
pub use self::units::{Size, Span};

use self::contender::Contender;
use self::options::{Form, Load, Plan, Server};
use self::output::Output;
use self::parts::{Part, Pipe};
use self::progress::Progress;
use self::result::Side;

/// Checks that the options make sense together.
///
/// # Errors
/// Returns a sentence about the option that makes no sense.
pub fn check(options: &BenchOptions) -> Result<(), String> {
    Plan::of(options).map(drop)
}

/// Measures, and prints the result. `make_room_for` is called with the number of connections wanted, and
/// returns how many the system allows.
///
/// # Errors
/// Returns a sentence when nothing could be measured, or when a server was gone before the end. In the second
/// case the figures up to then are printed all the same.
pub fn run(options: &BenchOptions, make_room_for: impl FnOnce(usize) -> usize) -> Result<(), String> {
    let plan = Plan::of(options)?;
    match plan.part() {
        Some(part) => run_part(&plan, &part?, make_room_for),
        None if plan.is_sweep() => sweep::run(&plan, make_room_for),
        None => run_once(plan, make_room_for),
    }
}

/// Measures as one of several processes of the rig.
fn run_part(plan: &Plan, part: &Part, make_room_for: impl FnOnce(usize) -> usize) -> Result<(), String> {
    let interrupted = heed_interruption().map_err(|error| error.to_string())?;
    let pipe = Pipe::listen(&interrupted);
    let mut load = part.load.clone();
    let measured = fit_descriptors(&mut load, make_room_for)
        .and_then(|()| Contender::new(plan, part.server))
        .and_then(|contender| contender.part(&load, &interrupted, &*pipe));
    parts::report(measured);
    Ok(())
}

/// Measures one load: one server, or two in turns.
fn run_once(mut plan: Plan, make_room_for: impl FnOnce(usize) -> usize) -> Result<(), String> {
    let processes = plan.processes;
    fit_descriptors(&mut plan.load, |wanted| parts::make_room(processes, wanted, make_room_for))?;
    let plot = plan.plot.as_deref().map(Output::create).transpose()?;
    let interrupted = heed_interruption().map_err(|error| error.to_string())?;
    let mut progress = Progress::on_stderr();
    let mut contenders = contenders(&plan)?;
    let failed = measure(&plan, &mut contenders, &interrupted, &mut progress);
    progress.clear();
    let mut sides: Vec<Side> = contenders.into_iter().map(|contender| contender.side).collect();
    let rounds = sides.iter().map(|side| side.rounds.len()).min().unwrap_or(0);
    if rounds == 0 {
        return Err(failed.unwrap_or_else(|| NOTHING.to_string()));
    }
    // The first may have been measured once more than the second.
    sides.iter_mut().for_each(|side| side.rounds.truncate(rounds));
    if let Some(plot) = plot {
        plot.write(&draw(&sides, &plan.servers, &plan.load))?;
    }
    print(&sides, &plan)?;
    failed.map_or(Ok(()), Err)
}

/// The sentence about an interruption that came too early.
const NOTHING: &str = "interrupted before anything was measured";

fn contenders(plan: &Plan) -> Result<Vec<Contender>, String> {
    (0..plan.servers.len()).map(|number| Contender::new(plan, number)).collect()
}

/// Runs all rounds in turns, and returns a sentence about the first that failed, if one did. That round is
/// the last, but the second server still has its turn in it.
// In line, it would make the program a kilobyte longer.
#[inline(never)]
fn measure(
    plan: &Plan,
    contenders: &mut [Contender],
    interrupted: &AtomicBool,
    progress: &mut Progress,
) -> Option<String> {
    let mut failed = None;
    let is_alone = contenders.len() == 1;
    for round in 1..=plan.rounds {
        for (index, contender) in contenders.iter_mut().enumerate() {
            if interrupted.load(Ordering::Relaxed) {
                return failed;
            }
            if !is_alone {
                let letter = if index == 0 { "A" } else { "B" };
                progress.label = format!("{letter}, round {round} of {}: ", plan.rounds);
            }
            if let Err(reason) = contender.measure(plan, interrupted, progress) {
                contender.side.is_gone = true;
                failed.get_or_insert(progress.label.clone() + &reason);
            }
        }
        if failed.is_some() {
            break;
        }
    }
    failed
}

/// Raises the limit of descriptors. If it does not suffice, idle connections are left out first.
fn fit_descriptors(load: &mut Load, make_room_for: impl FnOnce(usize) -> usize) -> Result<(), String> {
    let wanted = load.total();
    let missing = wanted - make_room_for(wanted).min(wanted);
    if missing > load.idle {
        return Err(format!("there is no room for {wanted} connections"));
    }
    load.idle -= missing;
    Ok(())
}

/// Lets the first Ctrl-C end the measurement, and a second one the process.
fn heed_interruption() -> io::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal sets what the second one finds.
        flag::register_conditional_default(signal, interrupted.clone())?;
        flag::register(signal, interrupted.clone())?;
    }
    Ok(interrupted)
}

fn draw(sides: &[Side], servers: &[Server], load: &Load) -> String {
    let urls: Vec<String> = sides.iter().map(|side| side.target.to_string()).collect();
    let title = format!("Latency of {}", urls.join(" and "));
    let curves = sides.iter().zip(servers).enumerate();
    let curves: Vec<_> =
        curves.map(|(look, (side, server))| (server.name.clone(), side.latency(), look)).collect();
    report::charts::percentiles(&title, &table::describe(load), &curves).file()
}

fn print(sides: &[Side], plan: &Plan) -> Result<(), String> {
    let is_json = plan.form == Form::Json;
    let text = match sides {
        [first, second] if is_json => json::both(first, second, &plan.load),
        [first, second] => table::both(first, second, &plan.load),
        [side, ..] if is_json => json::single(side, &plan.load),
        [side, ..] => table::single(side, &plan.load),
        [] => String::new(),
    };
    output::print(&text)?;
    let answered = sides.iter().all(|side| side.rounds.iter().any(|round| round.tally.answered_in_all > 0));
    if answered { Ok(()) } else { Err("nothing was answered".to_string()) }
}
