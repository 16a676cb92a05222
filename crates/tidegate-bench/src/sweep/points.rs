//! The numbers of connections at which a sweep measures.

use std::str::FromStr;

/// The steps within a power of ten: even on a logarithmic axis, and round.
const STEPS: [usize; 3] = [1, 2, 5];
/// Most points of a sweep: more are a curve that nobody waits for.
const POINTS_MAX: usize = 64;
/// Most connections of a point.
const CONNECTIONS_MAX: usize = 1 << 20;

/// Numbers of connections, in ascending order, and each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Points(Vec<usize>);

impl Points {
    pub fn counts(&self) -> &[usize] {
        &self.0
    }
}

impl FromStr for Points {
    type Err = String;

    /// Parses `10..10000`, which has 1, 2 and 5 times each power of ten between its ends, or a list.
    fn from_str(text: &str) -> Result<Points, String> {
        let mut counts = Vec::new();
        // A handful, put in where they belong.
        let mut add = |count: usize| {
            let place = counts.partition_point(|other| *other < count);
            if counts.get(place) != Some(&count) {
                counts.insert(place, count);
            }
        };
        if let Some((first, last)) = text.split_once("..") {
            let (first, last) = (count(first)?, count(last)?);
            if first > last {
                return Err(format!("a range runs upwards: {last}..{first}"));
            }
            let steps = (0..=6).flat_map(|power| STEPS.map(|step| step * 10_usize.pow(power)));
            steps.filter(|step| first < *step && *step < last).chain([first, last]).for_each(&mut add);
        } else {
            text.split(',').map(count).try_for_each(|count| count.map(&mut add))?;
        }
        match counts.len() {
            0..=POINTS_MAX => Ok(Points(counts)),
            _ => Err(format!("more than {POINTS_MAX} points take longer than anybody waits")),
        }
    }
}

fn count(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(0) => Err("a sweep begins with 1 connection or more".to_string()),
        Ok(count @ 1..=CONNECTIONS_MAX) => Ok(count),
        Ok(_) => Err("that is more than a million connections".to_string()),
        Err(_) => Err("points are a range, 10..10000, or a list, 10,100,1000".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_has_round_steps_between_its_ends() {
        for (text, expected) in [
            ("10..100", &[10, 20, 50, 100][..]),
            ("3..30", &[3, 5, 10, 20, 30]),
            ("7..7", &[7]),
            ("1000, 10,100,10", &[10, 100, 1000]),
            ("1000000..1048576", &[1_000_000, 1_048_576]),
        ] {
            assert_eq!(text.parse::<Points>().unwrap().counts(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for (text, word) in [
            ("", "a range"),
            ("10..", "a range"),
            ("a..b", "a range"),
            ("1,,2", "a range"),
            ("-1..5", "a range"),
            ("0..10", "begins with 1"),
            ("100..10", "10..100"),
            ("1..9999999", "a million"),
        ] {
            let refusal = text.parse::<Points>().unwrap_err();
            assert!(refusal.contains(word), "{text}: {refusal}");
        }
        let many: Vec<String> = (1..=65).map(|count| count.to_string()).collect();
        assert!(many.join(",").parse::<Points>().unwrap_err().contains("64 points"));
    }
}
