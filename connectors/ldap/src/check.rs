//! What `check` says of a directory.

use muster_connector::{CheckReport, Error, Finding, UsedType};

use crate::config::OneOrMore;
use crate::connector::{Known, LdapConnector};
use crate::entries::EntryType;
use crate::protocol::filter::Filter;
use crate::protocol::message::Code;
use crate::protocol::request::Search;
use crate::session::connect::{Encryption, SignIn};
use crate::session::failure::Failure;

impl LdapConnector {
    pub(crate) async fn examined(&self, used: &[UsedType]) -> Result<CheckReport, Error> {
        let mut report = CheckReport::default();
        // One server after the other: the second is of use only if it answers when it is needed.
        for (number, server) in self.directory.access.servers.iter().enumerate() {
            if let Err(failure) = self.directory.access.connect(server).await {
                let finding = told(failure.error(), "url");
                let spare = number > 0 || self.directory.access.servers.len() > 1;
                report.findings.push(if spare {
                    Finding { severity: muster_connector::Severity::Warning, ..finding }
                } else {
                    finding
                });
            }
        }
        let known = match self.discover().await {
            Ok(known) => known,
            Err(error) => {
                report.findings.retain(|finding| finding.severity == muster_connector::Severity::Error);
                if report.findings.is_empty() {
                    report.findings.push(told(error, "url"));
                }
                return Ok(report);
            }
        };
        report.features = known.root.abilities();
        report.features.extend(known.follow.map(|follow| follow.way.told().to_owned()));
        report.features.extend(self.directory.following.as_ref().map(|_| "referrals are followed".to_owned()));
        self.examine_safety(&mut report);
        if let Err(error) = self.examine_log(&known, &mut report).await {
            report.findings.push(told(error, "changes"));
        }
        for wanted in used {
            let Ok(of) = known.entry_type(&wanted.object_type) else { continue };
            self.examine_type(&known, of, wanted, &mut report).await?;
        }
        report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Ok(report)
    }

    fn examine_safety(&self, report: &mut CheckReport) {
        let access = &self.directory.access;
        let in_clear = access.servers.iter().find(|server| server.encryption == Encryption::Off);
        if let (Some(server), SignIn::Simple { .. }) = (in_clear, &access.sign_in)
            && self.settings.tls.is_some()
        {
            let problem = format!("the password travels to {server} without encryption");
            report.findings.push(Finding::warning(Some("tls"), problem, "leave `tls` out, unless nobody can listen"));
        }
        let urls = match &self.settings.url {
            OneOrMore::One(_) => 1,
            OneOrMore::More(urls) => urls.len(),
        };
        if matches!(access.sign_in, SignIn::Anonymous) && urls > 0 {
            let problem = "nobody signs in, and hardly any directory lets strangers write";
            report.findings.push(Finding::warning(Some("user"), problem, "set `user` and `password`"));
        }
    }

    async fn examine_type(
        &self,
        known: &Known,
        of: &EntryType,
        wanted: &UsedType,
        report: &mut CheckReport,
    ) -> Result<(), Error> {
        let name = &of.object_type.name;
        let places = [("base", of.base.clone()), ("container", of.container.to_string())];
        for (setting, dn) in places.iter().filter(|(setting, dn)| *setting == "base" || *dn != of.base) {
            if self.directory.entry(dn, &["1.1"]).await.map_err(Failure::error)?.is_none() && !of.create_containers {
                let setting = format!("types.{name}.{setting}");
                let problem = format!("there is no entry {dn:?}, or the connection's user may not see it");
                report.findings.push(Finding::error(Some(&setting), problem, "make it, or name another one"));
            }
        }
        let search = Search { limit: 1, ..of.search(vec![of.anchor_field()?.wire.clone()]) };
        let (_, found) = self.directory.search_here(search, &[]).await.map_err(Failure::error)?;
        match found.result.code {
            Code::SUCCESS | Code::SIZE_LIMIT | Code::NO_SUCH_OBJECT => {}
            Code::REFERRAL if self.directory.following.is_some() => {}
            _ => report
                .findings
                .push(told(Failure::refused(format!("searching below {}", of.base), found.result).error(), "user")),
        }
        self.examine_other_servers(known, of, wanted, report).await?;
        if wanted.as_source
            && let Err(error) = self.must_be_logged(known, of).await
        {
            report.findings.push(told(error, &format!("types.{name}.base")));
        }
        if found.entries.iter().any(|entry| crate::rows::key_of(of, entry).is_none()) {
            let setting = format!("types.{name}.anchor");
            let problem = format!("entries do not show {}, by which they are found again", of.anchor);
            report.findings.push(Finding::error(
                Some(&setting),
                problem,
                "let the connection's user read it, or name another attribute",
            ));
        }
        if wanted.as_target && known.root.is_windows() {
            self.examine_passwords(of, wanted, report);
        }
        Ok(())
    }

    /// What of a type is on other servers, and whether it is reached there.
    async fn examine_other_servers(
        &self,
        known: &Known,
        of: &EntryType,
        wanted: &UsedType,
        report: &mut CheckReport,
    ) -> Result<(), Error> {
        // References are told whatever is searched for, and this finds nothing else (RFC 3296, section 2).
        let search = Search { filter: Filter::equals("objectClass", b"referral"), ..of.search(vec!["1.1".to_owned()]) };
        let (_, found) = self.directory.search_here(search.clone(), &[]).await.map_err(Failure::error)?;
        let is_followed =
            |urls: &Vec<String>| self.directory.following.as_ref().is_none_or(|following| !following.leaves_out(urls));
        let mut elsewhere: Vec<String> = found.elsewhere.into_iter().filter(is_followed).flatten().collect();
        elsewhere.extend(found.result.referrals);
        let setting = format!("types.{}.base", of.object_type.name);
        match &self.directory.following {
            _ if elsewhere.is_empty() => {}
            None if known.root.is_windows() => {}
            None => {
                let problem =
                    format!("some of the entries below {} are on other servers: {}", of.base, elsewhere.join(", "));
                let fix = "set referrals = \"follow\", or make a connection to each of those servers that holds people or \
                           groups of yours";
                report.findings.push(Finding::warning(Some(&setting), problem, fix));
            }
            Some(_) => {
                if let Err(failure) = self.directory.search(search, &[]).await {
                    report.findings.push(told(failure.error(), "referrals"));
                }
                if wanted.as_source
                    && let Err(error) = self.must_be_whole(known, of, &elsewhere)
                {
                    report.findings.push(told(error, &setting));
                }
            }
        }
        Ok(())
    }

    /// Active Directory takes passwords over encrypted connections only.
    fn examine_passwords(&self, of: &EntryType, wanted: &UsedType, report: &mut CheckReport) {
        let is_set = wanted.attributes.iter().any(|name| name.eq_ignore_ascii_case("unicodePwd"));
        let in_clear = self.directory.access.servers.iter().any(|server| server.encryption == Encryption::Off);
        if is_set && in_clear {
            let problem = "Active Directory takes passwords over encrypted connections only";
            report.findings.push(Finding::error(Some("url"), problem, "use ldaps://, or leave `tls` out"));
        }
        let is_account = matches!(of.switch, Some(crate::enabling::Switch::AccountControl));
        if is_account && !is_set && wanted.attributes.iter().any(|name| name == crate::entries::ENABLED) {
            let problem =
                "Active Directory refuses an enabled account without a password, and none is given to new ones";
            let setting = format!("types.{}.enabled", of.object_type.name);
            report.findings.push(Finding::warning(
                Some(&setting),
                problem,
                "give new accounts a first password: [syncs.NAME.password], attribute = \"unicodePwd\", hash = \"none\"",
            ));
        }
    }
}

/// An error as a finding.
fn told(error: Error, setting: &str) -> Finding {
    match error {
        Error::Configuration { setting: named, problem, fix } => {
            Finding::error(Some(named.as_deref().unwrap_or(setting)), problem, fix)
        }
        Error::Credentials { problem, fix } => Finding::error(Some(setting), problem, fix),
        Error::Unreachable { problem, .. } => {
            Finding::error(Some("url"), problem, "check host, port and firewall, and whether the server runs")
        }
        other => Finding::error(Some(setting), other.to_string(), "see the server's log"),
    }
}
