//! How changes of a directory are noticed. What no way tells in time, entries that are gone or were moved out of a type's
//! sight, is found by reading all keys from time to time.

mod accesslog;
mod changelog;
mod dirsync;
mod logged;
mod marked;
mod sync;

pub(crate) use logged::LogRounds;
pub(crate) use marked::MODIFIED;
pub(crate) use sync::Refreshes;

use std::time::Duration;

use muster_connector::{
    Change, ChangePage, Entry, Error, Expired, Marks, Next, Position, ReadRequest, Removal, SourceObject, Span,
    Watermark,
};
use muster_model::{Changes, Key, Precision};
use serde::{Deserialize, Serialize};

use crate::config::{ChangesBy, LdapSettings, wrong};
use crate::connector::{Known, LdapConnector};
use crate::directory::root::Root;
use crate::entries::{CONTAINER, DN, EntryType};
use crate::protocol::control::DIRSYNC;
use crate::protocol::sync::SYNC_REQUEST;
use crate::session::connection::Connection;

/// What tells of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// `uSNChanged`: a number that each server of an Active Directory counts by itself.
    Usn,
    /// `modifyTimestamp`, which has whole seconds.
    Modified,
    /// Content synchronisation (RFC 4533).
    Sync,
    /// Active Directory's DirSync control.
    Dirsync,
    /// OpenLDAP's log of changes (slapo-accesslog(5)).
    Accesslog,
    /// 389's retro changelog (draft-good-ldap-changelog).
    Changelog,
}

/// How changes are noticed, and how often keys are read for the rest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Follow {
    pub(crate) way: Way,
    /// The longest time from an entry's `modifyTimestamp` to its being seen on the server that is read, or from the
    /// beginning of a change to its record in a log.
    pub(crate) overlap: Duration,
    keys_every: Duration,
}

const OVERLAP: Span = Span(Duration::from_secs(600));
/// A second that was looked at may not have been over.
const LEAST_OVERLAP: Duration = Duration::from_secs(2);
const KEYS_EVERY: Span = Span(Duration::from_secs(900));

/// Up to where changes are known, as a watermark holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mark {
    /// The numbers of one server; another one counts others.
    Usn {
        server: String,
        usn: u64,
    },
    Modified(Marks),
    Sync {
        cookie: Vec<u8>,
    },
    Dirsync {
        cookie: Vec<u8>,
    },
    Accesslog(accesslog::LogMark),
    Changelog(changelog::LogMark),
}

impl Mark {
    fn read(watermark: &Watermark) -> Result<Self, Error> {
        serde_json::from_slice(&watermark.0).map_err(|_| expired())
    }

    fn watermark(&self) -> Watermark {
        Watermark(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// Everything is to be read again.
fn expired() -> Error {
    Error::Expired { expired: Expired::Watermark }
}

impl Follow {
    /// What the settings ask for, as far as the directory has it. `shows_times`: entries show their `modifyTimestamp`.
    pub(crate) fn new(settings: &LdapSettings, root: &Root, shows_times: bool) -> Result<Option<Self>, Error> {
        let missing = |what: &str, fix: &str| Err(wrong("changes", what, fix));
        let way = match settings.changes {
            ChangesBy::None => return Ok(None),
            ChangesBy::Usn if root.usn.is_none() => {
                return missing(
                    "this server counts no changes (its root entry has no highestCommittedUSN)",
                    "leave `changes` out: \"usn\" is for Active Directory",
                );
            }
            ChangesBy::Sync if !root.has_control(SYNC_REQUEST) => {
                return missing(
                    "this server offers no content synchronisation (RFC 4533)",
                    "OpenLDAP: add the overlay syncprov to the database (olcOverlay: syncprov, with olcSpSessionlog); 389: \
                     enable its plug-ins Content Synchronization and Retro Changelog; or leave `changes` out",
                );
            }
            ChangesBy::Dirsync if !root.has_control(DIRSYNC) => {
                return missing(
                    "this server has no DirSync control",
                    "leave `changes` out: \"dirsync\" is for Active Directory",
                );
            }
            ChangesBy::ModifyTimestamp if !shows_times => {
                return missing(
                    "entries do not show modifyTimestamp",
                    "let the connection's user read it, or set changes = \"none\"",
                );
            }
            ChangesBy::Usn => Way::Usn,
            ChangesBy::Sync => Way::Sync,
            ChangesBy::Dirsync => Way::Dirsync,
            ChangesBy::Accesslog => Way::Accesslog,
            ChangesBy::Changelog => Way::Changelog,
            ChangesBy::ModifyTimestamp => Way::Modified,
            ChangesBy::Auto if root.is_windows() && root.usn.is_some() => Way::Usn,
            ChangesBy::Auto if shows_times => Way::Modified,
            ChangesBy::Auto => return Ok(None),
        };
        Ok(Some(Self {
            way,
            overlap: settings.overlap.unwrap_or(OVERLAP).0.max(LEAST_OVERLAP),
            keys_every: settings.keys_every.unwrap_or(KEYS_EVERY).0,
        }))
    }

    /// Adds to a type what its changes show.
    pub(crate) fn describe(&self, of: &mut EntryType) {
        if let Some(source) = &mut of.object_type.source {
            source.changes = Some(Changes {
                starts_full: false,
                precision: Precision::Round,
                // Content synchronisation tells of most, and of none where the server has forgotten too much.
                deletes_visible: false,
                keys_every: self.keys_every.as_secs(),
            });
        }
        for attribute in &mut of.object_type.attributes {
            // A moved unit takes its entries along, and a group its members, without changing them.
            attribute.in_changes = ![DN, CONTAINER].contains(&attribute.name.as_str())
                && !["memberof", "ismemberof"].contains(&attribute.name.to_ascii_lowercase().as_str());
        }
    }
}

impl Way {
    /// For a person.
    pub(crate) fn told(self) -> &'static str {
        match self {
            Self::Usn => "changes by uSNChanged",
            Self::Modified => "changes by modifyTimestamp",
            Self::Dirsync => "changes by DirSync",
            Self::Sync => "changes by content synchronisation (RFC 4533)",
            Self::Accesslog => "changes by the accesslog",
            Self::Changelog => "changes by the retro changelog",
        }
    }

    /// Whether it notices what changes on servers that referrals lead to, and not only on the connection's own.
    pub(crate) fn sees_other_servers(self) -> bool {
        self == Self::Modified
    }
}

/// What is known before the first page of a full read.
#[derive(Debug, Default)]
pub(crate) struct Begun {
    /// What to read on, where it must be the same server.
    pub(crate) connection: Option<Connection>,
    pub(crate) watermark: Option<Watermark>,
    /// The watermark is made of the first page's times.
    pub(crate) times: bool,
}

impl LdapConnector {
    /// Where changes are to go on after a full read.
    pub(crate) async fn before_all(
        &self,
        known: &Known,
        of: &EntryType,
        request: &ReadRequest,
    ) -> Result<Begun, Error> {
        let shown = |name: &String| of.object_type.attribute(name).is_some_and(|attribute| attribute.in_changes);
        let Some(follow) = known.follow else { return Ok(Begun::default()) };
        // Nothing of what is read goes on as changes: keys are looked through, and a watermark would cost a pass more.
        if !request.attributes.iter().any(shown) {
            return Ok(Begun::default());
        }
        let watermark = match follow.way {
            Way::Usn => return self.counted_before_all().await,
            Way::Modified => return Ok(Begun { times: true, ..Begun::default() }),
            Way::Sync => self.cookie_of_now(of).await?,
            Way::Dirsync => self.dirsync_of_now(known, of).await?,
            Way::Accesslog | Way::Changelog => return self.log_before_all(known, of, &follow).await,
        };
        Ok(Begun { watermark: Some(watermark), ..Begun::default() })
    }

    pub(crate) async fn changed(&self, request: &ReadRequest, position: &Position) -> Result<ChangePage, Error> {
        let known = self.known().await?;
        let of = known.entry_type(&request.object_type)?;
        let Some(follow) = known.follow else {
            return Err(Error::Unsupported("changes of a directory that is read as a whole".to_owned()));
        };
        match follow.way {
            Way::Usn | Way::Modified => self.changed_by_mark(&known, of, &follow, request, position).await,
            Way::Sync => self.changed_by_sync(&known, of, request, position).await,
            Way::Dirsync => self.changed_by_dirsync(&known, of, request, position).await,
            Way::Accesslog | Way::Changelog => self.changed_by_log(&known, of, &follow, request, position).await,
        }
    }

    /// Whole objects as entries of a round of changes.
    async fn whole_entries(
        &self,
        known: &Known,
        of: &EntryType,
        request: &ReadRequest,
        entries: Vec<crate::protocol::message::Entry>,
    ) -> Result<Vec<Entry>, Error> {
        let objects = self.source_objects(known, of, request, entries).await?;
        let entry = |SourceObject { key, row, edges, .. }| Entry { key, change: Change::Whole(row), edges };
        Ok(objects.into_iter().map(entry).collect())
    }
}

fn removed(key: Key) -> Entry {
    Entry { key, change: Change::Removed(Removal::Hard), edges: Vec::new() }
}

fn page(entries: Vec<Entry>, next: Next) -> ChangePage {
    ChangePage { entries, next, source_time: None }
}
