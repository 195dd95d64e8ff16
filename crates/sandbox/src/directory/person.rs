//! One generated user: every property is computed from the seed and the slot when it is read.
//!
//! Values are written as finished JSON. None of the words in `names` needs escaping, which is why they may be
//! copied as they are.

use super::calendar;
use super::names::{DEPARTMENTS, GIVEN_NAMES, JOB_TITLES, LONG_JOB_TITLE, Name, PARTNERS, PLACES, Place, SURNAMES};
use super::property::UserProperty;
use crate::random::draw;

/// The verified domain in which members have their addresses.
pub(crate) const DOMAIN: &str = "sandbox.example";
/// The domain every tenant is born with; guests have their names there.
pub(crate) const INITIAL_DOMAIN: &str = "sandbox.onmicrosoft.example";

/// How many people report to one manager.
const SPAN: u32 = 10;
const FIRST_EMPLOYEE_NUMBER: u64 = 10_000_001;

pub(crate) struct Person {
    slot: u32,
    guest: bool,
    given: &'static Name,
    surname: &'static Name,
    place: &'static Place,
    luck: u64,
}

fn pick<T>(list: &'static [T], bits: u64) -> &'static T {
    &list[(bits % list.len() as u64) as usize]
}

/// Every twentieth user is somebody else's employee.
pub(crate) const fn is_guest(slot: u32) -> bool {
    slot % 20 == 19
}

/// Who this user reports to. Always somebody of a lower slot, so there is no cycle.
pub(crate) const fn manager_slot(slot: u32) -> Option<u32> {
    if slot == 0 || is_guest(slot) {
        return None;
    }
    let manager = (slot - 1) / SPAN;
    // A guest leads nobody; the neighbour does.
    Some(if is_guest(manager) { manager - 1 } else { manager })
}

/// The users that may have `slot` as their generated manager.
pub(crate) fn report_slots(slot: u32) -> impl Iterator<Item = u32> {
    let first = slot.saturating_mul(SPAN).saturating_add(1);
    (first..first.saturating_add(2 * SPAN)).filter(move |&report| manager_slot(report) == Some(slot))
}

/// Which of the ten departments: that of the head the line of managers leads to.
fn department(slot: u32) -> Option<usize> {
    let mut head = slot;
    while head > SPAN {
        head = manager_slot(head)?;
    }
    (head as usize).checked_sub(1)
}

/// The slot of a generated employee number.
pub(crate) fn slot_of_employee_id(text: &str) -> Option<u32> {
    let number: u64 = text.parse().ok()?;
    u32::try_from(number.checked_sub(FIRST_EMPLOYEE_NUMBER)?).ok().filter(|&slot| !is_guest(slot))
}

/// The slot that a generated principal name or mail address carries behind the name.
pub(crate) fn slot_of_address(address: &str) -> Option<u32> {
    let local = address.split(['@', '_']).next()?;
    let digits = local.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    digits.parse().ok()
}

impl Person {
    pub(crate) fn new(seed: u64, slot: u32) -> Self {
        let bits = draw(seed, 0x9e_01, u64::from(slot));
        Self {
            slot,
            guest: is_guest(slot),
            given: pick(GIVEN_NAMES, bits & 0xffff),
            surname: pick(SURNAMES, (bits >> 16) & 0xffff),
            place: pick(PLACES, bits >> 32),
            luck: draw(seed, 0x9e_02, u64::from(slot)),
        }
    }

    pub(crate) fn enabled(&self) -> bool {
        // The heads of departments stay, so that every line of managers leads to somebody at work.
        self.slot <= SPAN || !self.luck.is_multiple_of(25)
    }

    fn hybrid(&self) -> bool {
        !self.guest && (self.luck >> 8) % 10 < 3
    }

    fn hired(&self) -> i32 {
        // Hired in the twenty years before the epoch, a few in the two months after it.
        calendar::EPOCH_DAY + 60 - ((self.luck >> 16) % 7300) as i32
    }

    fn chance(&self, shift: u32, percent: u64) -> bool {
        (self.luck >> shift) % 100 < percent
    }

    /// Appends the property's JSON value; `false` (and nothing appended) when it was never set.
    pub(crate) fn write(&self, property: UserProperty, out: &mut Vec<u8>) -> bool {
        use UserProperty as P;
        match property {
            P::DisplayName => self.display_name(out),
            P::GivenName => quoted(out, &[self.given.shown]),
            P::Surname => quoted(out, &[self.surname.shown]),
            P::UserPrincipalName if self.guest => {
                self.local_part(out, b"\"");
                push(out, &["_", self.partner(), "#EXT#@", INITIAL_DOMAIN, "\""]);
            }
            P::UserPrincipalName => self.address(out, b"\"", DOMAIN),
            P::Mail if self.guest => self.address(out, b"\"", self.partner()),
            P::Mail if self.chance(24, 97) => self.address(out, b"\"", DOMAIN),
            P::ProxyAddresses if !self.guest && self.chance(24, 97) => {
                self.address(out, b"[\"SMTP:", DOMAIN);
                out.push(b']');
            }
            P::MailNickname => {
                self.local_part(out, b"\"");
                out.push(b'"');
            }
            P::AccountEnabled => push(out, &[if self.enabled() { "true" } else { "false" }]),
            P::UserType => quoted(out, &[if self.guest { "Guest" } else { "Member" }]),
            P::UsageLocation => quoted(out, &[self.place.country_code]),
            P::CreatedDateTime => calendar::write(out, self.hired() - 14, "08:15:00"),
            P::BusinessPhones if !self.guest && self.chance(32, 80) => {
                push(out, &["[\"", self.place.dial, " 555 "]);
                digits(out, u64::from(self.slot) % 10_000, 4);
                push(out, &["\"]"]);
            }
            _ if self.guest => return self.write_of_guest(property, out),
            _ => return self.write_of_member(property, out),
        }
        true
    }

    fn write_of_guest(&self, property: UserProperty, out: &mut Vec<u8>) -> bool {
        use UserProperty as P;
        match property {
            P::CreationType => quoted(out, &["Invitation"]),
            P::ExternalUserState => {
                quoted(out, &[if self.chance(40, 85) { "Accepted" } else { "PendingAcceptance" }]);
            }
            P::ExternalUserStateChangeDateTime => calendar::write(out, self.hired() - 10, "09:00:00"),
            P::CompanyName if self.chance(32, 50) => quoted(out, &[self.partner()]),
            _ => return false,
        }
        true
    }

    fn write_of_member(&self, property: UserProperty, out: &mut Vec<u8>) -> bool {
        use UserProperty as P;
        match property {
            P::JobTitle => quoted(out, &[self.job_title()]),
            P::Department => {
                quoted(out, &[department(self.slot).map_or("Executive Board", |number| DEPARTMENTS[number])]);
            }
            P::CompanyName => quoted(out, &["Sandbox Industries"]),
            P::EmployeeId => {
                out.push(b'"');
                digits(out, FIRST_EMPLOYEE_NUMBER + u64::from(self.slot), 8);
                out.push(b'"');
            }
            P::EmployeeType => quoted(out, &[if self.chance(40, 85) { "Employee" } else { "Contractor" }]),
            P::EmployeeHireDate => calendar::write(out, self.hired(), "00:00:00"),
            P::EmployeeLeaveDateTime if !self.enabled() => calendar::write(out, calendar::EPOCH_DAY - 30, "17:00:00"),
            P::EmployeeLeaveDateTime if self.chance(48, 2) => {
                calendar::write(out, calendar::EPOCH_DAY + 45, "17:00:00");
            }
            P::EmployeeOrgData => {
                push(
                    out,
                    &["{\"division\":\"", if self.chance(16, 50) { "North" } else { "South" }, "\",\"costCenter\":\""],
                );
                self.cost_centre(out);
                push(out, &["\"}"]);
            }
            P::MobilePhone if self.chance(40, 70) => {
                push(out, &["\"", self.place.dial, " 0100 "]);
                digits(out, u64::from(self.slot), 6);
                out.push(b'"');
            }
            P::OfficeLocation if self.chance(32, 90) => {
                push(out, &["\"", self.place.city, "/"]);
                digits(out, self.luck % 900 + 100, 3);
                out.push(b'"');
            }
            P::PreferredLanguage if self.chance(24, 60) => quoted(out, &[self.place.language]),
            P::City => quoted(out, &[self.place.city]),
            P::Country => quoted(out, &[self.place.country]),
            P::State => quoted(out, &[self.place.state]),
            P::StreetAddress => quoted(out, &[self.place.street]),
            P::PostalCode => quoted(out, &[self.place.postal_code]),
            P::BadgeNumber if self.chance(8, 75) => {
                out.push(b'"');
                digits(out, self.luck % 1_000_000, 6);
                out.push(b'"');
            }
            P::CostCentre => {
                out.push(b'"');
                self.cost_centre(out);
                out.push(b'"');
            }
            P::OnPremisesExtensionAttributes => self.extension_attributes(out),
            P::OnPremisesSyncEnabled if self.hybrid() => push(out, &["true"]),
            P::OnPremisesDomainName if self.hybrid() => quoted(out, &["corp.", DOMAIN]),
            P::OnPremisesLastSyncDateTime if self.hybrid() => calendar::write(out, calendar::EPOCH_DAY - 1, "03:30:00"),
            P::OnPremisesSamAccountName if self.hybrid() => {
                out.extend_from_slice(b"\"u");
                digits(out, u64::from(self.slot), 7);
                out.push(b'"');
            }
            P::OnPremisesImmutableId if self.hybrid() => {
                out.extend_from_slice(b"\"bXVzdGVy");
                digits(out, u64::from(self.slot), 8);
                out.extend_from_slice(b"AA==\"");
            }
            _ => return false,
        }
        true
    }

    fn display_name(&self, out: &mut Vec<u8>) {
        if self.guest {
            quoted(out, &[self.given.shown, " ", self.surname.shown, " (", self.partner(), ")"]);
        } else {
            quoted(out, &[self.given.shown, " ", self.surname.shown]);
        }
    }

    fn job_title(&self) -> &'static str {
        match department(self.slot) {
            None => "Chief Executive Officer",
            Some(_) if self.slot <= SPAN => "Director",
            Some(_) if self.luck % 500 == 3 => LONG_JOB_TITLE,
            Some(number) => pick::<&str>(JOB_TITLES[number], self.luck >> 12),
        }
    }

    fn partner(&self) -> &'static str {
        pick::<&str>(&PARTNERS, self.luck >> 20)
    }

    fn local_part(&self, out: &mut Vec<u8>, before: &[u8]) {
        out.extend_from_slice(before);
        push(out, &[self.given.plain, ".", self.surname.plain]);
        digits(out, u64::from(self.slot), 1);
    }

    fn address(&self, out: &mut Vec<u8>, before: &[u8], domain: &str) {
        self.local_part(out, before);
        push(out, &["@", domain, "\""]);
    }

    fn cost_centre(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"CC-");
        digits(out, department(self.slot).unwrap_or(9) as u64 * 100 + self.luck % 20, 4);
    }

    fn extension_attributes(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for number in 1..=15 {
            if number > 1 {
                out.push(b',');
            }
            out.extend_from_slice(b"\"extensionAttribute");
            digits(out, number, 1);
            match number {
                1 => push(out, &["\":\"", self.place.country_code, "\""]),
                2 if self.chance(40, 30) => push(out, &["\":\"union\""]),
                _ => push(out, &["\":null"]),
            }
        }
        out.push(b'}');
    }
}

fn push(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

fn quoted(out: &mut Vec<u8>, parts: &[&str]) {
    out.push(b'"');
    push(out, parts);
    out.push(b'"');
}

fn digits(out: &mut Vec<u8>, number: u64, at_least: usize) {
    calendar::write_number(out, number, at_least);
}
