//! Compares figures with their budgets in `benches/budget.toml`.
//!
//! | command line | what happens |
//! |---|---|
//! | nothing | figures are shown beside their budgets |
//! | `--check` | besides, one that is too high is a failure |
//! | `--save` | the figures become the budget |

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use super::Failure;

/// The share by which a figure may differ from its budget. 2 %: many times the noise, and less than anybody
/// would want to pay without knowing.
const TOLERANCE: f64 = 0.02;

/// The cost of one request of a load.
pub struct Figure {
    /// The load's name.
    pub load: &'static str,
    /// The cost.
    pub value: f64,
    /// The parts of the cost.
    pub parts: Vec<(String, f64)>,
}

/// Figures of one kind.
pub struct Figures {
    /// The subject of the count: the first part of its names in the budget, and the name of the bench.
    pub counted: &'static str,
    /// The number of significant decimals.
    pub decimals: usize,
    /// Whether another compiler makes other figures of the same source.
    pub vary_with_compiler: bool,
    /// One for each load.
    pub figures: Vec<Figure>,
}

impl Figures {
    /// Shows, checks or saves them, as the command line says.
    pub fn settle(&self) -> Result<ExitCode, Failure> {
        // A bench of a package below `crates/` has the same budget.
        let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        let mut paths = folders.map(|folder| folder.join("benches/budget.toml"));
        let path = paths.find(|path| path.exists()).ok_or("there is no benches/budget.toml")?;
        let mut budget = Budget(fs::read_to_string(&path)?);
        let is_asked = |option: &str| std::env::args().any(|argument| argument == option);
        let too_high = self.show(&budget);
        if is_asked("--save") {
            self.save(&mut budget)?;
            fs::write(&path, budget.0)?;
            println!("Saved in {}.", path.display());
            return Ok(ExitCode::SUCCESS);
        }
        if too_high == 0 || !is_asked("--check") {
            return Ok(ExitCode::SUCCESS);
        }
        let counted = self.counted;
        println!(
            "FAILED: {too_high} of the {counted} above budget. Undo what has raised them; or, where it is"
        );
        println!("worth its price, save them (-- --save) in a commit that says why.");
        if self.vary_with_compiler {
            self.tell_compilers(&budget)?;
        }
        Ok(ExitCode::FAILURE)
    }

    /// Shows a table, and returns how many figures are too high.
    fn show(&self, budget: &Budget) -> usize {
        println!("\n{:<28}{:>10}{:>10}", format!("{} per request", self.counted), "figure", "budget");
        let (mut too_high, mut too_low) = (0, 0);
        for figure in &self.figures {
            let allowed = budget.get(&self.name(figure)).and_then(|text| text.parse().ok());
            let verdict = Verdict::of(figure.value, allowed);
            too_high += usize::from(matches!(verdict, Verdict::TooHigh(_) | Verdict::Unknown));
            too_low += usize::from(matches!(verdict, Verdict::Lower(_)));
            let (value, allowed) = (self.written(figure.value), allowed.map(|value| self.written(value)));
            println!("  {:<26}{value:>10}{:>10}  {verdict}", figure.load, allowed.unwrap_or_default());
            for (name, value) in figure.parts.iter().filter(|_| figure.parts.len() > 1) {
                println!("    {name:<24}{:>10}", self.written(*value));
            }
        }
        if too_low > 0 {
            println!("Keep what is lower: cargo bench --bench {} -- --save", self.counted);
        }
        too_high
    }

    fn save(&self, budget: &mut Budget) -> Result<(), Failure> {
        for figure in &self.figures {
            budget.set(&self.name(figure), &self.written(figure.value));
        }
        if self.vary_with_compiler {
            budget.set(&self.compiler_name(), &format!("{:?}", compiler()?));
        }
        Ok(())
    }

    fn tell_compilers(&self, budget: &Budget) -> Result<(), Failure> {
        let (now, then) = (compiler()?, budget.get(&self.compiler_name()).unwrap_or("unknown"));
        if then.trim_matches('"') != now {
            println!("But the compiler is another, which alone can make figures rise:");
            println!("  now    {now}\n  budget {}", then.trim_matches('"'));
        }
        Ok(())
    }

    fn name(&self, figure: &Figure) -> String {
        format!("{}.{}", self.counted, figure.load)
    }

    fn compiler_name(&self) -> String {
        format!("{}.compiler", self.counted)
    }

    fn written(&self, value: f64) -> String {
        format!("{value:.*}", self.decimals)
    }
}

/// The judgement on a figure, with the change in percent.
enum Verdict {
    Unknown,
    TooHigh(f64),
    Lower(f64),
    Kept(f64),
}

impl Verdict {
    fn of(value: f64, allowed: Option<f64>) -> Verdict {
        let Some(allowed) = allowed else { return Verdict::Unknown };
        let percent = if value == allowed { 0.0 } else { (value / allowed - 1.0) * 100.0 };
        match () {
            () if value > allowed * (1.0 + TOLERANCE) => Verdict::TooHigh(percent),
            () if value < allowed * (1.0 - TOLERANCE) => Verdict::Lower(percent),
            () => Verdict::Kept(percent),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Unknown => f.write_str("TOO HIGH: it has no budget"),
            // Of nothing there are no percents.
            Verdict::TooHigh(percent) if percent.is_infinite() => f.write_str("TOO HIGH"),
            Verdict::TooHigh(percent) => write!(f, "{percent:>+6.1} %  TOO HIGH"),
            Verdict::Lower(percent) => write!(f, "{percent:>+6.1} %  lower"),
            Verdict::Kept(percent) => write!(f, "{percent:>+6.1} %"),
        }
    }
}

/// The text of the budget: lines of `name = value`; the rest are comments, and stay. The part of a name
/// before its first dot is its kind, and figures of a kind stand together.
pub struct Budget(pub String);

impl Budget {
    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.lines().filter_map(pair);
        pairs.find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Changes the value of a name. A new name stands after the last of its kind; the first of a kind stands
    /// at the end, apart from those before.
    pub fn set(&mut self, name: &str, value: &str) {
        let new = format!("{name} = {value}");
        let mut lines: Vec<&str> = self.0.lines().collect();
        let is_it = |line: &&str| pair(line).is_some_and(|(other, _)| other == name);
        let is_kin = |line: &&str| pair(line).is_some_and(|(other, _)| kind(other) == kind(name));
        if let Some(place) = lines.iter().position(is_it) {
            lines[place] = &new;
        } else if let Some(last) = lines.iter().rposition(is_kin) {
            lines.insert(last + 1, &new);
        } else {
            lines.extend(["", &new]);
        }
        self.0 = lines.join("\n") + "\n";
    }
}

/// Splits a line into name and value, if it has them.
fn pair(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
    Some((name.trim(), value.trim()))
}

/// Returns the kind of a name: its beginning.
fn kind(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

/// Returns the compiler and its target.
fn compiler() -> Result<String, Failure> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output()?;
    let version = String::from_utf8(output.stdout)?;
    Ok(format!("{} on {}", version.trim(), std::env::consts::ARCH))
}
