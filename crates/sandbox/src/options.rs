//! What a caller may choose about a sandbox.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::faults::{ExpiredForm, FaultPlan};

/// Everything that can be chosen about a sandbox; start from [`Default`].
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// The same seed and numbers make the same tenant, to the byte.
    pub seed: u64,
    /// How many users there are at the start, guests included.
    pub users: usize,
    /// How many groups there are at the start.
    pub groups: usize,
    /// The port on loopback; 0 takes any that is free.
    pub port: u16,
    /// Serve HTTPS with a certificate authority of its own, instead of HTTP.
    pub tls: Option<TlsOptions>,
    /// The most users on one page.
    pub page_size: usize,
    /// The most groups on one page of a delta round.
    pub group_page_size: usize,
    /// The most members of one group in one `members@delta`.
    pub member_slice: usize,
    /// Changes that happen by themselves.
    pub churn: Option<Churn>,
    /// What shall go wrong.
    pub faults: FaultPlan,
    /// Legal oddities of delta rounds.
    pub oddities: Oddities,
    /// The app roles the client was granted.
    pub permissions: Vec<String>,
    /// After so many days a delta link is refused.
    pub delta_days: u64,
    /// After so many minutes a page token is refused.
    pub page_token_minutes: u64,
    /// How a link that has grown too old is refused.
    pub expired_form: ExpiredForm,
    /// How long an access token lives.
    pub token_seconds: u64,
    /// The certificate registered for the client, with which it signs assertions.
    pub client_certificate_pem: Option<String>,
    /// How uploaded people are brought in.
    pub inbound: InboundOptions,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            users: 1_000,
            groups: 50,
            port: 0,
            tls: None,
            page_size: 999,
            group_page_size: 100,
            member_slice: 1_000,
            churn: None,
            faults: FaultPlan::default(),
            oddities: Oddities::modest(),
            permissions: ALL_PERMISSIONS.iter().map(|&role| role.to_owned()).collect(),
            delta_days: 7,
            page_token_minutes: 20,
            expired_form: ExpiredForm::NotFound,
            token_seconds: 3_599,
            client_certificate_pem: None,
            inbound: InboundOptions::default(),
        }
    }
}

/// HTTPS on `localhost` and `127.0.0.1`.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// The folder into which the authority's certificate is written, as `ca.pem`.
    pub ca_folder: PathBuf,
}

/// How API-driven inbound provisioning behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundOptions {
    /// So long after the first upload that waits, a run works on all that wait.
    pub processing_seconds: u64,
    /// So long after a run its entries appear in the provisioning log.
    pub log_seconds: u64,
    /// The tenant's quota of uploads in 24 hours: 2000 with P1 or P2, 6000 with Entra ID Governance.
    pub calls_per_day: u32,
    /// Null, an empty text or absence clears a property on update ("flow null values", switched on at both ends).
    pub flow_nulls: bool,
    /// Attributes of extension schemas by their URN path, each with the directory extension that it is mapped to.
    pub extensions: BTreeMap<String, String>,
    /// A scoping filter leaves out people of these departments.
    pub departments_out_of_scope: Vec<String>,
}

impl Default for InboundOptions {
    fn default() -> Self {
        Self {
            processing_seconds: 60,
            log_seconds: 300,
            calls_per_day: 2_000,
            flow_nulls: false,
            extensions: BTreeMap::new(),
            departments_out_of_scope: Vec::new(),
        }
    }
}

/// Changes that happen by themselves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Churn {
    /// How many, on average.
    pub changes_per_second: f64,
}

/// Things that are legal in a delta round and that a consumer must bear
/// (Microsoft Graph: delta query overview, "resource representation" and "replays").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oddities {
    /// So many percent of pages are preceded by an empty one.
    pub empty_pages_percent: u32,
    /// So many percent of pages repeat an object of the page before.
    pub repeats_percent: u32,
    /// Objects come in no order, instead of that of their creation.
    pub reorder: bool,
    /// The first round tells of deleted users, some of whom were purged before it began.
    pub removed_in_first_round: bool,
}

impl Oddities {
    /// None at all.
    pub const fn none() -> Self {
        Self { empty_pages_percent: 0, repeats_percent: 0, reorder: false, removed_in_first_round: false }
    }

    /// A share that every client meets sooner or later; the default.
    pub const fn modest() -> Self {
        Self { empty_pages_percent: 10, repeats_percent: 20, reorder: true, removed_in_first_round: true }
    }
}

/// The app roles the sandbox knows (Microsoft Graph: permissions reference).
pub const ALL_PERMISSIONS: &[&str] = &[
    "User.Read.All",
    "User.ReadWrite.All",
    "Group.Read.All",
    "Group.ReadWrite.All",
    "GroupMember.Read.All",
    "GroupMember.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
    "Organization.Read.All",
    "Application.Read.All",
    "User-LifeCycleInfo.Read.All",
    "User-LifeCycleInfo.ReadWrite.All",
    "SynchronizationData-User.Upload",
    "Synchronization.Read.All",
    "ProvisioningLog.Read.All",
    "AuditLog.Read.All",
];
