//! Which column of a table of users holds what of Entra, guessed by well-known names.

use muster_model::{Attribute, ObjectType, ValueType};

use crate::commands::init::key;

/// Entra's attributes, and what columns for them are called, without case and underscores. The first hit counts.
const SYNONYMS: &[(&str, &[&str])] = &[
    ("id", &["entraid", "objectid", "azureid", "azureobjectid", "oid", "externalid"]),
    (
        "userPrincipalName",
        &["userprincipalname", "upn", "login", "loginname", "username", "logon", "logonname", "account", "accountname"],
    ),
    (
        "employeeId",
        &[
            "employeeid",
            "employeeno",
            "employeenumber",
            "personnelno",
            "personnelnumber",
            "staffid",
            "staffno",
            "empno",
        ],
    ),
    ("mail", &["mail", "email", "emailaddress", "mailaddress"]),
    ("displayName", &["displayname", "fullname", "name"]),
    ("givenName", &["givenname", "firstname", "forename"]),
    ("surname", &["surname", "lastname", "familyname", "sn"]),
    ("department", &["department", "dept", "departmentname"]),
    ("jobTitle", &["jobtitle", "title", "position", "role"]),
    ("companyName", &["companyname", "company"]),
    ("officeLocation", &["officelocation", "office", "location"]),
    ("mobilePhone", &["mobilephone", "mobile", "cellphone", "phone", "phonenumber"]),
    ("streetAddress", &["streetaddress", "street"]),
    ("postalCode", &["postalcode", "zip", "zipcode"]),
    ("city", &["city", "town"]),
    ("country", &["country"]),
    ("employeeHireDate", &["employeehiredate", "hiredate", "hiredon"]),
    ("employeeType", &["employeetype"]),
    ("preferredLanguage", &["preferredlanguage", "language", "locale"]),
];

/// What a column that says who may sign in is called.
const ENABLED: &[&str] = &["enabled", "isenabled", "active", "isactive", "accountenabled"];

/// Entra's attributes that name a person best, in order.
const IDENTIFYING: [&str; 4] = ["id", "employeeId", "userPrincipalName", "mail"];

/// What is proposed.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Proposal {
    /// The column that says who may sign in.
    pub(crate) enabled: Option<String>,
    /// Entra's attribute and the column to match by.
    pub(crate) matching: Option<(&'static str, String)>,
    /// (column, Entra's attribute) in the order of the table.
    pub(crate) mapped: Vec<(String, &'static str)>,
    /// Columns that nothing is known for, and whether they must be filled.
    pub(crate) open: Vec<(String, bool)>,
}

fn plain(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

impl Proposal {
    /// A proposal for a table.
    pub(crate) fn from_table(table: &ObjectType) -> Self {
        let mut proposal = Self::default();
        let writable =
            table.attributes.iter().filter(|attribute| attribute.creatable && attribute.unsupported.is_none());
        let writable: Vec<&Attribute> = writable.collect();
        proposal.enabled = ENABLED.iter().find_map(|name| {
            let fits = |attribute: &&&Attribute| {
                plain(&attribute.name) == *name
                    && matches!(attribute.value_type, ValueType::Boolean | ValueType::Integer)
            };
            writable.iter().find(fits).map(|attribute| attribute.name.clone())
        });
        for attribute in &writable {
            if proposal.enabled.as_ref() == Some(&attribute.name) {
                continue;
            }
            let name = plain(&attribute.name);
            let known = SYNONYMS.iter().find(|(_, names)| names.contains(&name.as_str())).map(|(known, _)| *known);
            // Each attribute of Entra is proposed once: a second column of that kind needs a person.
            match known.filter(|known| !proposal.mapped.iter().any(|(_, mapped)| mapped == known)) {
                Some(known) => proposal.mapped.push((attribute.name.clone(), known)),
                None => proposal.open.push((attribute.name.clone(), attribute.required)),
            }
        }
        proposal.matching = IDENTIFYING.iter().find_map(|wanted| {
            let (column, known) = proposal.mapped.iter().find(|(_, known)| known == wanted)?;
            let is_key = table.anchor.attributes == [column.clone()]
                || table.alternate_keys.iter().any(|key| *key == [column.clone()])
                || table.attribute(column).is_some_and(|attribute| attribute.unique);
            is_key.then(|| (*known, column.clone()))
        });
        if proposal.mapped.is_empty() {
            proposal.mapped.extend(proposal.open.pop().map(|(column, _)| (column, "userPrincipalName")));
        }
        proposal
    }

    /// An example, where the table cannot be looked at.
    pub(crate) fn without_table() -> Self {
        let mapped = [("login", "userPrincipalName"), ("full_name", "displayName"), ("email", "mail")];
        Self {
            matching: Some(("userPrincipalName", "login".to_owned())),
            mapped: mapped.map(|(column, known)| (column.to_owned(), known)).into(),
            ..Self::default()
        }
    }

    /// The lines of the mapping's table.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.mapped.iter().map(|(column, known)| format!("{} = \"[{known}]\"", key(column))).collect();
        if !self.open.is_empty() {
            lines.push("# For these columns nothing is known; those that must be filled are marked.".to_owned());
        }
        for (column, is_required) in &self.open {
            let mark = if *is_required { "   # must be filled" } else { "" };
            lines.push(format!("#{} = \"[…]\"{mark}", key(column)));
        }
        lines
    }

    /// What a person should look at.
    pub(crate) fn summary(&self) -> Vec<String> {
        let mut lines = vec![format!("{} columns are mapped by their names: look at each", self.mapped.len())];
        let required: Vec<&str> =
            self.open.iter().filter(|(_, is_required)| *is_required).map(|(column, _)| column.as_str()).collect();
        if !required.is_empty() {
            lines.push(format!("these must be filled, and nothing is known for them: {}", required.join(", ")));
        }
        if self.matching.is_none() {
            lines.push("no unique column was found to recognise people by: set `match`".to_owned());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use muster_model::{Anchor, AssignedBy};

    use super::*;

    fn table(columns: &[(&str, ValueType)]) -> ObjectType {
        let attributes = columns.iter().map(|(name, value_type)| Attribute::new(name, *value_type)).collect();
        ObjectType {
            name: "user".to_owned(),
            anchor: Anchor { attributes: vec!["id".to_owned()], assigned_by: AssignedBy::System },
            alternate_keys: vec![vec!["LOGIN".to_owned()]],
            attributes,
            enabling: None,
            source: None,
            target: None,
        }
    }

    #[test]
    fn columns_are_placed_by_well_known_names() {
        let text = ValueType::Text;
        let table = table(&[
            ("LOGIN", text),
            ("E_Mail", text),
            ("FirstName", text),
            ("user_name", text),
            ("favourite colour", text),
            ("is_active", ValueType::Boolean),
        ]);
        let proposal = Proposal::from_table(&table);
        assert_eq!(proposal.enabled.as_deref(), Some("is_active"));
        assert_eq!(proposal.matching, Some(("userPrincipalName", "LOGIN".to_owned())));
        let lines = proposal.lines();
        assert_eq!(
            lines[..3],
            ["LOGIN = \"[userPrincipalName]\"", "E_Mail = \"[mail]\"", "FirstName = \"[givenName]\""]
        );
        // The second login and what has no meaning are left to a person.
        assert!(lines.contains(&"#user_name = \"[…]\"".to_owned()), "{lines:?}");
        assert!(lines.contains(&"#\"favourite colour\" = \"[…]\"".to_owned()), "{lines:?}");
    }
}
