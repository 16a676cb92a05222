//! The data set, and the answer that is made of its first items.

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The items, read once at the start.
pub struct Dataset(Vec<Item>);

#[derive(Deserialize)]
struct Item {
    id: i64,
    name: String,
    category: String,
    price: i64,
    quantity: i64,
    active: bool,
    tags: Vec<String>,
    rating: Rating,
}

#[derive(Deserialize, Serialize)]
struct Rating {
    score: i64,
    count: i64,
}

/// An answer, which borrows from the items.
#[derive(Serialize)]
struct Page<'a> {
    items: Vec<Priced<'a>>,
    count: usize,
}

#[derive(Serialize)]
struct Priced<'a> {
    id: i64,
    name: &'a str,
    category: &'a str,
    price: i64,
    quantity: i64,
    active: bool,
    tags: &'a [String],
    rating: &'a Rating,
    total: i64,
}

impl Dataset {
    /// # Errors
    /// Returns the error of the file, or of what is no item in it.
    pub fn read(path: &Path) -> Result<Dataset, Box<dyn Error>> {
        let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let items = serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Dataset(items))
    }

    /// Writes the first `count` items as JSON, each with what so many of it cost.
    ///
    /// # Errors
    /// Returns the error of the serializer, which has none for these.
    pub fn write_page(&self, count: usize, multiplier: i64, json: &mut Vec<u8>) -> io::Result<()> {
        let items: Vec<_> = self.0.iter().take(count).map(|item| item.priced(multiplier)).collect();
        let count = items.len();
        Ok(serde_json::to_writer(json, &Page { items, count })?)
    }
}

impl Item {
    fn priced(&self, multiplier: i64) -> Priced<'_> {
        Priced {
            id: self.id,
            name: &self.name,
            category: &self.category,
            price: self.price,
            quantity: self.quantity,
            active: self.active,
            tags: &self.tags,
            rating: &self.rating,
            // Any number may be asked for, and none is worth a panic.
            total: self.price.saturating_mul(self.quantity).saturating_mul(multiplier),
        }
    }
}
