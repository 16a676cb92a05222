//! A sweep: the same load at many numbers of connections, for one server or several in turns.
//!
//! ```text
//!  Points ─▶ for each point, for each round, for each server: a turn ─▶ Chapter ─▶ table | JSON | CSV
//! ```
//!
//! All rounds of a point follow each other, and in each the servers take turns: what else the machine does meets
//! all of them. A server that is gone takes no more turns; the others go on.

mod csv;
pub(crate) mod curve;
mod json;
pub(crate) mod points;
mod table;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::curve::{Chapter, Curve, Point, Start};
use crate::contender::Contender;
use crate::figures::thousands;
use crate::options::{Axis, Form, Load, Plan};
use crate::output::{self, Output};
use crate::progress::{Progress, Whole};
use crate::report::stall::Example;
use crate::{parts, report};

/// The share of a round that must be measured for its figures to count, if it was cut short.
const WHOLE_ROUND: f64 = 0.9;

/// The result of a sweep.
#[derive(Debug)]
pub(crate) struct Sweep {
    pub chapters: Vec<Chapter>,
    /// Sentences about what was not done, or not as it was asked for.
    pub shortfalls: Vec<String>,
    /// Notes of the rounds: what the system refused, and malformed answers.
    pub notes: Vec<String>,
    /// Rounds that each server was to have.
    pub rounds: usize,
}

/// Measures all points, and prints the result.
///
/// # Errors
/// Returns a sentence when nothing could be measured, or when a server was gone before the end. In the second case
/// the figures are printed all the same.
pub(crate) fn run(plan: &Plan, make_room_for: impl FnOnce(usize) -> usize) -> Result<(), String> {
    let wanted = plan.loads().map(|(_, load)| load.total()).max().unwrap_or(0);
    let room = parts::make_room(plan.processes, wanted, make_room_for);
    let mut pictures = Pictures::create(plan)?;
    let report = plan.report.as_deref().map(Output::create).transpose()?;
    let interrupted = crate::heed_interruption().map_err(|error| error.to_string())?;
    let mut progress = Progress::on_stderr();
    let contenders = crate::contenders(plan)?;
    // First of all, so that an interruption does not cost it.
    let example = report.is_some().then(|| Example::measure(&interrupted, &mut progress));
    let mut run = Run {
        plan,
        interrupted: &interrupted,
        starts: vec![None; contenders.len()],
        gone: vec![None; contenders.len()],
        sweep: Sweep::begin(plan, &contenders, room),
        contenders,
    };
    run.measure(room, &mut progress);
    progress.clear();
    let Run { sweep, gone, .. } = run;
    let gone: Vec<String> = gone.into_iter().flatten().collect();
    if sweep.is_empty() {
        let reason = gone.into_iter().next().or_else(|| sweep.shortfalls.first().cloned());
        return Err(reason.unwrap_or_else(|| crate::NOTHING.to_string()));
    }
    pictures.write(&sweep, plan)?;
    if let Some((report, example)) = report.zip(example) {
        report.write(&report::page(&sweep, plan, &example))?;
    }
    output::print(&match plan.form {
        Form::Table => table::print(&sweep, plan),
        Form::Json => json::print(&sweep, plan),
        Form::Csv => csv::print(&sweep),
    })?;
    if gone.is_empty() { Ok(()) } else { Err(gone.join("; ")) }
}

/// The files of `--plot`, one for each chart: `curve.svg` stands for `curve-throughput.svg`, `curve-p99.svg` and so on.
struct Pictures {
    /// The path of each chart without its end.
    stem: Option<PathBuf>,
}

impl Pictures {
    /// Makes sure that the files can be written, by the first of them.
    fn create(plan: &Plan) -> Result<Pictures, String> {
        let stem = plan.plot.as_deref().map(|path| path.with_extension(""));
        let pictures = Pictures { stem };
        let axis = if plan.active.is_some() { Axis::Active } else { Axis::Idle };
        if let Some(path) = pictures.path(&report::charts::file_name(axis, "throughput")) {
            Output::create(&path)?;
        }
        Ok(pictures)
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        let stem = self.stem.as_ref()?;
        let file = stem.file_name().unwrap_or_default().to_string_lossy();
        Some(stem.with_file_name(format!("{file}-{name}.svg")))
    }

    fn write(&mut self, sweep: &Sweep, plan: &Plan) -> Result<(), String> {
        if self.stem.is_none() {
            return Ok(());
        }
        for drawn in sweep.chapters.iter().flat_map(|chapter| report::pictures(chapter, plan)) {
            if let Some(path) = self.path(&drawn.name) {
                Output::create(&path)?.write(&drawn.file)?;
            }
        }
        Ok(())
    }
}

impl Sweep {
    /// Makes curves without points.
    fn begin(plan: &Plan, contenders: &[Contender], room: usize) -> Sweep {
        let curve = |contender: &Contender| Curve {
            name: contender.name.clone(),
            url: contender.side.target.to_string(),
            who: contender.side.process.as_ref().map_or_else(Clone::clone, |process| process.describe()),
            points: Vec::new(),
        };
        let axes = [(Axis::Active, &plan.active), (Axis::Idle, &plan.idle)];
        let chapters = axes.into_iter().filter(|(_, points)| points.is_some());
        let chapters = chapters
            .map(|(axis, _)| Chapter { axis, curves: contenders.iter().map(curve).collect() })
            .collect();
        let beyond = plan.loads().filter(|(_, load)| load.total() > room);
        let shortfalls = beyond.map(|(axis, load)| {
            let (count, room) = (thousands(number(axis, &load) as u64), thousands(room as u64));
            format!("{count} connections were left out: there is room for {room} (ulimit -Hn); --processes auto takes more")
        });
        Sweep { chapters, shortfalls: shortfalls.collect(), notes: Vec::new(), rounds: plan.rounds }
    }

    fn is_empty(&self) -> bool {
        self.chapters.iter().flat_map(|chapter| &chapter.curves).all(|curve| curve.points.is_empty())
    }

    fn note(&mut self, server: &str, notes: &[String]) {
        for note in notes.iter().map(|note| format!("{server}: {note}")) {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }
}

/// The number that varies.
fn number(axis: Axis, load: &Load) -> usize {
    match axis {
        Axis::Active => load.connections,
        Axis::Idle => load.idle,
    }
}

/// A sweep under way.
struct Run<'p> {
    plan: &'p Plan,
    interrupted: &'p AtomicBool,
    contenders: Vec<Contender>,
    /// Each server before its first connection.
    starts: Vec<Option<Start>>,
    /// A sentence about each server that is gone.
    gone: Vec<Option<String>>,
    sweep: Sweep,
}

impl Run<'_> {
    fn measure(&mut self, room: usize, progress: &mut Progress) {
        let loads: Vec<_> = self.plan.loads().filter(|(_, load)| load.total() <= room).collect();
        let turns = loads.len() * self.plan.rounds * self.contenders.len();
        let mut whole = Whole::new(turns, self.plan.load.warm_up + self.plan.load.duration);
        for (axis, load) in &loads {
            for round in 1..=self.plan.rounds {
                for index in 0..self.contenders.len() {
                    let is_over = self.interrupted.load(Ordering::Relaxed);
                    if is_over || self.gone.iter().all(Option::is_some) {
                        self.note_interruption(is_over);
                        return;
                    }
                    let (count, name) = (thousands(number(*axis, load) as u64), &self.contenders[index].name);
                    progress.label = format!("{count} connections, {name}, round {round}: ");
                    progress.whole = Some(whole);
                    let start = Instant::now();
                    if self.gone[index].is_none() {
                        self.turn(index, *axis, load, progress);
                    }
                    whole.end_turn(start.elapsed());
                }
            }
        }
        self.note_interruption(self.interrupted.load(Ordering::Relaxed));
    }

    fn note_interruption(&mut self, is_interrupted: bool) {
        if is_interrupted {
            self.sweep.shortfalls.push("it was interrupted before its end".to_string());
        }
    }

    /// Measures one server once.
    fn turn(&mut self, index: usize, axis: Axis, load: &Load, progress: &Progress) {
        let contender = &self.contenders[index];
        let number = number(axis, load);
        let measurement = match contender.turn(self.plan, load, self.interrupted, progress) {
            Ok(measurement) => measurement,
            Err(reason) => return self.lose(index, number, &reason),
        };
        let name = contender.name.clone();
        let start = *self.starts[index].get_or_insert_with(|| Start::of(&measurement));
        self.sweep.note(&name, &measurement.tally.notes);
        let is_whole = measurement.time >= load.duration.mul_f64(WHOLE_ROUND);
        if is_whole || (self.sweep.is_empty() && measurement.time > Duration::ZERO) {
            let chapter = self.sweep.chapters.iter_mut().find(|chapter| chapter.axis == axis);
            if let Some(curve) = chapter.and_then(|chapter| chapter.curves.get_mut(index)) {
                if curve.points.last().is_none_or(|point| point.connections != number) {
                    curve.points.push(Point::new(number, load.clone()));
                }
                if let Some(point) = curve.points.last_mut() {
                    point.add(&measurement, start);
                }
            }
        }
        if let Some(gone) = measurement.gone {
            self.lose(index, number, &gone);
        }
    }

    /// Takes a server out of the sweep.
    fn lose(&mut self, index: usize, number: usize, reason: &str) {
        let (name, number) = (&self.contenders[index].name, thousands(number as u64));
        let sentence = format!("{name} at {number} connections: {reason}");
        self.sweep.shortfalls.push(sentence.clone());
        self.gone[index] = Some(sentence);
    }
}
