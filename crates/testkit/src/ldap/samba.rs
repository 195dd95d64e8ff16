//! Samba as an Active Directory domain controller. Its ports cannot be chosen, so that each has an address of its own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::{Directory, Kind, encrypt, program};
use crate::certificates::Authority;
use crate::folder::{Base, copy_tree};
use crate::process::{RunAs, succeed};

/// Grows when the template's content changes.
const TEMPLATE: &str = "template-samba-1";
const TEMPLATE_ADDRESS: &str = "127.77.0.1";

pub(super) fn start() -> Directory {
    let base = Base::open();
    assert_eq!(
        base.user(),
        0,
        "Samba's domain controller takes only the ports 389 and 636, which needs root: run these tests as root, or \
         leave them out with -E 'not test(samba)'"
    );
    let template = template(&base);
    let folder = base.folder("samba");
    let run_as = RunAs::unprivileged(1, &[]);
    copy_tree(&template.join("data"), &folder.path().join("data"), &|_| {})
        .expect("cannot copy the template of a domain");
    let authority = Authority::new(&folder.path().join("ca.pem"), "the authority of a test");
    let host = free_address();
    encrypt(folder.path(), run_as, &authority, &["dc1.ad.test", &host]);
    settle(&template, folder.path(), &host);
    let server = Directory {
        folder,
        kind: Kind::Samba,
        run_as,
        host,
        port: 389,
        tls_port: 636,
        server: Mutex::new(None),
        authority,
        base: "DC=ad,DC=test",
        admin: "Administrator@ad.test",
        password: "Secret.0f.the.admin",
    };
    drop(base);
    assert!(server.launch(), "Samba does not start:\n{}", server.last_log_lines());
    server
}

/// An address on which nobody listens.
fn free_address() -> String {
    let address = |number: u32| format!("127.77.{}.{}", number / 250, number % 250 + 2);
    let start = std::process::id() % 50_000;
    let mut addresses = (start..start + 1_000).map(address);
    addresses.find(|host| TcpListener::bind((host.as_str(), 389)).is_ok()).expect("no address is free on port 389")
}

fn settings(folder: &Path, host: &str) -> String {
    let data = folder.join("data");
    let data = data.display();
    format!(
        "[global]
\tinterfaces = {host}/8
\tbind interfaces only = yes
\tserver services = ldap
\tdcerpc endpoint servers = -winreg -srvsvc
\tlog file = {data}/log.%m
\tpid directory = {data}/run
\tlock directory = {data}/lock
\tcache directory = {data}/cache
\tncalrpc dir = {data}/ncalrpc
\twinbindd socket directory = {data}/winbindd
\tntp signd socket directory = {data}/ntp_signd
"
    )
}

/// A domain that was made once and is copied for every server: making one takes twenty seconds.
fn template(base: &Base) -> PathBuf {
    let path = base.path().join(TEMPLATE);
    if path.join("ready").is_file() {
        return path;
    }
    let tool = program("samba-tool", "samba samba-ad-dc samba-ad-provision");
    drop(fs::remove_dir_all(&path));
    fs::create_dir_all(path.join("data")).unwrap();
    let file = path.join("provision.conf");
    fs::write(&file, settings(&path, TEMPLATE_ADDRESS)).unwrap();
    succeed(
        Command::new(&tool)
            .args([
                "domain",
                "provision",
                "--realm=AD.TEST",
                "--domain=ADTEST",
                "--server-role=dc",
                "--dns-backend=NONE",
            ])
            .args(["--adminpass=Secret.0f.the.admin", "--host-name=dc1"])
            .arg(format!("--host-ip={TEMPLATE_ADDRESS}"))
            .arg(format!("--configfile={}", file.display()))
            .arg(format!("--targetdir={}", path.join("data").display()))
            .args([&format!("--option=interfaces={TEMPLATE_ADDRESS}/8"), "--option=bind interfaces only=yes"])
            .arg("--option=server services=ldap"),
    );
    succeed(Command::new(program("ldbadd", "ldb-tools")).arg("-H").arg(path.join("data/private/sam.ldb")).arg({
        let file = path.join("content.ldif");
        fs::write(&file, "dn: OU=Muster,DC=ad,DC=test\nobjectClass: organizationalUnit\n").unwrap();
        file
    }));
    fs::write(path.join("ready"), "").unwrap();
    path
}

/// Makes a copy of the template a server of its own.
fn settle(template: &Path, folder: &Path, host: &str) {
    let file = folder.join("data/etc/smb.conf");
    let text = fs::read_to_string(&file).unwrap();
    let text =
        text.replace(&template.display().to_string(), &folder.display().to_string()).replace(TEMPLATE_ADDRESS, host);
    let tls = format!(
        "[global]\n\ttls enabled = yes\n\ttls keyfile = {0}/server.key\n\ttls certfile = {0}/server.crt\n\ttls cafile = {0}/ca.pem\n\tldb:nosync = true",
        folder.display()
    );
    fs::write(&file, text.replacen("[global]", &tls, 1)).unwrap();
    for name in ["run", "ncalrpc", "lock", "cache", "winbindd", "ntp_signd"] {
        fs::create_dir_all(folder.join("data").join(name)).unwrap();
    }
}

pub(super) fn command(folder: &Path) -> Command {
    let mut command = Command::new(program("samba", "samba samba-ad-dc samba-ad-provision"));
    command.arg("-s").arg(folder.join("data/etc/smb.conf")).args(["-i", "-M", "single", "--no-process-group"]);
    command
}
