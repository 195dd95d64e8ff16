//! OpenLDAP.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{encrypt, program};
use crate::certificates::Authority;
use crate::process::{RunAs, succeed};

/// What stands there from the start. The policy takes passwords of ten characters and more.
const CONTENT: &str = "\
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

dn: cn=policy,dc=example,dc=org
objectClass: device
objectClass: pwdPolicy
cn: policy
pwdAttribute: userPassword
pwdMinLength: 10
pwdCheckQuality: 2
pwdLockout: TRUE
pwdMaxFailure: 3

dn: cn=muster,dc=example,dc=org
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: muster
userPassword: secret-of-the-admin

dn: cn=reader,dc=example,dc=org
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: secret
";

fn settings(folder: &Path, (before, within): (&str, &str)) -> String {
    let folder = folder.display();
    let more = |lines: &str| lines.replace("{folder}", &folder.to_string());
    let (before, within) = (more(before), more(within));
    format!(
        "include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload refint
moduleload syncprov
moduleload ppolicy
TLSCACertificateFile {folder}/ca.pem
TLSCertificateFile {folder}/server.crt
TLSCertificateKeyFile {folder}/server.key
TLSVerifyClient allow
authz-regexp \"cn=a server of a test\" \"cn=muster,dc=example,dc=org\"
threads 4
{before}
database mdb
suffix dc=example,dc=org
rootdn cn=root,dc=example,dc=org
directory {folder}/data
maxsize 1073741824
dbnosync
index objectClass,entryUUID,entryCSN,modifyTimestamp eq
index uid,mail,member,memberOf,uniqueMember,employeeNumber eq
index cn,sn eq,sub
limits dn.exact=\"cn=muster,dc=example,dc=org\" size=unlimited time=unlimited
limits dn.exact=\"cn=reader,dc=example,dc=org\" size.soft=5 size.hard=5 size.prtotal=5
access to attrs=userPassword by dn.exact=\"cn=muster,dc=example,dc=org\" write by self write by anonymous auth by * none
access to * by dn.exact=\"cn=muster,dc=example,dc=org\" write by users read by * none
overlay memberof
overlay refint
refint_attributes member manager
overlay ppolicy
ppolicy_default cn=policy,dc=example,dc=org
overlay syncprov
syncprov-checkpoint 100 10
syncprov-sessionlog 1000
{within}
"
    )
}

pub(super) fn prepare(folder: &Path, run_as: RunAs, authority: &Authority, more: (&str, &str)) {
    encrypt(folder, run_as, authority, &["localhost", "127.0.0.1"]);
    for name in ["data", "accesslog"] {
        let path = folder.join(name);
        fs::create_dir(&path).unwrap();
        run_as.own(&path);
    }
    fs::write(folder.join("slapd.conf"), settings(folder, more)).unwrap();
    fs::write(folder.join("content.ldif"), CONTENT).unwrap();
    succeed(
        run_as
            .command(&program("slapadd", "slapd"))
            .args(["-q", "-b", "dc=example,dc=org", "-f"])
            .arg(folder.join("slapd.conf"))
            .arg("-l")
            .arg(folder.join("content.ldif")),
    );
}

pub(super) fn command(folder: &Path, run_as: RunAs, port: u16, tls_port: u16) -> Command {
    let mut command = run_as.command(&program("slapd", "slapd"));
    command.arg("-f").arg(folder.join("slapd.conf")).args(["-d", "0", "-h"]);
    command.arg(format!("ldap://127.0.0.1:{port} ldaps://127.0.0.1:{tls_port}"));
    command
}
