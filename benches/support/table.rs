//! The table at the end: figures, bounds, aims, and whether they are met.

use std::fmt;
use std::io;

/// Something to be measured, with its bounds.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    pub what: &'static str,
    pub must: f64,
    pub aim: f64,
    pub unit: &'static str,
    is_floor: bool,
}

/// One line of the table.
pub struct Row {
    goal: Goal,
    measured: io::Result<f64>,
    /// A further remark.
    note: String,
}

impl Goal {
    /// Makes a goal of which less is better.
    pub const fn at_most(what: &'static str, must: f64, aim: f64, unit: &'static str) -> Goal {
        Goal { what, must, aim, unit, is_floor: false }
    }

    /// Makes a goal of which more is better.
    pub const fn at_least(what: &'static str, must: f64, aim: f64, unit: &'static str) -> Goal {
        Goal { what, must, aim, unit, is_floor: true }
    }

    pub fn measured(self, figure: f64) -> Row {
        Row { goal: self, measured: Ok(figure), note: String::new() }
    }

    /// Makes the row of a goal that could not be measured.
    pub fn failed(self, error: io::Error) -> Row {
        Row { goal: self, measured: Err(error), note: String::new() }
    }

    fn verdict(&self, figure: f64) -> &'static str {
        let reaches = |bound: f64| if self.is_floor { figure >= bound } else { figure <= bound };
        match () {
            () if reaches(self.aim) => "as aimed at",
            () if reaches(self.must) => "good enough",
            () => "MISSED",
        }
    }

    fn show(&self, figure: f64) -> String {
        let decimals = match figure.abs() {
            size if size >= 100.0 => 0,
            size if size >= 10.0 => 1,
            _ => 2,
        };
        format!("{figure:.decimals$} {}", self.unit)
    }
}

impl Row {
    pub fn note(mut self, note: impl Into<String>) -> Row {
        self.note = note.into();
        self
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let goal = &self.goal;
        let (measured, verdict) = match &self.measured {
            Ok(figure) => (goal.show(*figure), goal.verdict(*figure)),
            Err(_) => ("–".to_string(), "not measured"),
        };
        let (must, aim) = (goal.show(goal.must), goal.show(goal.aim));
        write!(formatter, "| {:<66} | {measured:>9} | {must:>9} | {aim:>9} | {verdict:<12} |", goal.what)?;
        match &self.measured {
            Err(error) => write!(formatter, " {error} |"),
            Ok(_) => write!(formatter, " {} |", self.note),
        }
    }
}

/// Prints all rows.
pub fn print(rows: &[Row]) {
    let [what, measured, must, aim, verdict] = ["", "measured", "must", "aim", "verdict"];
    println!("\n| {what:<66} | {measured:>9} | {must:>9} | {aim:>9} | {verdict:<12} | |");
    println!("|{0:-<68}|{0:->11}|{0:->11}|{0:->11}|{0:-<14}|-|", "");
    rows.iter().for_each(|row| println!("{row}"));
}

/// Returns the figure in the middle.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Returns the figure that `percent` of a hundred do not exceed.
pub fn percentile(mut figures: Vec<f64>, percent: usize) -> f64 {
    figures.sort_by(f64::total_cmp);
    let place = (figures.len() * percent).div_ceil(100).saturating_sub(1);
    figures.get(place).copied().unwrap_or(f64::NAN)
}
