//! Many rows as two parameters: one blob with all bytes end to end, and one JSON list of numbers and positions.
//!
//! A statement then writes a whole page at once (`INSERT … SELECT … FROM jsonb_each`), which was measured faster
//! than multi-row `VALUES` and many times faster than a statement for each row.

/// Rows being packed. In SQL a blob field `n` is `substr(?1, value ->> n, value ->> (n + 1))`.
#[derive(Debug, Default)]
pub(super) struct Rows {
    blob: Vec<u8>,
    json: String,
    row_open: bool,
}

impl Rows {
    pub(super) fn new() -> Self {
        Self { blob: Vec::new(), json: "[".to_owned(), row_open: false }
    }

    pub(super) fn row(&mut self) -> &mut Self {
        if self.row_open {
            self.json.push(']');
        }
        if self.json.len() > 1 {
            self.json.push(',');
        }
        self.json.push('[');
        self.row_open = true;
        self
    }

    fn field(&mut self, text: &str) {
        if !self.json.ends_with('[') {
            self.json.push(',');
        }
        self.json.push_str(text);
    }

    pub(super) fn number(&mut self, number: i64) -> &mut Self {
        self.field(&number.to_string());
        self
    }

    pub(super) fn optional_number(&mut self, number: Option<i64>) -> &mut Self {
        match number {
            Some(number) => self.number(number),
            None => {
                self.field("null");
                self
            }
        }
    }

    /// Two fields: position (from 1) and length; both null for no bytes.
    pub(super) fn bytes(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            Some(bytes) => {
                let position = self.blob.len() as i64 + 1;
                self.blob.extend_from_slice(bytes);
                self.number(position).number(bytes.len() as i64)
            }
            None => {
                self.field("null");
                self.field("null");
                self
            }
        }
    }

    /// Text, as a JSON string.
    pub(super) fn text(&mut self, text: Option<&str>) -> &mut Self {
        let encoded = serde_json::to_string(&text).unwrap_or_else(|_| "null".to_owned());
        self.field(&encoded);
        self
    }

    pub(super) fn finish(mut self) -> (Vec<u8>, String) {
        if self.row_open {
            self.json.push(']');
        }
        self.json.push(']');
        (self.blob, self.json)
    }
}

/// A JSON list of numbers.
pub(super) fn numbers(numbers: impl IntoIterator<Item = i64>) -> String {
    let mut json = "[".to_owned();
    for number in numbers {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&number.to_string());
    }
    json.push(']');
    json
}

/// Encoded keys as the two parameters of [`Rows`].
pub(super) fn keys<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, String) {
    let mut rows = Rows::new();
    for key in keys {
        rows.row().bytes(Some(key));
    }
    rows.finish()
}
