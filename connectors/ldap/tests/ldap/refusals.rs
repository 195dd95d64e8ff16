//! What a directory refuses, and what the settings get wrong.

use muster_connector::{Error, Outcome, Severity, UsedType};
use muster_model::Slot;
use serde_json::json;

use crate::world::{PASSWORD, World, refused};

#[tokio::test]
async fn refusals_of_slapd_name_rule_and_attribute() {
    let world = World::slapd();
    let directory = world.connect_with(&json!({ "types": { "user": { "create_containers": false } } }));
    let without = |name: &str| world.person("x").into_iter().filter(|(other, _)| *other != name).collect::<Vec<_>>();
    assert_eq!(refused(&directory.create("user", &without("sn")).await), ("required", Some("sn")));
    assert_eq!(refused(&directory.create("user", &without("uid")).await), ("required", Some("uid")));
    let mut elsewhere = world.person("x");
    elsewhere.push(("container", Slot::text("ou=none,ou=people,dc=example,dc=org")));
    let outcome = directory.create("user", &elsewhere).await;
    assert_eq!(refused(&outcome), ("no_such_parent", Some("container")));
    assert!(matches!(&outcome, Outcome::Rejected { message, .. } if message.contains("ou=people,dc=example,dc=org")));
    for (container, rule) in [("ou=groups,dc=example,dc=org", "outside_base"), ("Sales, EMEA", "dn_syntax")] {
        let mut elsewhere = world.person("x");
        elsewhere.push(("container", Slot::text(container)));
        assert_eq!(refused(&directory.create("user", &elsewhere).await), (rule, Some("container")));
    }
    let mut wrong = world.person("x");
    wrong.push(("mail", Slot::text("åsa@example.org")));
    assert_eq!(refused(&directory.create("user", &wrong).await), ("syntax", Some("mail")));
    // A password that the policy refuses leaves nothing behind.
    let weak = directory.create_with("user", &world.person("x"), Some(("userPassword", "short"))).await;
    assert_eq!(refused(&weak), ("password_policy", Some("userPassword")));
    let shown = format!("{weak:?}");
    assert!(!shown.contains("short\""), "{shown}");
    assert!(world.server.search("(uid=x)", &[]).is_empty());
    // A value that would make the name of another entry does not.
    let key = directory.created("user", &world.person("x,ou=groups")).await;
    assert_eq!(world.server.search("(sn=Berg)", &[]).len(), 1);
    assert!(directory.get("user", &key, &[]).await.is_some());
    // Nor does one that would change what is searched for.
    assert!(directory.find("user", "uid", "*", &[]).await.is_empty());
    assert!(directory.find("user", "uid", "x)(uid=*", &[]).await.is_empty());
    // Another's name.
    let other = directory.created("user", &world.person("other")).await;
    let taken = directory.update("user", &other, &[("uid", Slot::text("x,ou=groups"))]).await;
    assert_eq!(refused(&taken), ("unique", Some("uid")));
    assert_eq!(refused(&directory.update("user", &other, &[("uid", Slot::Null)]).await), ("required", Some("uid")));
}

#[tokio::test]
async fn whoever_may_only_read_is_told_so() {
    let world = World::slapd();
    let mut settings = world.settings();
    settings["user"] = json!("cn=reader,dc=example,dc=org");
    for number in 0..8 {
        world.connect().created("user", &world.person(&format!("p{number}"))).await;
    }
    let reader = crate::world::Connection(world.try_connect(settings.clone(), "secret").unwrap());
    assert_eq!(refused(&reader.create("user", &world.person("x")).await).0, "insufficient_access");
    // More entries than the server shows this user.
    let error = reader.target().list(&crate::world::request("user", &["uid"]), None).await.unwrap_err();
    assert!(matches!(&error, Error::Configuration { fix, .. } if fix.contains("olcLimits")), "{error:?}");
    // A wrong password.
    let nobody = world.try_connect(settings, "wrong").unwrap();
    let error = nobody.schema().await.unwrap_err();
    assert!(
        matches!(&error, Error::Credentials { problem, .. } if problem.contains("invalidCredentials")),
        "{error:?}"
    );
    assert!(!format!("{error:?}").contains("wrong\""));
}

#[tokio::test]
async fn settings_are_refused_with_the_setting_and_a_fix() {
    let world = World::slapd();
    let cases = [
        (json!({ "types": { "user": { "classes": ["inetOrgPersn"] } } }), "types.user.classes", "inetOrgPerson"),
        (json!({ "types": { "user": { "rdn": "dc" } } }), "types.user.rdn", "cn"),
        (json!({ "types": { "user": { "filter": "(uid=" } } }), "types.user.filter", "employeeType"),
        (
            json!({ "types": { "user": { "container": "ou=groups,dc=example,dc=org" } } }),
            "types.user.container",
            "base",
        ),
        (json!({ "types": { "user": { "enabled": "nothing" } } }), "types.user.enabled", "knows"),
        (json!({ "types": { "user": { "enabled": "employeeType" } } }), "types.user.enabled_values", "enabled_values"),
        (json!({ "types": { "user": { "multi": ["mial"] } } }), "types.user.attributes", "schema"),
        (
            json!({ "types": { "user": { "references": { "manager": ["nobody"] } } } }),
            "types.user.references.manager",
            "name",
        ),
        (json!({ "base": "example" }), "base", "dc="),
        (json!({ "base": "dc=elsewhere" }), "base", "check"),
    ];
    for (settings, blamed, fix) in cases {
        let error = world.connect_with(&settings).0.schema().await.unwrap_err();
        let Error::Configuration { setting, fix: told, .. } = &error else { panic!("{settings}: {error:?}") };
        assert_eq!(setting.as_deref(), Some(blamed), "{settings}: {error:?}");
        assert!(told.contains(fix), "{settings}: {error:?}");
    }
}

#[tokio::test]
async fn check_of_slapd_says_what_it_found() {
    let world = World::slapd();
    let used = [UsedType {
        object_type: "user".to_owned(),
        attributes: vec!["uid".to_owned(), "enabled".to_owned()],
        named: Vec::new(),
        as_source: false,
        as_target: true,
    }];
    let report = world.connect().0.check(&used).await.unwrap();
    assert_eq!(report.findings, []);
    assert!(report.features.contains(&"OpenLDAP".to_owned()), "{:?}", report.features);
    let nowhere = world.connect_with(
        &json!({ "types": { "user": { "base": "ou=none,dc=example,dc=org", "create_containers": false } } }),
    );
    let report = nowhere.0.check(&used).await.unwrap();
    assert_eq!(report.findings[0].setting.as_deref(), Some("types.user.base"));
    assert_eq!(report.findings[0].severity, Severity::Error);
    world.server.stop();
    let report = world.connect().0.check(&used).await.unwrap();
    assert_eq!((report.findings.len(), report.findings[0].setting.as_deref()), (1, Some("url")));
}

#[tokio::test]
async fn samba_wants_encryption_and_passwords() {
    let world = World::samba();
    let (host, port) = world.server.address();
    let mut settings = world.settings();
    settings["url"] = json!(format!("ldap://{host}:{port}"));
    settings["tls"] = json!("off");
    let plain = world.try_connect(settings.clone(), world.server.password()).unwrap();
    let error = plain.schema().await.unwrap_err();
    assert!(matches!(&error, Error::Credentials { fix, .. } if fix.contains("ldaps://")), "{error:?}");
    // StartTLS is as good as ldaps.
    settings["tls"] = json!("verify");
    let encrypted = world.try_connect(settings.clone(), world.server.password()).unwrap();
    assert!(encrypted.schema().await.is_ok());
    let error = world.try_connect(settings.clone(), "wrong").unwrap().schema().await.unwrap_err();
    assert!(matches!(&error, Error::Credentials { fix, .. } if fix.contains("password")), "{error:?}");
    settings["ca_file"] = json!(null);
    let untrusted = world.try_connect(settings, world.server.password()).unwrap().schema().await.unwrap_err();
    assert!(matches!(&untrusted, Error::Credentials { fix, .. } if fix.contains("ca_file")), "{untrusted:?}");
    let directory = world.connect();
    let mut values = world.person("jane");
    values.push(("enabled", Slot::One(muster_model::Value::Boolean(true))));
    let weak = directory.create_with("user", &values, Some(("unicodePwd", "short"))).await;
    assert_eq!(refused(&weak).0, "password_policy");
    directory.created("user", &world.person("jane")).await;
    let mut twin = world.person("jane");
    twin[0].1 = Slot::text("jane two");
    assert_eq!(refused(&directory.create("user", &twin).await), ("unique", Some("sAMAccountName")));
}

#[tokio::test]
async fn slapd_takes_certificates_and_start_tls() {
    let world = World::slapd();
    let folder = tempfile::tempdir().unwrap();
    let issued = world.server.issue();
    let file = folder.path().join("client.pem");
    std::fs::write(&file, issued.certificate).unwrap();
    let mut settings = world.settings();
    settings["tls"] = json!("verify");
    let secret = |name: &str, value: String| (name.to_owned(), muster_connector::settings::SecretString::from(value));
    let connect = |settings: serde_json::Value, secret| {
        muster_connector::ConnectorKind::connect(
            &muster_connector_ldap::LdapKind,
            muster_connector::ConnectorSettings {
                connection: "directory".to_owned(),
                values: settings,
                secrets: [secret].into(),
                base_folder: "/".into(),
            },
        )
    };
    let password = || secret("password", world.server.password().to_owned());
    assert!(connect(settings.clone(), password()).unwrap().schema().await.is_ok());
    settings.as_object_mut().unwrap().remove("user");
    settings["certificate"] = json!(file);
    let connection = crate::world::Connection(connect(settings.clone(), secret("key", issued.key.clone())).unwrap());
    connection.created("user", &world.person("by-certificate")).await;
    let Err(error) = connect(settings, secret("key", world.server.issue().key)) else { panic!("the key is another's") };
    assert!(
        matches!(&error, Error::Configuration { setting: Some(setting), .. } if setting == "certificate"),
        "{error:?}"
    );
}

/// The directory manager stands above 389's password policy, so that Muster signs in as somebody else here.
#[tokio::test]
async fn passwords_that_the_policy_of_ds389_refuses_leave_nothing_behind() {
    let world = World::ds389();
    let (base, people) = (world.server.base(), world.people());
    let service = format!("uid=service,{people}");
    world.server.ldif(&format!(
        "dn: {service}\nobjectClass: inetOrgPerson\nuid: service\ncn: s\nsn: s\nuserPassword: secret-of-the-service\n\n\
         dn: {base}\nchangetype: modify\nadd: aci\naci: (target=\"ldap:///{base}\")(targetattr=\"*\")\
         (version 3.0; acl \"service\"; allow (all) userdn=\"ldap:///{service}\";)\n\n\
         dn: cn=config\nchangetype: modify\nreplace: passwordCheckSyntax\npasswordCheckSyntax: on\n-\n\
         replace: passwordMinLength\npasswordMinLength: 12\n"
    ));
    let mut settings = world.settings();
    settings["user"] = json!(service);
    let directory = crate::world::Connection(world.try_connect(settings, "secret-of-the-service").unwrap());
    let weak = directory.create_with("user", &world.person("x"), Some(("userPassword", "short"))).await;
    assert_eq!(refused(&weak), ("password_policy", Some("userPassword")));
    assert!(!format!("{weak:?}").contains("short\""), "{weak:?}");
    assert!(world.server.search("(uid=x)", &[]).is_empty());
    let strong = directory.create_with("user", &world.person("x"), Some(("userPassword", PASSWORD))).await;
    assert!(matches!(strong, Outcome::Applied(_)), "{strong:?}");
    assert!(world.server.admits(&format!("uid=x,{people}"), PASSWORD));
}
