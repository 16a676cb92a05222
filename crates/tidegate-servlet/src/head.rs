//! Reads the head of a response as Java has written it down, and judges it by the rules of the server.

use tidegate::gateway::{ResponseHead, StartResponse};
use tidegate::message::{FieldBlock, StatusCode, is_field_value};

/// The head of a response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    code: u16,
    /// The reason phrase; empty if it is the standard one.
    reason: Vec<u8>,
    fields: FieldBlock,
}

/// Takes numbers and texts off the front of a block, in the order in which Java has put them there.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(block: &'a [u8]) -> Reader<'a> {
        Reader(block)
    }

    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    pub fn number(&mut self) -> Option<usize> {
        Some(u32::from_be_bytes(*self.bytes(4)?.first_chunk()?) as usize)
    }

    /// Takes a text with its length before it.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let count = self.number()?;
        self.bytes(count)
    }
}

impl Head {
    /// Reads status, reason and fields: see `Exchange.writeHead` in Java.
    ///
    /// # Errors
    /// Returns what is wrong with them.
    pub fn read(block: &[u8]) -> Result<Head, String> {
        let mut reader = Reader::new(block);
        let mut head = Head::default();
        let code = reader.number().ok_or(TORN)?;
        head.code = u16::try_from(code).unwrap_or(0);
        if StatusCode::new(head.code).is_none() && head.code != 101 {
            return Err(format!("{code} is no final status code (200 to 599)"));
        }
        head.reason = reader.text().ok_or(TORN)?.to_vec();
        if !is_field_value(&head.reason) {
            return Err("there is a control character in the reason phrase".to_string());
        }
        head.read_fields(&mut reader)?;
        Ok(head)
    }

    /// Reads fields alone, as early hints have them.
    ///
    /// # Errors
    /// Returns what is wrong with them.
    pub fn of_fields(block: &[u8]) -> Result<Head, String> {
        let mut head = Head::default();
        head.read_fields(&mut Reader::new(block))?;
        Ok(head)
    }

    fn read_fields(&mut self, reader: &mut Reader<'_>) -> Result<(), String> {
        for _ in 0..reader.number().ok_or(TORN)? {
            let (name, value) = (reader.text().ok_or(TORN)?, reader.text().ok_or(TORN)?);
            let name =
                std::str::from_utf8(name).map_err(|_| "the name of a field is not ASCII".to_string())?;
            self.fields.push(name, value).map_err(|invalid| invalid.to_string())?;
        }
        Ok(())
    }

    /// The length of the content, if Content-Length says it.
    pub fn declared_length(&self) -> Option<u64> {
        self.fields.content_length()
    }

    /// The fields.
    pub fn fields(&self) -> &FieldBlock {
        &self.fields
    }

    /// Writes this head into a response.
    pub fn write<'a>(&self, start_response: StartResponse<'a>) -> ResponseHead<'a> {
        let head = match &*self.reason {
            [] => start_response.status(self.code),
            reason => start_response.status_with_reason(self.code, reason),
        };
        head.fields(&self.fields)
    }
}

/// The error of a block that ends too early, which only a bug of ours can cause.
const TORN: &str = "the connector has written a torn head";

#[cfg(test)]
mod tests {
    use super::*;

    fn block(code: u32, reason: &str, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut block = code.to_be_bytes().to_vec();
        let mut put = |text: &str| {
            block.extend_from_slice(&(text.len() as u32).to_be_bytes());
            block.extend_from_slice(text.as_bytes());
        };
        put(reason);
        let count = fields.len() as u32;
        block.extend_from_slice(&count.to_be_bytes());
        for (name, value) in fields {
            for text in [name, value] {
                block.extend_from_slice(&(text.len() as u32).to_be_bytes());
                block.extend_from_slice(text.as_bytes());
            }
        }
        block
    }

    #[test]
    fn head_is_read_as_java_writes_it() {
        let head =
            Head::read(&block(200, "", &[("Content-Type", "text/plain"), ("Content-Length", "5")])).unwrap();
        assert_eq!(head.declared_length(), Some(5));
        assert_eq!(head.fields().lines(), b"Content-Type: text/plain\r\n");
    }

    #[test]
    fn what_must_not_be_sent_is_refused_with_its_reason() {
        for (code, reason, field, said) in [
            (99, "", ("A", "b"), "99 is no final status code"),
            (65_736, "", ("A", "b"), "65736 is no final status code"),
            (200, "O\rK", ("A", "b"), "reason phrase"),
            (200, "", ("A", "b\r\nC: d"), "control character"),
            (200, "", ("Transfer-Encoding", "chunked"), "Transfer-Encoding"),
            (200, "", ("A b", "c"), "A b"),
            (200, "", ("Content-Length", "-1"), "Content-Length"),
        ] {
            let error = Head::read(&block(code, reason, &[field])).unwrap_err();
            assert!(error.contains(said), "{error:?} does not say {said:?}");
        }
    }

    #[test]
    fn torn_block_is_an_error_wherever_it_ends() {
        let whole = block(200, "Fine", &[("A", "b"), ("C", "d")]);
        for end in 0..whole.len() {
            assert!(Head::read(&whole[..end]).is_err(), "{end} of {} bytes", whole.len());
        }
        assert!(Head::read(&whole).is_ok());
    }
}
