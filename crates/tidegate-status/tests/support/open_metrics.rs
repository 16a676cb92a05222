//! Checks text against OpenMetrics 1.0, as strictly as its specification is written: what a lenient scraper would forgive
//! is an error here.

use std::collections::{BTreeMap, BTreeSet};

/// The samples by name and labels.
pub fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.into(), value.parse().unwrap()))
        .collect()
}

/// One family of metrics: what was said of it, and its samples.
struct Family<'t> {
    name: &'t str,
    kind: &'t str,
    has_unit: bool,
    has_help: bool,
    samples: Vec<(&'t str, BTreeMap<&'t str, String>, f64)>,
}

/// Checks all of it. An error is a sentence.
pub fn check(text: &str) -> Result<(), String> {
    let body = text.strip_suffix("# EOF\n").ok_or("it does not end with # EOF and a line feed")?;
    if !body.ends_with('\n') {
        return Err("its last line has no end".to_string());
    }
    let mut families: Vec<Family<'_>> = Vec::new();
    for line in body.lines() {
        add(line, &mut families).map_err(|error| format!("{error}: {line:?}"))?;
    }
    let mut names = BTreeSet::new();
    for family in &families {
        if !names.insert(family.name) {
            return Err(format!("family {} stands twice", family.name));
        }
        check_family(family).map_err(|error| format!("family {}: {error}", family.name))?;
    }
    Ok(())
}

fn add<'t>(line: &'t str, families: &mut Vec<Family<'t>>) -> Result<(), String> {
    if let Some(rest) = line.strip_prefix("# TYPE ") {
        let (name, kind) = rest.split_once(' ').ok_or("no type")?;
        check_name(name)?;
        if !["counter", "gauge", "histogram", "info"].contains(&kind) {
            return Err("a type that is not used here".to_string());
        }
        families.push(Family { name, kind, has_unit: false, has_help: false, samples: Vec::new() });
        return Ok(());
    }
    let family = families.last_mut().ok_or("no family has begun")?;
    if let Some(rest) = line.strip_prefix("# UNIT ") {
        let (name, unit) = rest.split_once(' ').ok_or("no unit")?;
        if name != family.name
            || !name.ends_with(&format!("_{unit}"))
            || family.has_unit
            || !family.samples.is_empty()
        {
            return Err("the unit is not that of the family's name, or comes late".to_string());
        }
        family.has_unit = true;
    } else if let Some(rest) = line.strip_prefix("# HELP ") {
        let (name, help) = rest.split_once(' ').ok_or("no help")?;
        if name != family.name || help.is_empty() || family.has_help || !family.samples.is_empty() {
            return Err("the help is of another family, or comes late".to_string());
        }
        family.has_help = true;
    } else if line.starts_with('#') || line.trim() != line || line.is_empty() {
        return Err("neither metadata nor a sample".to_string());
    } else {
        family.samples.push(sample(line)?);
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), String> {
    let is_right = |(index, char): (usize, char)| {
        char.is_ascii_alphabetic() || "_:".contains(char) || (index > 0 && char.is_ascii_digit())
    };
    match !name.is_empty() && name.chars().enumerate().all(is_right) {
        true => Ok(()),
        false => Err(format!("{name:?} is no name")),
    }
}

/// Takes a sample apart: `name{label="value",…} number`.
fn sample(line: &str) -> Result<(&str, BTreeMap<&str, String>, f64), String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    check_name(name)?;
    let mut labels = BTreeMap::new();
    if let Some(mut inside) = rest.strip_prefix('{') {
        loop {
            let (label, after) = inside.split_once("=\"").ok_or("a label without a value")?;
            check_name(label)?;
            let (value, after) = quoted(after)?;
            if labels.insert(label, value).is_some() {
                return Err(format!("label {label} stands twice"));
            }
            match after.strip_prefix(',') {
                Some(next) => inside = next,
                None => {
                    rest = after.strip_prefix('}').ok_or("labels do not end")?;
                    break;
                }
            }
        }
    }
    let number = rest.strip_prefix(' ').ok_or("no blank before the value")?;
    let value: f64 = number.parse().map_err(|_| "the value is no number")?;
    if number.contains(' ') || value.is_nan() {
        return Err("the value is no single number".to_string());
    }
    Ok((name, labels, value))
}

/// The text up to the closing quote, and what follows it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next().map(|(_, escaped)| escaped) {
                Some('n') => value.push('\n'),
                Some(escaped @ ('"' | '\\')) => value.push(escaped),
                _ => return Err("an escape that does not exist".to_string()),
            },
            char => value.push(char),
        }
    }
    Err("a quote does not end".to_string())
}

fn check_family(family: &Family<'_>) -> Result<(), String> {
    if !family.has_help || family.samples.is_empty() {
        return Err("it has no help, or no sample".to_string());
    }
    let suffixes: &[&str] = match family.kind {
        "counter" => &["_total"],
        "info" => &["_info"],
        "histogram" => &["_bucket", "_sum", "_count"],
        _ => &[""],
    };
    let mut seen = BTreeSet::new();
    for (name, labels, value) in &family.samples {
        if !suffixes.iter().any(|suffix| *name == format!("{}{suffix}", family.name)) {
            return Err(format!("{name} is none of its samples"));
        }
        if !seen.insert((*name, format!("{labels:?}"))) {
            return Err(format!("{name} {labels:?} stands twice"));
        }
        let is_right = match family.kind {
            "counter" | "histogram" => *value >= 0.0,
            "info" => *value == 1.0,
            _ => true,
        };
        if !is_right {
            return Err(format!("{name} is {value}"));
        }
    }
    if family.kind == "histogram" { check_histogram(family) } else { Ok(()) }
}

/// Checks that buckets rise, that the last is without a bound, and that it is the count.
fn check_histogram(family: &Family<'_>) -> Result<(), String> {
    let mut series: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    let of = |suffix: &str| {
        let name = format!("{}{suffix}", family.name);
        family.samples.iter().filter(move |(other, ..)| *other == name)
    };
    for (_, labels, value) in of("_bucket") {
        let mut labels = labels.clone();
        let bound = labels.remove("le").ok_or("a bucket without a bound")?;
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().map_err(|_| "no bound")? };
        series.entry(format!("{labels:?}")).or_default().push((bound, *value));
    }
    for (labels, buckets) in &series {
        if !buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1) {
            return Err(format!("its buckets do not rise: {buckets:?}"));
        }
        let last =
            buckets.last().filter(|last| last.0 == f64::INFINITY).ok_or("no bucket is without a bound")?;
        let count = of("_count").find(|(_, others, _)| format!("{others:?}") == *labels).ok_or("no count")?;
        if count.2 != last.1 || !of("_sum").any(|(_, others, _)| format!("{others:?}") == *labels) {
            return Err("its count is not that of its last bucket, or it has no sum".to_string());
        }
    }
    Ok(())
}

#[test]
fn what_is_no_open_metrics_is_found() {
    let right = "# TYPE a counter\n# HELP a Help.\na_total{b=\"c\\\"\"} 1\n# TYPE h_seconds histogram\n\
                 # UNIT h_seconds seconds\n# HELP h_seconds Help.\nh_seconds_bucket{le=\"1.0\"} 1\n\
                 h_seconds_bucket{le=\"+Inf\"} 2\nh_seconds_sum 3\nh_seconds_count 2\n# EOF\n";
    check(right).unwrap();
    for (from, to) in [
        ("# EOF\n", "# EOF"),
        ("# EOF\n", "# EOF\n\n"),
        ("a_total{", "a{"),
        ("# HELP a Help.\n", ""),
        ("} 1\n# TYPE h", "} -1\n# TYPE h"),
        ("c\\\"", "c\\x"),
        ("# UNIT h_seconds seconds", "# UNIT h_seconds bytes"),
        ("# TYPE h_seconds histogram", "# TYPE a histogram"),
        ("+Inf", "3.0"),
        ("h_seconds_count 2", "h_seconds_count 1"),
        ("h_seconds_sum 3\n", ""),
        ("h_seconds_bucket{le=\"+Inf\"} 2", "h_seconds_bucket{le=\"+Inf\"} 0"),
        ("a_total{b=\"c\\\"\"} 1\n", "a_total{b=\"c\"} 1\na_total{b=\"c\"} 1\n"),
        ("h_seconds_sum 3", "h_seconds_sum  3"),
    ] {
        let wrong = right.replacen(from, to, 1);
        assert!(wrong != right && check(&wrong).is_err(), "{from:?} → {to:?} is not found");
    }
}
