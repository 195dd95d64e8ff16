//! A file as rows: whole, without a fault, and each row found by its key.

use std::collections::HashMap;

use csv::{ByteRecord, ReaderBuilder};
use muster_model::{Key, Value};

/// How a file is written.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    pub(crate) delimiter: u8,
    pub(crate) quote: Option<u8>,
    pub(crate) trim: bool,
    /// The names of the columns where the file does not say them.
    pub(crate) names: Option<Vec<String>>,
    pub(crate) null: Vec<String>,
    pub(crate) key: Vec<String>,
    pub(crate) skip_without_key: bool,
}

/// A file as it was read.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Names this content.
    pub(crate) fingerprint: String,
    pub(crate) names: Vec<String>,
    form: Form,
    text: String,
    /// Where each row begins and ends in the text.
    rows: Vec<(usize, usize)>,
    by_key: HashMap<Key, usize>,
}

/// A row by the positions of [`Snapshot::names`]; none where there is no value.
pub(crate) type Cells = Vec<Option<String>>;

impl Form {
    fn reader<'text>(&self, text: &'text [u8]) -> csv::Reader<&'text [u8]> {
        let mut builder = ReaderBuilder::new();
        builder.has_headers(false).delimiter(self.delimiter).quoting(self.quote.is_some());
        builder.quote(self.quote.unwrap_or(b'"'));
        // Whose length differs is told with its line.
        builder.flexible(true);
        builder.from_reader(text)
    }

    fn cells(&self, record: &ByteRecord) -> Cells {
        let cell = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let text = if self.trim { text.trim() } else { text.as_ref() };
            let is_null = text.is_empty() || self.null.iter().any(|null| null == text);
            (!is_null).then(|| text.to_owned())
        };
        record.iter().map(cell).collect()
    }

    /// The positions of the key's columns.
    pub(crate) fn key_positions(&self, names: &[String]) -> Result<Vec<usize>, String> {
        let position = |wanted: &String| {
            names.iter().position(|name| name == wanted).ok_or_else(|| {
                let near = muster_model::nearest(wanted, names.iter().map(String::as_str));
                let hint = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
                let hint = match names {
                    [only] if only.contains([';', '\t', '|', ',']) => "; is `delimiter` right?".to_owned(),
                    _ => hint,
                };
                format!("it has no column {wanted:?}, which `key` names; it has: {}{hint}", names.join(", "))
            })
        };
        self.key.iter().map(position).collect()
    }
}

impl Snapshot {
    /// Reads a whole file, or says what is wrong with it and where. A file with a fault is read by no half: whoever
    /// were missing would count as gone.
    pub(crate) fn read(text: String, form: &Form) -> Result<Self, String> {
        let fingerprint = blake3::hash(text.as_bytes()).to_hex().to_string();
        let mut reader = form.reader(text.as_bytes());
        let mut record = ByteRecord::new();
        let mut names = form.names.clone();
        let mut keys = names.as_ref().map(|names| form.key_positions(names)).transpose()?;
        let mut rows = Vec::new();
        let mut by_key: HashMap<Key, usize> = HashMap::new();
        let mut lines: Vec<u64> = Vec::new();
        let (mut line, mut counted) = (1, 0);
        loop {
            let more = reader.read_byte_record(&mut record).map_err(|error| error.to_string())?;
            if !more {
                break;
            }
            let begin = record.position().map_or(0, |place| usize::try_from(place.byte()).unwrap_or(0));
            // Empty lines count, and belong to no row.
            let begin = begin + empty_lines(&text, begin);
            let end = usize::try_from(reader.position().byte()).unwrap_or(0);
            line += line_ends(&text, counted, begin);
            counted = begin;
            let cells = form.cells(&record);
            let Some(known) = &names else {
                let found = header(&cells)?;
                keys = Some(form.key_positions(&found)?);
                names = Some(found);
                continue;
            };
            if cells.len() != known.len() {
                return Err(format!(
                    "line {line} has {} values, and there are {} columns; is the file whole, and are `delimiter` and \
                     `quote` right?",
                    cells.len(),
                    known.len()
                ));
            }
            if form.quote.is_some_and(|quote| is_open(&text, begin, end, quote, form.delimiter)) {
                return Err(format!(
                    "the value that begins in line {line} is never closed by a quote: the file is cut off"
                ));
            }
            let key: Option<Vec<Value>> =
                keys.iter().flatten().map(|position| Some(Value::text(cells.get(*position)?.as_ref()?))).collect();
            let Some(key) = key.map(Key) else {
                if form.skip_without_key {
                    continue;
                }
                return Err(format!(
                    "line {line} has no {}, and whoever has no key cannot be told from others; correct the line, or set \
                     `skip_without_key`",
                    form.key.join(", ")
                ));
            };
            if let Some(first) = by_key.insert(key.clone(), rows.len()) {
                let first = lines.get(first).copied().unwrap_or(0);
                return Err(format!(
                    "{} {key} stands in line {first} and in line {line}; correct one of them",
                    form.key.join(", ")
                ));
            }
            rows.push((begin, end));
            lines.push(line);
        }
        let Some(names) = names else { return Err("it is empty; even a file without people has a header".to_owned()) };
        Ok(Self { fingerprint, names, form: form.clone(), text, rows, by_key })
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn row(&self, number: usize) -> Option<Cells> {
        let (begin, end) = *self.rows.get(number)?;
        let mut record = ByteRecord::new();
        let mut reader = self.form.reader(self.text.get(begin..end)?.as_bytes());
        reader.read_byte_record(&mut record).ok()?;
        Some(self.form.cells(&record))
    }

    pub(crate) fn find(&self, key: &Key) -> Option<Cells> {
        self.row(*self.by_key.get(key)?)
    }

    /// The key of a row.
    pub(crate) fn key(&self, cells: &Cells) -> Option<Key> {
        let positions = self.form.key_positions(&self.names).ok()?;
        let parts = positions.into_iter().map(|position| Some(Value::text(cells.get(position)?.as_ref()?)));
        parts.collect::<Option<Vec<_>>>().map(Key)
    }
}

/// The names of the columns; one that is missing is called by its place.
fn header(cells: &Cells) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::with_capacity(cells.len());
    for (position, cell) in cells.iter().enumerate() {
        let name = cell.clone().unwrap_or_else(|| format!("column_{}", position + 1));
        if names.contains(&name) {
            return Err(format!(
                "two columns are called {name:?}; correct the header, or set `header = false` and `names`"
            ));
        }
        names.push(name);
    }
    Ok(names)
}

fn empty_lines(text: &str, begin: usize) -> usize {
    let rest = text.as_bytes().get(begin..).unwrap_or_default();
    rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

fn line_ends(text: &str, from: usize, to: usize) -> u64 {
    let between = text.as_bytes().get(from..to).unwrap_or_default();
    between.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Whether a row that reaches to the end of the text ends within quotes, which count at the beginning of a value only.
fn is_open(text: &str, begin: usize, end: usize, quote: u8, delimiter: u8) -> bool {
    if end < text.len() {
        return false;
    }
    let row = text.as_bytes().get(begin..).unwrap_or_default();
    let (mut within, mut at_start) = (false, true);
    let mut bytes = row.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if within {
            // A quote that is written twice is one of the value's own.
            within = byte != quote || bytes.next_if_eq(&quote).is_some();
        } else {
            within = at_start && byte == quote;
            at_start = byte == delimiter;
        }
    }
    within
}
