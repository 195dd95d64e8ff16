//! Why a request, or a call of the in-process handle, was not carried out.

/// A refusal in the words of Microsoft Graph (Microsoft Graph: error responses and resource types).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {code}: {message}")]
pub struct Refusal {
    /// The HTTP status it travels with.
    pub status: u16,
    /// The machine-readable code, the only part clients may branch on.
    pub code: &'static str,
    /// What a person reads.
    pub message: String,
    /// The property whose value another object has.
    pub conflict: Option<&'static str>,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), conflict: None }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "Request_BadRequest", message)
    }

    /// A value that only one object may have is another's.
    pub(crate) fn conflict(property: &'static str) -> Self {
        let message = format!("Another object with the same value for property {property} already exists.");
        Self { conflict: Some(property), ..Self::bad_request(message) }
    }

    pub(crate) fn unsupported_query(message: impl Into<String>) -> Self {
        Self::new(400, "Request_UnsupportedQuery", message)
    }

    pub(crate) fn not_found(key: &str) -> Self {
        Self::new(
            404,
            "Request_ResourceNotFound",
            format!(
                "Resource '{key}' does not exist or one of its queried reference-property objects are not present."
            ),
        )
    }

    pub(crate) fn forbidden() -> Self {
        Self::new(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
    }

    pub(crate) fn invalid_value(property: &str, resource: &str) -> Self {
        Self::bad_request(format!("Invalid value specified for property '{property}' of resource '{resource}'."))
    }
}
