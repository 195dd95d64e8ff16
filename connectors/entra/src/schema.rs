//! What a tenant holds: users and groups, their properties, and which of them a delta can follow.
//!
//! Sources: <https://learn.microsoft.com/graph/api/resources/user>,
//! <https://learn.microsoft.com/graph/api/resources/group>,
//! <https://learn.microsoft.com/graph/delta-query-overview>.

use std::collections::BTreeMap;

use muster_model::{
    Anchor, AssignedBy, Attribute, CaseRule, Changes, Enabling, Inverse, Multiplicity, ObjectType, Precision, Schema,
    SourceCapabilities, ValueType,
};

use crate::config::ExtensionType;

/// The object type of people.
pub(crate) const USER: &str = "user";
/// The object type of groups.
pub(crate) const GROUP: &str = "group";

/// The object type of enterprise applications and their app roles.
pub(crate) const APPLICATION: &str = "application";

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
    pub(crate) unsupported: Option<&'static str>,
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

    const fn not(mut self, reason: &'static str) -> Self {
        self.unsupported = Some(reason);
        self
    }

    const fn on_premises(number: &'static str) -> Self {
        text(number).within("onPremisesExtensionAttributes", number)
    }

    /// The property that `$select` names.
    pub(crate) fn selected(&self) -> &'static str {
        self.parent.unwrap_or(self.name)
    }

    fn attribute(&self, object_type: &str) -> Attribute {
        let mut attribute = read_only(self.name, self.value_type);
        attribute.multiplicity = if self.many { Multiplicity::Set } else { Multiplicity::Single };
        attribute.max_length = self.max_length;
        attribute.case = self.case;
        attribute.unique = self.unique;
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

fn read_only(name: &str, value_type: ValueType) -> Attribute {
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
    text("userPrincipalName").unique().any_case(),
    text("displayName").max(256),
    text("givenName").max(64),
    text("surname").max(64),
    text("mail").any_case(),
    text("mailNickname").max(64),
    boolean("accountEnabled"),
    text("employeeId").max(16),
    text("employeeType"),
    instant("employeeHireDate"),
    instant("employeeLeaveDateTime"),
    text("employeeOrgData.division").within("employeeOrgData", "division"),
    text("employeeOrgData.costCenter").within("employeeOrgData", "costCenter"),
    text("jobTitle").max(128),
    text("department").max(64),
    text("companyName").max(64),
    text("officeLocation"),
    text("businessPhones").many(),
    text("mobilePhone").max(64),
    text("faxNumber"),
    text("streetAddress").max(1024),
    text("postalCode").max(40),
    text("city").max(128),
    text("state").max(128),
    text("country").max(128),
    text("usageLocation").max(2),
    text("preferredLanguage"),
    text("preferredDataLocation"),
    text("userType"),
    text("otherMails").many(),
    text("proxyAddresses").many(),
    text("imAddresses").many(),
    boolean("showInAddressList"),
    text("ageGroup"),
    text("consentProvidedForMinor"),
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
    text("passwordPolicies"),
    text("securityIdentifier"),
    text("onPremisesDistinguishedName"),
    text("onPremisesDomainName"),
    text("onPremisesImmutableId"),
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
    reference("manager"),
    spec("assignedPlans", ValueType::Structure).many().not(NESTED),
    spec("licenseAssignmentStates", ValueType::Structure).many().not(NESTED),
    spec("onPremisesProvisioningErrors", ValueType::Structure).many().not(NESTED),
    spec("provisionedPlans", ValueType::Structure).many().not(NESTED),
    spec("serviceProvisioningErrors", ValueType::Structure).many().not(NESTED),
    spec("passwordProfile", ValueType::Structure).not(SECRET),
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
    text("displayName").max(256),
    text("description").max(1024),
    text("mail").any_case(),
    boolean("mailEnabled"),
    text("mailNickname").max(64),
    boolean("securityEnabled"),
    text("groupTypes").many(),
    text("membershipRule"),
    text("membershipRuleProcessingState"),
    text("visibility"),
    boolean("isAssignableToRole"),
    text("classification"),
    instant("createdDateTime"),
    instant("deletedDateTime"),
    instant("expirationDateTime"),
    instant("renewedDateTime"),
    text("preferredDataLocation"),
    text("preferredLanguage"),
    text("proxyAddresses").many(),
    text("securityIdentifier"),
    text("theme"),
    text("uniqueName"),
    text("onPremisesDomainName"),
    instant("onPremisesLastSyncDateTime"),
    text("onPremisesNetBiosName"),
    text("onPremisesSamAccountName"),
    text("onPremisesSecurityIdentifier"),
    boolean("onPremisesSyncEnabled"),
    reference("members").many(),
    reference("owners").many(),
    spec("onPremisesProvisioningErrors", ValueType::Structure).many().not(NESTED),
];

/// The properties of an enterprise application, and of an app role.
pub(crate) const APPLICATION_ATTRIBUTES: &[Spec] =
    &[text("id").unique(), text("displayName"), text("appId"), reference("assigned").many()];

/// The attributes of a type, without configured extensions.
pub(crate) fn attributes_of(object_type: &str) -> Option<&'static [Spec]> {
    match object_type {
        USER => Some(USER_ATTRIBUTES),
        GROUP => Some(GROUP_ATTRIBUTES),
        APPLICATION => Some(APPLICATION_ATTRIBUTES),
        _ => None,
    }
}

/// The whole schema of the tenant `identity`.
pub(crate) fn schema(identity: String, extensions: &BTreeMap<String, ExtensionType>) -> Schema {
    Schema {
        identity,
        types: [USER, GROUP, APPLICATION].into_iter().map(|name| object_type(name, extensions)).collect(),
        setup: Vec::new(),
    }
}

/// One object type, with the configured extensions as attributes.
pub(crate) fn object_type(name: &str, extensions: &BTreeMap<String, ExtensionType>) -> ObjectType {
    let mut attributes: Vec<Attribute> =
        attributes_of(name).unwrap_or_default().iter().map(|spec| spec.attribute(name)).collect();
    let extensions = extensions.iter().filter(|_| name != APPLICATION);
    attributes.extend(extensions.map(|(name, kind)| read_only(name, kind.value_type())));
    ObjectType {
        name: name.to_owned(),
        anchor: Anchor { attributes: vec!["id".to_owned()], assigned_by: AssignedBy::System },
        alternate_keys: if name == USER { vec![vec!["userPrincipalName".to_owned()]] } else { Vec::new() },
        attributes,
        enabling: (name == USER).then(|| Enabling { attribute: "accountEnabled".to_owned() }),
        source: Some(SourceCapabilities {
            changes: (name != APPLICATION).then_some(Changes {
                starts_full: true,
                precision: Precision::Round,
                deletes_visible: true,
                keys_every: 0,
            }),
            recycle_bin: name != APPLICATION,
        }),
        target: None,
    }
}
