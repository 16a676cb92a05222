//! A page that grows while it is being read.

use std::time::Duration;

use tidegate::gateway::{BodyStream, GatewayError, Piece};
use tidegate::now::Moment;

use super::page;

/// Interval between two lines: slow enough to be seen.
const INTERVAL: Duration = Duration::from_millis(300);
/// The number of lines: they take three seconds.
const LINES: u32 = 10;

/// The stream: the start of the page at once, then a line at each interval, then its end.
pub struct Tide {
    lines: u32,
    next: Moment,
    section: Section,
    piece: String,
}

/// The part that comes next.
enum Section {
    /// The page up to the first line.
    Start,
    /// A line, once its time has come.
    Line,
    /// The page from the last line on.
    Finish,
    /// The stream has ended.
    End,
}

impl Tide {
    /// Begins the stream now.
    pub fn new(now: Moment) -> Tide {
        Tide { lines: 0, next: now + INTERVAL, section: Section::Start, piece: String::new() }
    }
}

impl BodyStream for Tide {
    fn next_piece(&mut self, now: Moment) -> Result<Piece<'_>, GatewayError> {
        match self.section {
            Section::Start => {
                self.section = Section::Line;
                self.piece = page::tide_start();
            }
            Section::Line if now < self.next => {
                return Ok(Piece::Pending { until: Some(self.next) });
            }
            Section::Line => {
                self.lines += 1;
                self.next = self.next + INTERVAL;
                self.piece = page::tide_line(self.lines, LINES, INTERVAL * self.lines);
                if self.lines == LINES {
                    self.section = Section::Finish;
                }
            }
            Section::Finish => {
                self.section = Section::End;
                self.piece = page::tide_end();
            }
            Section::End => return Ok(Piece::End),
        }
        Ok(Piece::Data(self.piece.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Collects what the stream yields when it is asked at each interval until it waits.
    fn run(mut now: Moment) -> (String, u32) {
        let mut tide = Tide::new(now);
        let (mut page, mut waits) = (String::new(), 0);
        loop {
            match tide.next_piece(now).unwrap() {
                Piece::Data(bytes) => page.push_str(std::str::from_utf8(bytes).unwrap()),
                Piece::Pending { until } => {
                    waits += 1;
                    now = until.unwrap();
                }
                Piece::End => return (page, waits),
            }
        }
    }

    #[test]
    fn page_grows_by_one_line_each_interval() {
        let (page, waits) = run(Moment::START + Duration::from_secs(5));
        assert_eq!(waits, LINES);
        assert_eq!(page.matches("<li>").count(), LINES as usize);
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    }

    #[test]
    fn waking_too_early_gives_nothing() {
        let mut tide = Tide::new(Moment::START);
        assert!(matches!(tide.next_piece(Moment::START), Ok(Piece::Data(_))));
        for _ in 0..3 {
            let until = Some(Moment::START + INTERVAL);
            assert_eq!(tide.next_piece(Moment::START).unwrap(), Piece::Pending { until });
        }
    }
}
