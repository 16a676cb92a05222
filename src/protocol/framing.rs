//! Determines the length of content, and where it ends (RFC 9112 §6).

use super::chunked::{ChunkedDecoder, Decoded};
use super::error::ProtocolError;
use crate::message::{list_items, parse_decimal};

/// The framing of a request's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFraming {
    /// There is no content.
    None,
    /// The content has this many bytes.
    Length(u64),
    /// The content is chunked.
    Chunked,
}

impl RequestFraming {
    /// Returns the length of the content, if the head declares it.
    pub fn declared_length(self) -> Option<u64> {
        match self {
            RequestFraming::Length(length) => Some(length),
            RequestFraming::None | RequestFraming::Chunked => None,
        }
    }
}

/// The facts about framing that the fields of a head tell, collected one by one.
#[derive(Clone, Copy, Debug, Default)]
pub struct FramingFields {
    content_length: Option<u64>,
    transfer_coding: TransferCoding,
}

/// The transfer coding, as far as the fields have told it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TransferCoding {
    /// No such field has come.
    #[default]
    Absent,
    /// The last coding is not chunked.
    Other,
    /// Chunked is last, and the only coding.
    Chunked,
    /// Chunked is last, after a coding that is not decoded here.
    ChunkedOther,
}

impl FramingFields {
    /// Adds a Content-Length field to the facts.
    ///
    /// # Errors
    /// Returns [`ProtocolError`] when the value is anything but one plain number, or when there was a
    /// Content-Length before. RFC 9112 §6.3 would allow `5, 5` for 5; how other recipients on the way
    /// understood that is unknown, so it is refused.
    pub fn content_length(&mut self, value: &[u8]) -> Result<(), ProtocolError> {
        if self.content_length.is_some() {
            return Err(ProtocolError::RepeatedContentLength);
        }
        self.content_length = Some(parse_content_length(value)?);
        Ok(())
    }

    /// Adds a Transfer-Encoding field to the facts; several fields form one list.
    ///
    /// # Errors
    /// Returns [`ProtocolError::InvalidTransferEncoding`] when a coding follows chunked, or when the field
    /// names no coding at all, even beside one that does: a recipient that reads only the first of the
    /// fields, or the last, would see another framing.
    pub fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), ProtocolError> {
        let mut items = list_items(value).peekable();
        if items.peek().is_none() {
            return Err(ProtocolError::InvalidTransferEncoding);
        }
        for item in items {
            let is_chunked = item.eq_ignore_ascii_case(b"chunked");
            self.transfer_coding = match (self.transfer_coding, is_chunked) {
                (TransferCoding::Chunked | TransferCoding::ChunkedOther, _) => {
                    return Err(ProtocolError::InvalidTransferEncoding);
                }
                (TransferCoding::Absent, true) => TransferCoding::Chunked,
                (TransferCoding::Other, true) => TransferCoding::ChunkedOther,
                (_, false) => TransferCoding::Other,
            };
        }
        Ok(())
    }

    /// Decides which length applies (RFC 9112 §6.3); ambiguity is refused.
    ///
    /// # Errors
    /// Returns [`ProtocolError`] when there are both fields, or when the transfer coding does not end with
    /// chunked or is unknown here.
    pub fn decide(self) -> Result<RequestFraming, ProtocolError> {
        match (self.transfer_coding, self.content_length) {
            (TransferCoding::Absent, None) => Ok(RequestFraming::None),
            (TransferCoding::Absent, Some(length)) => Ok(RequestFraming::Length(length)),
            (_, Some(_)) => Err(ProtocolError::AmbiguousLength),
            (TransferCoding::Chunked, None) => Ok(RequestFraming::Chunked),
            (TransferCoding::ChunkedOther, None) => Err(ProtocolError::UnknownTransferCoding),
            (TransferCoding::Other, None) => Err(ProtocolError::InvalidTransferEncoding),
        }
    }

    /// Whether a Transfer-Encoding field was seen.
    pub fn has_transfer_encoding(self) -> bool {
        self.transfer_coding != TransferCoding::Absent
    }
}

/// Parses digits and nothing else: `str::parse` would take `+5`.
///
/// # Errors
/// Returns an error when this is not a number. A number beyond 64 bits counts as content that is too large.
pub fn parse_content_length(value: &[u8]) -> Result<u64, ProtocolError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(ProtocolError::InvalidContentLength);
    }
    parse_decimal(value).ok_or(ProtocolError::ContentTooLarge)
}

/// Removes the framing from the content of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyDecoder {
    /// Content-Length: this many bytes are still to come.
    Length(u64),
    /// The chunked coding.
    Chunked(ChunkedDecoder),
}

impl BodyDecoder {
    /// Makes the decoder for a request that has content.
    ///
    /// # Errors
    /// Returns [`ProtocolError::ContentTooLarge`] when the content is known to be longer than
    /// `body_bytes_max`.
    pub fn new(framing: RequestFraming, body_bytes_max: u64) -> Result<BodyDecoder, ProtocolError> {
        match framing {
            RequestFraming::Length(length) if length > body_bytes_max => Err(ProtocolError::ContentTooLarge),
            RequestFraming::Length(length) => Ok(BodyDecoder::Length(length)),
            RequestFraming::None => Ok(BodyDecoder::Length(0)),
            RequestFraming::Chunked => Ok(BodyDecoder::Chunked(ChunkedDecoder::new(body_bytes_max))),
        }
    }

    /// Decodes the input up to the end of the first piece of content. If nothing is consumed, more bytes are
    /// needed, or the content [has ended](BodyDecoder::is_complete).
    ///
    /// # Errors
    /// Returns the error when the framing is broken, or when the content exceeds the limit.
    pub fn decode<'i>(&mut self, input: &'i [u8]) -> Result<Decoded<'i>, ProtocolError> {
        match self {
            BodyDecoder::Length(remaining) => {
                let take = usize::try_from(*remaining).unwrap_or(usize::MAX).min(input.len());
                *remaining -= take as u64;
                Ok(Decoded { consumed: take, content: &input[..take], trailers: &[] })
            }
            BodyDecoder::Chunked(decoder) => decoder.decode(input),
        }
    }

    /// The number of bytes, from the next one on, that are known to be content.
    pub fn content_ahead(&self) -> u64 {
        match self {
            BodyDecoder::Length(remaining) => *remaining,
            BodyDecoder::Chunked(decoder) => decoder.content_ahead(),
        }
    }

    /// Whether the content has ended.
    pub fn is_complete(&self) -> bool {
        match self {
            BodyDecoder::Length(remaining) => *remaining == 0,
            BodyDecoder::Chunked(decoder) => decoder.is_complete(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_lengths_are_plain_numbers() {
        for (value, expected) in [
            ("0", Ok(0)),
            ("007", Ok(7)),
            ("18446744073709551615", Ok(u64::MAX)),
            ("18446744073709551616", Err(ProtocolError::ContentTooLarge)),
            ("", Err(ProtocolError::InvalidContentLength)),
            ("+5", Err(ProtocolError::InvalidContentLength)),
            ("-1", Err(ProtocolError::InvalidContentLength)),
            ("5, 5", Err(ProtocolError::InvalidContentLength)),
            ("5 5", Err(ProtocolError::InvalidContentLength)),
            ("0x5", Err(ProtocolError::InvalidContentLength)),
            ("5.0", Err(ProtocolError::InvalidContentLength)),
        ] {
            assert_eq!(parse_content_length(value.as_bytes()), expected, "{value:?}");
        }
    }

    #[test]
    fn the_fields_decide_which_length_wins() {
        use ProtocolError::*;
        type Lines<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Lines<'_>, Result<RequestFraming, ProtocolError>); 15] = [
            (&[], Ok(RequestFraming::None)),
            (&[("l", "5")], Ok(RequestFraming::Length(5))),
            (&[("l", "5"), ("l", "5")], Err(RepeatedContentLength)),
            (&[("t", "chunked")], Ok(RequestFraming::Chunked)),
            (&[("t", " ChUnKeD ,")], Ok(RequestFraming::Chunked)),
            (&[("t", "chunked"), ("l", "5")], Err(AmbiguousLength)),
            (&[("l", "5"), ("t", "identity")], Err(AmbiguousLength)),
            (&[("t", "gzip, chunked")], Err(UnknownTransferCoding)),
            (&[("t", "gzip"), ("t", "chunked")], Err(UnknownTransferCoding)),
            (&[("t", "chunked, gzip")], Err(InvalidTransferEncoding)),
            (&[("t", "chunked"), ("t", "chunked")], Err(InvalidTransferEncoding)),
            (&[("t", "identity")], Err(InvalidTransferEncoding)),
            (&[("t", "")], Err(InvalidTransferEncoding)),
            (&[("t", "chunked"), ("t", ",")], Err(InvalidTransferEncoding)),
            (&[("t", "chunked;q=1")], Err(InvalidTransferEncoding)),
        ];
        for (lines, expected) in cases {
            let mut fields = FramingFields::default();
            let taken = lines.iter().try_for_each(|(name, value)| match *name {
                "l" => fields.content_length(value.as_bytes()),
                _ => fields.transfer_encoding(value.as_bytes()),
            });
            assert_eq!(taken.and_then(|()| fields.decide()), expected, "{lines:?}");
        }
    }
}
