//! The root DSE (RFC 4512, section 5.1): which directory this is and what it can do.

use std::collections::HashSet;

use crate::protocol::control;
use crate::protocol::message::Entry;
use crate::protocol::sync::SYNC_REQUEST;
use crate::session::directory::Directory;
use crate::session::failure::Failure;

/// A kind of directory, as far as kinds differ for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vendor {
    OpenLdap,
    Ds389,
    /// Samba's as well.
    ActiveDirectory,
    /// Active Directory Lightweight Directory Services.
    Lightweight,
    Other,
}

#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) vendor: Vendor,
    /// For a person.
    pub(crate) product: String,
    /// Below which entries are, the most likely first.
    pub(crate) contexts: Vec<String>,
    pub(crate) subschema: String,
    /// How far an Active Directory server has counted changes.
    pub(crate) usn: Option<u64>,
    /// The entry of the server itself, in Active Directory.
    pub(crate) service: Option<String>,
    /// The log of changes, in 389.
    pub(crate) changelog: Option<String>,
    controls: HashSet<String>,
    extensions: HashSet<String>,
}

/// Active Directory (MS-ADTS 3.1.1.3.4.3): a domain controller, and the lightweight kind.
const DOMAIN_CONTROLLER: &str = "1.2.840.113556.1.4.800";
const LIGHTWEIGHT: &str = "1.2.840.113556.1.4.1851";

impl Root {
    pub(crate) async fn read(directory: &Directory) -> Result<Self, Failure> {
        let entry = directory.entry("", &["*", "+"]).await?;
        let entry = entry.ok_or_else(|| Failure::Nonsense("the server shows no root entry".to_owned()))?;
        Ok(Self::of(&entry))
    }

    pub(crate) fn of(entry: &Entry) -> Self {
        let all = |name: &str| entry.texts(name).map(str::to_owned).collect::<HashSet<String>>();
        let capabilities = all("supportedCapabilities");
        let vendor_text =
            format!("{} {}", entry.text("vendorName").unwrap_or(""), entry.text("vendorVersion").unwrap_or(""));
        let is_openldap = entry.texts("objectClass").any(|class| class.eq_ignore_ascii_case("OpenLDAProotDSE"));
        let vendor = match () {
            () if capabilities.contains(LIGHTWEIGHT) => Vendor::Lightweight,
            () if capabilities.contains(DOMAIN_CONTROLLER) => Vendor::ActiveDirectory,
            () if is_openldap => Vendor::OpenLdap,
            () if vendor_text.contains("389") => Vendor::Ds389,
            () => Vendor::Other,
        };
        let mut contexts: Vec<String> = entry.texts("defaultNamingContext").map(str::to_owned).collect();
        contexts.extend(entry.texts("namingContexts").map(str::to_owned));
        // Logs and settings (cn=accesslog, CN=Configuration) are nobody's people.
        contexts.sort_by_key(|dn| dn.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("cn=")));
        let named = vendor_text.trim();
        let product = match vendor {
            Vendor::OpenLdap if named.is_empty() => "OpenLDAP".to_owned(),
            Vendor::ActiveDirectory if named.to_ascii_lowercase().contains("samba") => {
                format!("Active Directory ({named})")
            }
            Vendor::ActiveDirectory => "Active Directory".to_owned(),
            Vendor::Lightweight => "AD LDS".to_owned(),
            Vendor::Other if named.is_empty() => "an LDAP directory".to_owned(),
            _ => named.to_owned(),
        };
        Self {
            vendor,
            product,
            contexts,
            subschema: entry.text("subschemaSubentry").unwrap_or("cn=subschema").to_owned(),
            usn: entry.text("highestCommittedUSN").and_then(|usn| usn.parse().ok()),
            service: entry.text("dsServiceName").map(str::to_owned),
            changelog: entry.text("changelog").map(str::to_owned),
            controls: all("supportedControl"),
            extensions: all("supportedExtension"),
        }
    }

    pub(crate) fn has_control(&self, oid: &str) -> bool {
        self.controls.contains(oid)
    }

    pub(crate) fn has_extension(&self, oid: &str) -> bool {
        self.extensions.contains(oid)
    }

    pub(crate) fn is_windows(&self) -> bool {
        matches!(self.vendor, Vendor::ActiveDirectory | Vendor::Lightweight)
    }

    /// The attribute that identifies entries for ever.
    pub(crate) fn anchor(&self) -> &'static str {
        match self.vendor {
            Vendor::ActiveDirectory | Vendor::Lightweight => "objectGUID",
            Vendor::Ds389 => "nsUniqueId",
            Vendor::OpenLdap | Vendor::Other => "entryUUID",
        }
    }

    /// What of it somebody reading a report wants to know.
    pub(crate) fn abilities(&self) -> Vec<String> {
        let mut told = vec![self.product.clone()];
        for (oid, name) in [
            (control::PAGED, "paged results"),
            (control::POST_READ, "post-read"),
            (control::PERMISSIVE, "permissive modify"),
            (control::PASSWORD_POLICY, "password policy"),
            (SYNC_REQUEST, "content synchronisation"),
        ] {
            if self.has_control(oid) {
                told.push(name.to_owned());
            }
        }
        told
    }
}
