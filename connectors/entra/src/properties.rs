//! The properties of users, groups and applications as Graph documents them, and how they become attributes.
//!
//! Sources: <https://learn.microsoft.com/graph/api/resources/user>,
//! <https://learn.microsoft.com/graph/api/resources/group>,
//! <https://learn.microsoft.com/graph/api/user-update>, <https://learn.microsoft.com/graph/api/group-update>.

use muster_model::{Attribute, CaseRule, Inverse, Multiplicity, ValueType};

use crate::schema::{APPLICATION, GROUP, USER};

/// One attribute and where it is found in Graph's JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    /// The property that is selected, where it is not the attribute itself.
    pub(crate) parent: Option<&'static str>,
    /// The member within the property.
    pub(crate) member: &'static str,
    pub(crate) value_type: ValueType,
    pub(crate) many: bool,
    max_length: Option<u32>,
    case: CaseRule,
    unique: bool,
    written: Written,
    required: bool,
    pub(crate) unsupported: Option<&'static str>,
}

/// When a property may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Never,
    /// When the object is made.
    Once,
    /// When the object is made, and never shown by Graph.
    Secretly,
    Always,
}

const fn spec(name: &'static str, value_type: ValueType) -> Spec {
    Spec {
        name,
        parent: None,
        member: name,
        value_type,
        many: false,
        max_length: None,
        case: CaseRule::Sensitive,
        unique: false,
        written: Written::Never,
        required: false,
        unsupported: None,
    }
}

const fn text(name: &'static str) -> Spec {
    spec(name, ValueType::Text)
}

const fn boolean(name: &'static str) -> Spec {
    spec(name, ValueType::Boolean)
}

const fn instant(name: &'static str) -> Spec {
    spec(name, ValueType::Instant)
}

const fn reference(name: &'static str) -> Spec {
    spec(name, ValueType::Reference)
}

impl Spec {
    const fn max(mut self, length: u32) -> Self {
        self.max_length = Some(length);
        self
    }

    const fn many(mut self) -> Self {
        self.many = true;
        self
    }

    const fn within(mut self, parent: &'static str, member: &'static str) -> Self {
        self.parent = Some(parent);
        self.member = member;
        self
    }

    const fn any_case(mut self) -> Self {
        self.case = CaseRule::Insensitive;
        self
    }

    const fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    const fn written(mut self) -> Self {
        self.written = Written::Always;
        self
    }

    const fn written_once(mut self) -> Self {
        self.written = Written::Once;
        self
    }

    const fn written_secretly(mut self) -> Self {
        self.written = Written::Secretly;
        self
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn not(mut self, reason: &'static str) -> Self {
        self.unsupported = Some(reason);
        self
    }

    const fn on_premises(number: &'static str) -> Self {
        text(number).within("onPremisesExtensionAttributes", number).written()
    }

    pub(crate) fn is_reference(&self) -> bool {
        self.value_type == ValueType::Reference
    }

    /// Whether it can be written at all.
    pub(crate) fn is_written(&self) -> bool {
        self.written != Written::Never
    }

    /// Why it cannot be read, when that is so.
    pub(crate) fn unreadable(&self) -> Option<&'static str> {
        match self.written {
            Written::Secretly => Some(SECRET),
            _ => self.unsupported,
        }
    }

    /// The property that `$select` names.
    pub(crate) fn selected(&self) -> &'static str {
        self.parent.unwrap_or(self.name)
    }

    pub(crate) fn attribute(&self, object_type: &str) -> Attribute {
        let mut attribute = read_only(self.name, self.value_type);
        attribute.multiplicity = if self.many { Multiplicity::Set } else { Multiplicity::Single };
        attribute.max_length = self.max_length;
        attribute.case = self.case;
        attribute.unique = self.unique;
        attribute.required = self.required;
        attribute.creatable = self.written != Written::Never;
        attribute.updatable = self.written == Written::Always;
        attribute.readable = self.written != Written::Secretly;
        attribute.unsupported = self.unsupported.map(str::to_owned);
        if self.value_type == ValueType::Reference {
            attribute.references = match (object_type, self.name) {
                (GROUP, "members") | (APPLICATION, _) => vec![USER.to_owned(), GROUP.to_owned()],
                _ => vec![USER.to_owned()],
            };
            // As Graph calls it at users and groups.
            let inverse = |name: &str| Inverse { attribute: name.to_owned(), called_by: "displayName".to_owned() };
            attribute.inverse = match (object_type, self.name) {
                (GROUP, "members") => Some(inverse("memberOf")),
                (APPLICATION, _) => Some(inverse("assignedTo")),
                _ => None,
            };
        }
        attribute
    }
}

pub(crate) fn read_only(name: &str, value_type: ValueType) -> Attribute {
    Attribute {
        creatable: false,
        updatable: false,
        native_type: match value_type {
            ValueType::Text => "Edm.String",
            ValueType::Boolean => "Edm.Boolean",
            ValueType::Integer => "Edm.Int64",
            ValueType::Instant => "Edm.DateTimeOffset",
            ValueType::Binary => "Edm.Binary",
            ValueType::Reference => "directoryObject",
            _ => "complex",
        }
        .to_owned(),
        ..Attribute::new(name, value_type)
    }
}

const SHAREPOINT: &str = "Graph keeps it in SharePoint and reports no changes of it";
const SIGN_IN: &str = "Graph reports no changes of it (delta query refuses signInActivity)";
const SECURITY: &str = "Graph does not document changes of custom security attributes";
const NESTED: &str = "its values are structures of several parts, which Muster does not read";
const SECRET: &str = "Graph never returns it";
const MAILBOX: &str = "it belongs to the mailbox; Graph reports no changes of it";

/// The properties of a user.
pub(crate) const USER_ATTRIBUTES: &[Spec] = &[
    text("id").unique(),
    text("userPrincipalName").unique().any_case().written().required(),
    text("displayName").max(256).written().required(),
    text("givenName").max(64).written(),
    text("surname").max(64).written(),
    text("mail").any_case().written(),
    text("mailNickname").max(64).written().required(),
    boolean("accountEnabled").written(),
    text("employeeId").max(16).written(),
    text("employeeType").written(),
    instant("employeeHireDate").written(),
    instant("employeeLeaveDateTime").written(),
    text("employeeOrgData.division").within("employeeOrgData", "division").written(),
    text("employeeOrgData.costCenter").within("employeeOrgData", "costCenter").written(),
    text("jobTitle").max(128).written(),
    text("department").max(64).written(),
    text("companyName").max(64).written(),
    text("officeLocation").written(),
    text("businessPhones").many().written(),
    text("mobilePhone").max(64).written(),
    text("faxNumber").written(),
    text("streetAddress").max(1024).written(),
    text("postalCode").max(40).written(),
    text("city").max(128).written(),
    text("state").max(128).written(),
    text("country").max(128).written(),
    text("usageLocation").max(2).written(),
    text("preferredLanguage").written(),
    text("preferredDataLocation").written(),
    text("userType").written(),
    text("otherMails").many().written(),
    text("proxyAddresses").many(),
    text("imAddresses").many(),
    boolean("showInAddressList").written(),
    text("ageGroup").written(),
    text("consentProvidedForMinor").written(),
    text("legalAgeGroupClassification"),
    text("creationType"),
    text("externalUserState"),
    instant("externalUserStateChangeDateTime"),
    instant("createdDateTime"),
    instant("deletedDateTime"),
    instant("lastPasswordChangeDateTime"),
    instant("refreshTokensValidFromDateTime"),
    instant("signInSessionsValidFromDateTime"),
    boolean("isManagementRestricted"),
    boolean("isResourceAccount"),
    spec("deviceEnrollmentLimit", ValueType::Integer),
    spec("identities", ValueType::Structure).many(),
    text("assignedLicenses.skuId").within("assignedLicenses", "skuId").many(),
    text("authorizationInfo.certificateUserIds").within("authorizationInfo", "certificateUserIds").many(),
    text("passwordPolicies").written(),
    text("securityIdentifier"),
    text("onPremisesDistinguishedName"),
    text("onPremisesDomainName"),
    text("onPremisesImmutableId").written(),
    instant("onPremisesLastSyncDateTime"),
    text("onPremisesSamAccountName"),
    text("onPremisesSecurityIdentifier"),
    boolean("onPremisesSyncEnabled"),
    text("onPremisesUserPrincipalName"),
    Spec::on_premises("extensionAttribute1"),
    Spec::on_premises("extensionAttribute2"),
    Spec::on_premises("extensionAttribute3"),
    Spec::on_premises("extensionAttribute4"),
    Spec::on_premises("extensionAttribute5"),
    Spec::on_premises("extensionAttribute6"),
    Spec::on_premises("extensionAttribute7"),
    Spec::on_premises("extensionAttribute8"),
    Spec::on_premises("extensionAttribute9"),
    Spec::on_premises("extensionAttribute10"),
    Spec::on_premises("extensionAttribute11"),
    Spec::on_premises("extensionAttribute12"),
    Spec::on_premises("extensionAttribute13"),
    Spec::on_premises("extensionAttribute14"),
    Spec::on_premises("extensionAttribute15"),
    reference("manager").written(),
    spec("assignedPlans", ValueType::Structure).many().not(NESTED),
    spec("licenseAssignmentStates", ValueType::Structure).many().not(NESTED),
    spec("onPremisesProvisioningErrors", ValueType::Structure).many().not(NESTED),
    spec("provisionedPlans", ValueType::Structure).many().not(NESTED),
    spec("serviceProvisioningErrors", ValueType::Structure).many().not(NESTED),
    spec("passwordProfile", ValueType::Structure).not(SECRET),
    text("passwordProfile.password").within("passwordProfile", "password").written_secretly(),
    boolean("passwordProfile.forceChangePasswordNextSignIn")
        .within("passwordProfile", "forceChangePasswordNextSignIn")
        .written_secretly(),
    spec("customSecurityAttributes", ValueType::Structure).not(SECURITY),
    spec("signInActivity", ValueType::Structure).not(SIGN_IN),
    spec("mailboxSettings", ValueType::Structure).not(MAILBOX),
    text("aboutMe").not(SHAREPOINT),
    instant("birthday").not(SHAREPOINT),
    instant("hireDate").not("Graph keeps it in SharePoint and reports no changes of it; use employeeHireDate"),
    text("interests").many().not(SHAREPOINT),
    text("mySite").not(SHAREPOINT),
    text("pastProjects").many().not(SHAREPOINT),
    text("preferredName").not(SHAREPOINT),
    text("responsibilities").many().not(SHAREPOINT),
    text("schools").many().not(SHAREPOINT),
    text("skills").many().not(SHAREPOINT),
];

/// The properties of a group.
pub(crate) const GROUP_ATTRIBUTES: &[Spec] = &[
    text("id").unique(),
    text("displayName").max(256).written().required(),
    text("description").max(1024).written(),
    text("mail").any_case(),
    boolean("mailEnabled").written_once(),
    text("mailNickname").max(64).written().required(),
    boolean("securityEnabled").written(),
    text("groupTypes").many(),
    text("membershipRule").written(),
    text("membershipRuleProcessingState").written(),
    text("visibility").written(),
    boolean("isAssignableToRole").written_once(),
    text("classification"),
    instant("createdDateTime"),
    instant("deletedDateTime"),
    instant("expirationDateTime"),
    instant("renewedDateTime"),
    text("preferredDataLocation").written_once(),
    text("preferredLanguage"),
    text("proxyAddresses").many(),
    text("securityIdentifier"),
    text("theme"),
    text("uniqueName").max(128).unique().any_case().written_once(),
    text("onPremisesDomainName"),
    instant("onPremisesLastSyncDateTime"),
    text("onPremisesNetBiosName"),
    text("onPremisesSamAccountName"),
    text("onPremisesSecurityIdentifier"),
    boolean("onPremisesSyncEnabled"),
    reference("members").many().written(),
    reference("owners").many(),
    spec("onPremisesProvisioningErrors", ValueType::Structure).many().not(NESTED),
];

/// The properties of an enterprise application, and of an app role.
pub(crate) const APPLICATION_ATTRIBUTES: &[Spec] =
    &[text("id").unique(), text("displayName"), text("appId"), reference("assigned").many()];
