//! Many rows as two parameters: one blob with all bytes end to end, and one list of numbers and positions.
//!
//! A statement then writes a whole page at once (`INSERT … SELECT … FROM jsonb_each`), which was measured faster
//! than multi-row `VALUES` and many times faster than a statement for each row. The list is in SQLite's own binary
//! form, so that nobody has to parse it. Source: SQLite documentation, "The SQLite JSONB Format".

mod element {
    pub(super) const NULL: u8 = 0;
    /// Decimal digits.
    pub(super) const INTEGER: u8 = 3;
    /// Text without escapes.
    pub(super) const RAW_TEXT: u8 = 10;
    pub(super) const ARRAY: u8 = 11;
}

/// An element's header: its type in the lower half of the first byte, its length in the upper half or in the bytes
/// after it.
fn header(to: &mut Vec<u8>, element: u8, length: usize) {
    match length {
        0..=11 => to.push((length as u8) << 4 | element),
        12..=0xff => to.extend([12 << 4 | element, length as u8]),
        0x100..=0xffff => {
            to.push(13 << 4 | element);
            to.extend((length as u16).to_be_bytes());
        }
        _ => {
            to.push(14 << 4 | element);
            to.extend((length as u32).to_be_bytes());
        }
    }
}

/// Rows being packed. In SQL a blob field `n` is `substr(?1, value ->> n, value ->> (n + 1))`.
#[derive(Debug, Default)]
pub(super) struct Rows {
    blob: Vec<u8>,
    /// The rows that are complete.
    list: Vec<u8>,
    /// The fields of the last row.
    row: Vec<u8>,
    row_open: bool,
}

impl Rows {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn row(&mut self) -> &mut Self {
        self.close_row();
        self.row_open = true;
        self
    }

    fn close_row(&mut self) {
        if std::mem::take(&mut self.row_open) {
            header(&mut self.list, element::ARRAY, self.row.len());
            self.list.append(&mut self.row);
        }
    }

    pub(super) fn number(&mut self, number: i64) -> &mut Self {
        let digits = number.to_string();
        header(&mut self.row, element::INTEGER, digits.len());
        self.row.extend_from_slice(digits.as_bytes());
        self
    }

    pub(super) fn optional_number(&mut self, number: Option<i64>) -> &mut Self {
        match number {
            Some(number) => self.number(number),
            None => self.null(),
        }
    }

    fn null(&mut self) -> &mut Self {
        header(&mut self.row, element::NULL, 0);
        self
    }

    /// Two fields: position (from 1) and length; both null for no bytes.
    pub(super) fn bytes(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            Some(bytes) => {
                let position = self.blob.len() as i64 + 1;
                self.blob.extend_from_slice(bytes);
                self.number(position).number(bytes.len() as i64)
            }
            None => self.null().null(),
        }
    }

    pub(super) fn text(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => {
                header(&mut self.row, element::RAW_TEXT, text.len());
                self.row.extend_from_slice(text.as_bytes());
                self
            }
            None => self.null(),
        }
    }

    /// All bytes, and the list.
    pub(super) fn finish(mut self) -> (Vec<u8>, Vec<u8>) {
        self.close_row();
        let mut list = Vec::with_capacity(self.list.len() + 5);
        header(&mut list, element::ARRAY, self.list.len());
        list.append(&mut self.list);
        (self.blob, list)
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
pub(super) fn keys(keys: impl IntoIterator<Item = impl AsRef<[u8]>>) -> (Vec<u8>, Vec<u8>) {
    let mut rows = Rows::new();
    for key in keys {
        rows.row().bytes(Some(key.as_ref()));
    }
    rows.finish()
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteConnection;
    use sqlx::{Connection as _, Row as _};

    use super::*;

    #[tokio::test]
    async fn sqlite_reads_what_is_packed() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let numbers = [0, -1, 7, 99_999_999_999, i64::MIN, i64::MAX];
        let texts =
            ["", "a", "\"quoted\" \\ back", "naïve 🦀 \u{1}", &"x".repeat(11), &"x".repeat(12), &"y".repeat(70_000)];
        let mut rows = Rows::new();
        for number in numbers {
            for text in texts {
                rows.row().number(number).text(Some(text)).text(None).bytes(Some(text.as_bytes())).bytes(None);
                rows.optional_number(None);
            }
        }
        let (blob, list) = rows.finish();
        let read = sqlx::query(
            "SELECT value ->> 0, value ->> 1, value ->> 2, substr(?1, value ->> 3, value ->> 4), value ->> 5, value ->> 7, \
             json_valid(?2, 8) FROM jsonb_each(?2)",
        )
        .bind(blob)
        .bind(list)
        .fetch_all(&mut connection)
        .await
        .unwrap();
        assert_eq!(read.len(), numbers.len() * texts.len());
        for (row, (number, text)) in read.iter().zip(numbers.iter().flat_map(|number| texts.map(|text| (number, text))))
        {
            assert_eq!((row.get::<i64, _>(0), row.get::<String, _>(1).as_str()), (*number, text));
            assert_eq!(row.get::<Vec<u8>, _>(3), text.as_bytes());
            assert!([2, 4, 5].into_iter().all(|null| row.get::<Option<String>, _>(null).is_none()));
            assert_eq!(row.get::<i64, _>(6), 1, "strictly well-formed");
        }
        let (_, empty) = Rows::new().finish();
        let none = sqlx::query("SELECT * FROM jsonb_each(?)").bind(empty).fetch_all(&mut connection).await.unwrap();
        assert!(none.is_empty());
    }
}
