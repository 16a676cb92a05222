//! The view of a folder that a request asks for: in which order, which page of it, and in which form.
//!
//! ```text
//! /music/?sort=date&order=desc&page=2
//! ```

use std::cmp::Ordering;
use std::fmt;

use tidegate::gateway::Environ;
use tidegate::message::{list_items, weight};

/// A view of a folder. What the query does not say, or says wrongly, is as by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub sort: Sort,
    pub direction: Direction,
    /// The page, from 0 on.
    pub page: usize,
    pub form: Form,
}

/// The property that entries are sorted by; folders come first in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    #[default]
    Name,
    Size,
    Date,
}

/// The direction in which entries are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    #[default]
    Up,
    Down,
}

/// The form of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// A page, for people.
    #[default]
    Html,
    /// An object, for programs that ask for `application/json`.
    Json,
}

impl View {
    /// Reads the view from a request.
    pub fn of(environ: &Environ<'_>) -> View {
        let mut view = View::of_query(environ.query());
        if environ.fields().all("Accept").flat_map(list_items).any(is_json) {
            view.form = Form::Json;
        }
        view
    }

    fn of_query(query: &str) -> View {
        let mut view = View::default();
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("sort", "size")) => view.sort = Sort::Size,
                Some(("sort", "date")) => view.sort = Sort::Date,
                Some(("order", "desc")) => view.direction = Direction::Down,
                Some(("page", number)) => view.page = number.parse::<usize>().unwrap_or(1).saturating_sub(1),
                Some(_) | None => {}
            }
        }
        view
    }

    /// Returns the view that the head of a column leads to: sorted by that column, and in the other direction if it is
    /// sorted by it already.
    pub fn sorted_by(self, sort: Sort) -> View {
        let direction = match self.direction {
            Direction::Up if self.sort == sort => Direction::Down,
            Direction::Up | Direction::Down => Direction::Up,
        };
        View { sort, direction, page: 0, ..self }
    }

    /// Returns the same view of another page.
    pub fn of_page(self, page: usize) -> View {
        View { page, ..self }
    }

    /// Orders two values in the direction of the view.
    pub fn directed(self, ordering: Ordering) -> Ordering {
        match self.direction {
            Direction::Up => ordering,
            Direction::Down => ordering.reverse(),
        }
    }
}

/// Whether an item of Accept is for JSON, with whatever parameters, and does not refuse it.
fn is_json(item: &[u8]) -> bool {
    let mut parts = item.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().unwrap_or_default();
    let is_weight = |part: &&[u8]| matches!(part, [b'q' | b'Q', b'=', ..]);
    name.eq_ignore_ascii_case(b"application/json")
        && parts.find(is_weight).is_none_or(|part| weight(part) > 0)
}

/// Shows the query that asks for the view.
impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sort = match self.sort {
            Sort::Name => "name",
            Sort::Size => "size",
            Sort::Date => "date",
        };
        write!(f, "?sort={sort}")?;
        if self.direction == Direction::Down {
            f.write_str("&amp;order=desc")?;
        }
        match self.page {
            0 => Ok(()),
            page => write!(f, "&amp;page={}", page + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn view_is_what_the_query_says_and_nonsense_is_none() {
        let expected = View { sort: Sort::Date, direction: Direction::Down, page: 1, form: Form::Html };
        assert_eq!(View::of_query("sort=date&order=desc&page=2"), expected);
        assert_eq!(expected.to_string(), "?sort=date&amp;order=desc&amp;page=2");
        for nonsense in ["", "sort", "sort=x&page=y&order=", "page=0", "page=1"] {
            assert_eq!(View::of_query(nonsense), View::default(), "{nonsense}");
        }
    }

    #[test]
    fn json_is_for_those_who_take_it() {
        for taken in ["application/json", "Application/JSON; q=0.5", "application/json;charset=utf-8;q=1"] {
            assert!(is_json(taken.as_bytes()), "{taken}");
        }
        for refused in
            ["text/html", "*/*", "application/json;q=0", "application/json; charset=utf-8; q=0.000"]
        {
            assert!(!is_json(refused.as_bytes()), "{refused}");
        }
    }

    #[test]
    fn head_of_a_column_sorts_by_it_and_then_turns_round() {
        let by_size = View::default().sorted_by(Sort::Size);
        assert_eq!((by_size.sort, by_size.direction), (Sort::Size, Direction::Up));
        assert_eq!(by_size.sorted_by(Sort::Size).direction, Direction::Down);
        assert_eq!(by_size.sorted_by(Sort::Size).sorted_by(Sort::Size).direction, Direction::Up);
    }
}
