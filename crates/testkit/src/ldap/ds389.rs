//! 389 Directory Server, in a prefix of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{encrypt, program};
use crate::certificates::Authority;
use crate::folder::{Base, copy_tree};
use crate::process::{RunAs, signal, succeed};

/// Grows when the template's content changes.
const TEMPLATE: &str = "template-ds389-1";

/// What the template's paths begin with, until a copy has its own.
const SETTINGS: &str = "[general]
config_version = 2
full_machine_name = localhost
start = True
strict_host_checking = False
[slapd]
instance_name = t
port = {port}
secure_port = {tls_port}
root_password = secret-of-the-admin
self_sign_cert = True
[backend-userroot]
suffix = dc=example,dc=org
sample_entries = no
create_suffix_entry = True
";

pub(super) const CONTENT: &str = "\
dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups
";

const PLUGINS: [&str; 3] = ["MemberOf Plugin", "Retro Changelog Plugin", "Content Synchronization"];

fn as_server(run_as: RunAs, home: &Path, program: &Path) -> Command {
    let mut command = run_as.command(program);
    let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", home.join("bin").display());
    command.env("HOME", home).env("USER", "dirsrv").env("LOGNAME", "dirsrv").env("PATH", path);
    command.current_dir(home);
    command
}

/// An instance that was made once and is copied for every server: making one takes twenty seconds.
pub(super) fn template(base: &Base, run_as: RunAs) -> PathBuf {
    let path = base.path().join(TEMPLATE);
    if path.join("ready").is_file() {
        return path;
    }
    let dscreate = program("dscreate", "389-ds-base");
    drop(fs::remove_dir_all(&path));
    fs::create_dir(&path).unwrap();
    run_as.own(&path);
    let (port, tls_port) = (crate::postgres::free_port(0), crate::postgres::free_port(1));
    let settings = SETTINGS.replace("{port}", &port.to_string()).replace("{tls_port}", &tls_port.to_string());
    fs::write(path.join("settings.inf"), settings).unwrap();
    let (root, bin) = (path.join("root"), path.join("bin"));
    succeed(as_server(run_as, &path, &dscreate).arg("ds-root").args([&root, &bin]));
    succeed(as_server(run_as, &path, &bin.join("dscreate")).args(["from-file", "settings.inf"]));
    let file = root.join("run/dirsrv/slapd-t.pid");
    let process: u32 = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    signal(process, "TERM");
    while Path::new(&format!("/proc/{process}/exe")).read_link().is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let settings = root.join("etc/dirsrv/slapd-t/dse.ldif");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, adapted(&text)).unwrap();
    fs::write(path.join("ports"), format!("{port} {tls_port}")).unwrap();
    fs::write(path.join("ready"), "").unwrap();
    path
}

/// The instance's settings with the plug-ins enabled, one entry a paragraph.
fn adapted(text: &str) -> String {
    let entries = text.split("\n\n").map(|entry| {
        let mut entry = entry.to_owned();
        if PLUGINS.iter().any(|name| entry.contains(&format!("dn: cn={name},cn=plugins,cn=config"))) {
            entry = entry.replace("nsslapd-pluginEnabled: off", "nsslapd-pluginEnabled: on");
        }
        if entry.contains("dn: cn=Retro Changelog Plugin,") {
            entry = format!("{}\nnsslapd-attribute: nsuniqueid:targetUniqueId", entry.trim_end());
        }
        entry
    });
    entries.collect::<Vec<_>>().join("\n\n")
}

pub(super) fn prepare(folder: &Path, run_as: RunAs, authority: &Authority) {
    let template = folder.parent().unwrap().join(TEMPLATE);
    copy_tree(&template.join("root"), &folder.join("root"), &|path| run_as.own(path)).unwrap();
    let data = folder.join("data");
    fs::create_dir(&data).unwrap();
    run_as.own(&data);
    encrypt(folder, run_as, authority, &["localhost", "127.0.0.1"]);
    let file = settings_file(folder);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(&template.display().to_string(), &folder.display().to_string())).unwrap();
    trust(folder, run_as);
}

fn settings_file(folder: &Path) -> PathBuf {
    folder.join("root/etc/dirsrv/slapd-t/dse.ldif")
}

/// Puts the test's own certificate into the instance's database of certificates.
fn trust(folder: &Path, run_as: RunAs) {
    let store = folder.join("root/etc/dirsrv/slapd-t");
    let certutil = program("certutil", "libnss3-tools");
    let pk12util = program("pk12util", "libnss3-tools");
    let openssl = program("openssl", "openssl");
    let password = store.join("pwdfile.txt");
    let p12 = folder.join("server.p12");
    let run = |program: &Path, arguments: &[&str]| {
        succeed(as_server(run_as, folder, program).args(arguments));
    };
    let (store, password) = (store.display().to_string(), password.display().to_string());
    let in_folder = |name: &str| folder.join(name).display().to_string();
    run(
        &openssl,
        &[
            "pkcs12",
            "-export",
            "-name",
            "Server-Cert",
            "-passout",
            "pass:x",
            "-in",
            &in_folder("server.crt"),
            "-inkey",
            &in_folder("server.key"),
            "-out",
            &p12.display().to_string(),
        ],
    );
    run(&certutil, &["-D", "-d", &store, "-n", "Server-Cert", "-f", &password]);
    run(&pk12util, &["-i", &p12.display().to_string(), "-d", &store, "-k", &password, "-W", "x"]);
    run(&certutil, &["-A", "-d", &store, "-n", "authority", "-t", "CT,,", "-i", &in_folder("ca.pem"), "-f", &password]);
}

pub(super) fn command(folder: &Path, run_as: RunAs, port: u16, tls_port: u16) -> Command {
    let file = settings_file(folder);
    let text = fs::read_to_string(&file).unwrap();
    let lines = text.lines().filter(|line| {
        !line.to_ascii_lowercase().starts_with("nsslapd-listenhost:")
            && !line.to_ascii_lowercase().starts_with("nsslapd-securelistenhost:")
    });
    let lines = lines.map(|line| match line.to_ascii_lowercase().split(':').next() {
        Some("nsslapd-port") => {
            format!("nsslapd-listenhost: 127.0.0.1\nnsslapd-securelistenhost: 127.0.0.1\nnsslapd-port: {port}")
        }
        Some("nsslapd-secureport") => format!("nsslapd-secureport: {tls_port}"),
        _ => line.to_owned(),
    });
    let text = lines.collect::<Vec<_>>().join("\n") + "\n";
    fs::write(&file, text).unwrap();
    run_as.own(&file);
    let mut command = as_server(run_as, folder, &program("ns-slapd", "389-ds-base"));
    command.arg("-D").arg(folder.join("root/etc/dirsrv/slapd-t"));
    command.arg("-i").arg(folder.join("root/run/dirsrv/slapd-t.pid")).args(["-d", "0"]);
    command
}
