//! What the properties of users and groups are called, and what may be done with them
//! (Microsoft Graph: user and group resource types).

use Shape::{Choice, Flag, Object, Objects, Text, Texts, Time};

/// Which JSON a property holds, with the limits that writing it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A string of at most so many UTF-16 code units.
    Text(usize),
    /// One of a few strings.
    Choice(&'static [&'static str]),
    Texts,
    Flag,
    Time,
    Object,
    Objects,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// May be given in POST and PATCH.
    pub(crate) writable: bool,
    /// Returned when nothing was selected.
    pub(crate) by_default: bool,
}

const fn settable(name: &'static str, shape: Shape) -> Facts {
    Facts { name, shape, writable: true, by_default: false }
}

const fn standard(name: &'static str, shape: Shape) -> Facts {
    Facts { name, shape, writable: true, by_default: true }
}

const fn fixed(name: &'static str, shape: Shape) -> Facts {
    Facts { name, shape, writable: false, by_default: false }
}

macro_rules! properties {
    ($name:ident, $doc:literal, { $($variant:ident = $facts:expr;)+ }) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub(crate) enum $name { $($variant),+ }

        impl $name {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),+];
            const FACTS: &'static [Facts] = &[$($facts),+];

            pub(crate) const fn facts(self) -> &'static Facts {
                &Self::FACTS[self as usize]
            }

            pub(crate) const fn name(self) -> &'static str {
                self.facts().name
            }

            /// Names are case-insensitive in queries, except those of directory extensions.
            pub(crate) fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|property| {
                    let own = property.name();
                    own == name || (own.eq_ignore_ascii_case(name) && !own.starts_with("extension_"))
                })
            }

            /// The properties returned when nothing was selected.
            pub(crate) fn defaults() -> Mask {
                Self::ALL.iter().filter(|property| property.facts().by_default).fold(0, |mask, &property| mask | bit(property as u8))
            }

            pub(crate) const fn bit(self) -> Mask {
                bit(self as u8)
            }
        }
    };
}

/// A set of properties, one bit each.
pub(crate) type Mask = u128;

/// The bit of the one relationship that delta tracks: a user's manager, a group's members.
pub(crate) const RELATIONSHIP: Mask = 1 << 127;
/// A group's owners may be selected too; the sandbox has none.
pub(crate) const OWNERS: Mask = 1 << 126;

const fn bit(number: u8) -> Mask {
    1 << number
}

properties!(UserProperty, "A user's properties, in the order in which they are written.", {
    BusinessPhones = standard("businessPhones", Texts);
    DisplayName = standard("displayName", Text(256));
    GivenName = standard("givenName", Text(64));
    JobTitle = standard("jobTitle", Text(128));
    Mail = standard("mail", Text(256));
    MobilePhone = standard("mobilePhone", Text(64));
    OfficeLocation = standard("officeLocation", Text(128));
    PreferredLanguage = standard("preferredLanguage", Text(100));
    Surname = standard("surname", Text(64));
    UserPrincipalName = standard("userPrincipalName", Text(113));
    AccountEnabled = settable("accountEnabled", Flag);
    AgeGroup = settable("ageGroup", Choice(&["Minor", "NotAdult", "Adult"]));
    AssignedLicenses = fixed("assignedLicenses", Objects);
    AssignedPlans = fixed("assignedPlans", Objects);
    AuthorizationInfo = fixed("authorizationInfo", Object);
    City = settable("city", Text(128));
    CompanyName = settable("companyName", Text(64));
    ConsentProvidedForMinor = settable("consentProvidedForMinor", Choice(&["Granted", "Denied", "NotRequired"]));
    Country = settable("country", Text(128));
    CreatedDateTime = fixed("createdDateTime", Time);
    CreationType = fixed("creationType", Text(64));
    DeletedDateTime = fixed("deletedDateTime", Time);
    Department = settable("department", Text(64));
    EmployeeHireDate = settable("employeeHireDate", Time);
    EmployeeId = settable("employeeId", Text(16));
    EmployeeLeaveDateTime = settable("employeeLeaveDateTime", Time);
    EmployeeOrgData = settable("employeeOrgData", Object);
    EmployeeType = settable("employeeType", Text(64));
    ExternalUserState = fixed("externalUserState", Text(64));
    ExternalUserStateChangeDateTime = fixed("externalUserStateChangeDateTime", Time);
    FaxNumber = settable("faxNumber", Text(64));
    Identities = fixed("identities", Objects);
    ImAddresses = fixed("imAddresses", Texts);
    IsResourceAccount = fixed("isResourceAccount", Flag);
    LastPasswordChangeDateTime = fixed("lastPasswordChangeDateTime", Time);
    LegalAgeGroupClassification = fixed("legalAgeGroupClassification", Text(64));
    LicenseAssignmentStates = fixed("licenseAssignmentStates", Objects);
    MailNickname = settable("mailNickname", Text(64));
    OnPremisesDistinguishedName = fixed("onPremisesDistinguishedName", Text(1024));
    OnPremisesDomainName = fixed("onPremisesDomainName", Text(256));
    OnPremisesExtensionAttributes = settable("onPremisesExtensionAttributes", Object);
    OnPremisesImmutableId = settable("onPremisesImmutableId", Text(256));
    OnPremisesLastSyncDateTime = fixed("onPremisesLastSyncDateTime", Time);
    OnPremisesProvisioningErrors = fixed("onPremisesProvisioningErrors", Objects);
    OnPremisesSamAccountName = fixed("onPremisesSamAccountName", Text(256));
    OnPremisesSecurityIdentifier = fixed("onPremisesSecurityIdentifier", Text(256));
    OnPremisesSyncEnabled = fixed("onPremisesSyncEnabled", Flag);
    OnPremisesUserPrincipalName = fixed("onPremisesUserPrincipalName", Text(256));
    OtherMails = settable("otherMails", Texts);
    PasswordPolicies = settable("passwordPolicies", Text(256));
    PasswordProfile = settable("passwordProfile", Object);
    PostalCode = settable("postalCode", Text(40));
    PreferredDataLocation = settable("preferredDataLocation", Text(3));
    ProvisionedPlans = fixed("provisionedPlans", Objects);
    ProxyAddresses = fixed("proxyAddresses", Texts);
    RefreshTokensValidFromDateTime = fixed("refreshTokensValidFromDateTime", Time);
    SecurityIdentifier = fixed("securityIdentifier", Text(256));
    ServiceProvisioningErrors = fixed("serviceProvisioningErrors", Objects);
    ShowInAddressList = settable("showInAddressList", Flag);
    SignInSessionsValidFromDateTime = fixed("signInSessionsValidFromDateTime", Time);
    State = settable("state", Text(128));
    StreetAddress = settable("streetAddress", Text(1024));
    UsageLocation = settable("usageLocation", Text(2));
    UserType = settable("userType", Choice(&["Member", "Guest"]));
    BadgeNumber = settable("extension_6b1f0c9e2d7a4f35a8e0c4d2b9f71350_badgeNumber", Text(256));
    CostCentre = settable("extension_6b1f0c9e2d7a4f35a8e0c4d2b9f71350_costCentre", Text(256));
});

/// Known properties of a user that are kept outside the directory: delta refuses them, reading them alone is
/// "not implemented" (Microsoft Graph: delta query overview, "supported resources").
pub(crate) const USER_PROPERTIES_ELSEWHERE: &[&str] = &[
    "signInActivity",
    "mailboxSettings",
    "aboutMe",
    "birthday",
    "hireDate",
    "interests",
    "mySite",
    "pastProjects",
    "preferredName",
    "responsibilities",
    "schools",
    "skills",
    "customSecurityAttributes",
];

properties!(GroupProperty, "A group's properties, in the order in which they are written.", {
    CreatedDateTime = Facts { by_default: true, ..fixed("createdDateTime", Time) };
    Description = standard("description", Text(1024));
    DisplayName = standard("displayName", Text(256));
    GroupTypes = standard("groupTypes", Texts);
    Mail = Facts { by_default: true, ..fixed("mail", Text(256)) };
    MailEnabled = standard("mailEnabled", Flag);
    MailNickname = standard("mailNickname", Text(64));
    SecurityEnabled = standard("securityEnabled", Flag);
    Visibility = standard("visibility", Choice(&["Public", "Private", "HiddenMembership"]));
    Classification = standard("classification", Text(256));
    DeletedDateTime = fixed("deletedDateTime", Time);
    ExpirationDateTime = fixed("expirationDateTime", Time);
    IsAssignableToRole = settable("isAssignableToRole", Flag);
    MembershipRule = settable("membershipRule", Text(3072));
    MembershipRuleProcessingState = settable("membershipRuleProcessingState", Choice(&["On", "Paused"]));
    OnPremisesDomainName = fixed("onPremisesDomainName", Text(256));
    OnPremisesLastSyncDateTime = fixed("onPremisesLastSyncDateTime", Time);
    OnPremisesNetBiosName = fixed("onPremisesNetBiosName", Text(256));
    OnPremisesProvisioningErrors = fixed("onPremisesProvisioningErrors", Objects);
    OnPremisesSamAccountName = fixed("onPremisesSamAccountName", Text(256));
    OnPremisesSecurityIdentifier = fixed("onPremisesSecurityIdentifier", Text(256));
    OnPremisesSyncEnabled = fixed("onPremisesSyncEnabled", Flag);
    PreferredDataLocation = settable("preferredDataLocation", Text(3));
    PreferredLanguage = settable("preferredLanguage", Text(100));
    ProxyAddresses = fixed("proxyAddresses", Texts);
    RenewedDateTime = fixed("renewedDateTime", Time);
    SecurityIdentifier = fixed("securityIdentifier", Text(256));
    Theme = settable("theme", Text(64));
    UniqueName = fixed("uniqueName", Text(128));
});
