//! A sweep as comma-separated values (RFC 4180): a line for each server at each point, three columns for each figure.

use std::fmt::Write;

use super::Sweep;
use super::curve::Figure;
use super::json::axis;
use crate::json::rounded;

/// Formats the whole result. A figure that is unknown is empty.
pub(super) fn print(sweep: &Sweep) -> String {
    let mut text = "axis,server,connections,rounds".to_string();
    for key in Figure::ALL.map(Figure::key) {
        let _ = write!(text, ",{key},{key}_least,{key}_most");
    }
    text += "\r\n";
    for chapter in &sweep.chapters {
        for curve in &chapter.curves {
            for point in &curve.points {
                let (axis, name) = (axis(chapter.axis), quoted(&curve.name));
                let _ = write!(text, "{axis},{name},{},{}", point.connections, point.rounds.len());
                for figure in Figure::ALL {
                    match point.spread(figure) {
                        Some(spread) => {
                            let [median, least, most] =
                                [spread.median, spread.least, spread.most].map(rounded);
                            let _ = write!(text, ",{median},{least},{most}");
                        }
                        None => text += ",,,",
                    }
                }
                text += "\r\n";
            }
        }
    }
    text
}

/// Quotes a field if it needs it.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_commas_and_quotes_are_one_field() {
        for (name, expected) in [("a", "a"), ("a,b", "\"a,b\""), ("a\"b", "\"a\"\"b\"")] {
            assert_eq!(quoted(name), expected);
        }
    }
}
