//! How faults are written: as JSON for the admin endpoint, and as one word for the command line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Several faults; the first that fits a request strikes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    /// The faults, in order.
    pub faults: Vec<Fault>,
}

impl From<Vec<Fault>> for FaultPlan {
    fn from(faults: Vec<Fault>) -> Self {
        Self { faults }
    }
}

/// One thing that goes wrong, for some requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fault {
    /// What happens.
    pub what: FaultKind,
    /// Only requests whose path holds this text; without it every request to Graph (not those for tokens).
    #[serde(default)]
    pub path: Option<String>,
    /// Only requests of this method.
    #[serde(default)]
    pub method: Option<String>,
    /// How often; 0 means until the faults are set anew.
    #[serde(default = "once")]
    pub times: u32,
    /// So many fitting requests are let through first.
    #[serde(default)]
    pub after: u32,
    /// What `throttle` (and, when given, `error`) says about waiting.
    #[serde(default)]
    pub retry_after: Option<RetryAfter>,
    /// The status of `error`; 503 without it.
    #[serde(default)]
    pub status: Option<u16>,
    /// How long `stall` waits before it answers; an hour without it.
    #[serde(default)]
    pub seconds: Option<u64>,
    /// How `expired` refuses.
    #[serde(default)]
    pub form: Option<ExpiredForm>,
    /// Where `redirect` points to.
    #[serde(default)]
    pub to: Option<String>,
}

const fn once() -> u32 {
    1
}

impl Fault {
    /// A fault that strikes the next request to Graph once.
    pub const fn new(what: FaultKind) -> Self {
        Self {
            what,
            path: None,
            method: None,
            times: 1,
            after: 0,
            retry_after: None,
            status: None,
            seconds: None,
            form: None,
            to: None,
        }
    }

    /// Only requests whose path holds this text.
    #[must_use]
    pub fn on(mut self, path: &str) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// So often; 0 means until the faults are set anew.
    #[must_use]
    pub const fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// After so many fitting requests were let through.
    #[must_use]
    pub const fn after(mut self, requests: u32) -> Self {
        self.after = requests;
        self
    }

    /// With this `Retry-After`.
    #[must_use]
    pub const fn retry_after(mut self, wait: RetryAfter) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Refusing links in this form.
    #[must_use]
    pub const fn form(mut self, form: ExpiredForm) -> Self {
        self.form = Some(form);
        self
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// All words, as they are written.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

words! {
    /// What goes wrong.
    FaultKind {
        /// 429 with or without a `Retry-After`.
        Throttle = "throttle",
        /// A 5xx status (or any other), with Graph's error body.
        Error = "error",
        /// 401 `InvalidAuthenticationToken`.
        Unauthorized = "unauthorized",
        /// The answer comes late or never.
        Stall = "stall",
        /// The connection ends in the middle of the body; the request was carried out.
        Cut = "cut",
        /// The connection ends without any answer; the request was carried out.
        Lost = "lost",
        /// An HTML page with status 200, as a proxy's sign-in page.
        Html = "html",
        /// A body that says it is gzip and is not.
        BrokenGzip = "broken-gzip",
        /// Half a JSON document with a matching length.
        BrokenJson = "broken-json",
        /// The delta link or page token in the request is refused as too old.
        Expired = "expired",
        /// The next link leads to the same page again.
        PageLoop = "page-loop",
        /// Every entry of the page comes twice.
        Replay = "replay",
        /// The round ends here with nothing, as if nobody (else) were there.
        Empty = "empty",
        /// 307 to another host, where no token may be carried.
        Redirect = "redirect",
    }
}

words! {
    /// The ways in which Graph refuses links that have grown too old
    /// (Microsoft Graph: delta query overview, "synchronization reset" and "token duration").
    ExpiredForm {
        /// 410 `resyncRequired` with a `Location` to start again from.
        Gone = "gone",
        /// 400 `syncStateNotFound`.
        NotFound = "not-found",
        /// 400 `Request_UnsupportedQuery`, told from a mistake only by its message.
        Older = "older",
        /// 400 `Directory_ExpiredPageToken`, for page tokens.
        Page = "page",
    }
}

/// What a throttled client is told about waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Value", into = "String")]
pub enum RetryAfter {
    /// That many seconds.
    Seconds(u64),
    /// The date that many seconds ahead.
    Date(u64),
    /// Nothing.
    Missing,
    /// Zero seconds.
    Zero,
    /// More than three years.
    Absurd,
}

impl fmt::Display for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seconds(seconds) => write!(f, "{seconds}"),
            Self::Date(seconds) => write!(f, "date:{seconds}"),
            Self::Missing => f.write_str("missing"),
            Self::Zero => f.write_str("zero"),
            Self::Absurd => f.write_str("absurd"),
        }
    }
}

impl From<RetryAfter> for String {
    fn from(wait: RetryAfter) -> Self {
        wait.to_string()
    }
}

impl FromStr for RetryAfter {
    type Err = FaultSpecError;

    fn from_str(text: &str) -> Result<Self, FaultSpecError> {
        let bad = || FaultSpecError::Value {
            key: "retry-after",
            value: text.to_owned(),
            expected: "seconds, date:SECONDS, missing, zero or absurd",
        };
        match text {
            "missing" => Ok(Self::Missing),
            "zero" | "0" => Ok(Self::Zero),
            "absurd" => Ok(Self::Absurd),
            _ => match text.strip_prefix("date:") {
                Some(seconds) => seconds.parse().map(Self::Date).map_err(|_| bad()),
                None => text.parse().map(Self::Seconds).map_err(|_| bad()),
            },
        }
    }
}

impl TryFrom<serde_json::Value> for RetryAfter {
    type Error = FaultSpecError;

    fn try_from(value: serde_json::Value) -> Result<Self, FaultSpecError> {
        match &value {
            serde_json::Value::String(text) => text.parse(),
            other => other.to_string().parse(),
        }
    }
}

/// What is wrong with a fault as it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultSpecError {
    /// The word before the colon.
    #[error("unknown fault '{word}' (one of {})", FaultKind::WORDS.join(", "))]
    Kind {
        /// What was written.
        word: String,
    },
    /// A part without an equals sign.
    #[error("'{part}' is not KEY=VALUE (as in throttle:path=users/delta,times=3,retry-after=2)")]
    Part {
        /// What was written.
        part: String,
    },
    /// A key that no fault has.
    #[error("unknown key '{key}' (one of path, method, times, after, retry-after, status, seconds, form, to)")]
    Key {
        /// What was written.
        key: String,
    },
    /// A value that the key does not take.
    #[error("{key}={value}: expected {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// What was written.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// `redirect` without a destination.
    #[error("redirect needs to=URL")]
    NoDestination,
}

/// `what:key=value,key=value`; the keys are those of the JSON form.
impl FromStr for Fault {
    type Err = FaultSpecError;

    fn from_str(text: &str) -> Result<Self, FaultSpecError> {
        let (word, rest) = text.split_once(':').unwrap_or((text, ""));
        let what = FaultKind::from_word(word).ok_or_else(|| FaultSpecError::Kind { word: word.to_owned() })?;
        let mut fault = Self::new(what);
        for part in rest.split(',').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').ok_or_else(|| FaultSpecError::Part { part: part.to_owned() })?;
            match key {
                "path" => fault.path = Some(value.to_owned()),
                "method" => fault.method = Some(value.to_owned()),
                "times" => fault.times = number("times", value)?,
                "after" => fault.after = number("after", value)?,
                "retry-after" => fault.retry_after = Some(value.parse()?),
                "status" => fault.status = Some(number("status", value)?),
                "seconds" => fault.seconds = Some(number("seconds", value)?),
                "to" => fault.to = Some(value.to_owned()),
                "form" => {
                    let expected = "gone, not-found, older or page";
                    let bad = || FaultSpecError::Value { key: "form", value: value.to_owned(), expected };
                    fault.form = Some(ExpiredForm::from_word(value).ok_or_else(bad)?);
                }
                _ => return Err(FaultSpecError::Key { key: key.to_owned() }),
            }
        }
        fault.checked()
    }
}

impl Fault {
    /// The fault, if what it needs is there and fits in a response.
    pub(crate) fn checked(self) -> Result<Self, FaultSpecError> {
        if self.what == FaultKind::Redirect && self.to.is_none() {
            return Err(FaultSpecError::NoDestination);
        }
        match self.status {
            Some(status) if !(400..600).contains(&status) => {
                Err(FaultSpecError::Value { key: "status", value: status.to_string(), expected: "400 to 599" })
            }
            _ => Ok(self),
        }
    }
}

fn number<T: FromStr>(key: &'static str, value: &str) -> Result<T, FaultSpecError> {
    value.parse().map_err(|_| FaultSpecError::Value { key, value: value.to_owned(), expected: "a whole number" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_can_be_written_in_one_word() {
        let fault: Fault = "throttle:path=users/delta,times=3,retry-after=2".parse().unwrap();
        let expected = Fault::new(FaultKind::Throttle).on("users/delta").times(3).retry_after(RetryAfter::Seconds(2));
        assert_eq!(fault, expected);
        let fault: Fault = "expired:form=older".parse().unwrap();
        assert_eq!(fault, Fault::new(FaultKind::Expired).form(ExpiredForm::Older));
    }

    #[test]
    fn mistakes_are_named() {
        let check = |text: &str, expected: &str| {
            assert_eq!(text.parse::<Fault>().unwrap_err().to_string(), expected);
        };
        check("throttle:times=x", "times=x: expected a whole number");
        check("throttle:path", "'path' is not KEY=VALUE (as in throttle:path=users/delta,times=3,retry-after=2)");
        check("redirect", "redirect needs to=URL");
        check("error:status=200", "status=200: expected 400 to 599");
        check("throttle:retry-after=soon", "retry-after=soon: expected seconds, date:SECONDS, missing, zero or absurd");
        assert!("slow".parse::<Fault>().unwrap_err().to_string().starts_with("unknown fault 'slow' (one of throttle,"));
        assert!("cut:at=3".parse::<Fault>().unwrap_err().to_string().starts_with("unknown key 'at' (one of path,"));
    }

    #[test]
    fn json_and_words_say_the_same() {
        let fault: Fault =
            serde_json::from_str(r#"{"what":"throttle","path":"users","retry-after":"date:5","times":0}"#).unwrap();
        assert_eq!(fault, "throttle:path=users,retry-after=date:5,times=0".parse().unwrap());
        assert_eq!(serde_json::from_value::<Fault>(serde_json::to_value(&fault).unwrap()).unwrap(), fault);
    }
}
