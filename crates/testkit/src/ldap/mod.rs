//! Throw-away LDAP directories: OpenLDAP, 389 Directory Server and Samba's Active Directory, each in a temporary
//! folder. What they hold is asked and changed with the tools of OpenLDAP, apart from everything under test.

mod ds389;
mod ldif;
mod samba;
mod slapd;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use ldif::Entry;

use crate::certificates::{Authority, Certificate};
use crate::folder::{Base, Folder};
use crate::postgres::free_port;
use crate::process::{RunAs, program_in, signal};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const PORT_ATTEMPTS: u32 = 20;

/// A directory of one test.
#[derive(Debug)]
pub struct Directory {
    folder: Folder,
    kind: Kind,
    run_as: RunAs,
    host: String,
    port: u16,
    tls_port: u16,
    server: Mutex<Option<Child>>,
    authority: Authority,
    base: &'static str,
    admin: &'static str,
    password: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Slapd,
    Ds389,
    Samba,
}

/// A program of a package, or what to do.
fn program(name: &str, package: &str) -> PathBuf {
    program_in(&["/usr/sbin", "/usr/bin", "/usr/libexec", "/usr/lib/slapd"], name).unwrap_or_else(|| {
        panic!(
            "{name} is not installed. Run scripts/test, which installs what tests need, or: apt-get install {package}"
        )
    })
}

impl Directory {
    /// OpenLDAP with the suffix `dc=example,dc=org`: people in `ou=people`, groups in `ou=groups`, the overlays
    /// `memberof`, `refint`, `syncprov` and `ppolicy`. [`Self::admin`] may do everything; `cn=reader,dc=example,dc=org`
    /// (password `secret`) may read, five entries at a time. A certificate of [`Self::issue`] signs in as the admin.
    #[must_use]
    pub fn slapd() -> Self {
        Self::slapd_with("", "")
    }

    /// The same with further lines of `slapd.conf`: some before the database of [`Self::base`], which may be a database
    /// of their own, and some at its end. `{folder}` stands for the server's folder, in which `accesslog` is an empty one.
    #[must_use]
    pub fn slapd_with(before: &str, within: &str) -> Self {
        Self::on_some_port(Kind::Slapd, |folder, run_as, authority| {
            slapd::prepare(folder, run_as, authority, (before, within));
        })
    }

    /// 389 Directory Server with the same suffix and organizational units, and its plug-ins for `memberOf`, the retro
    /// changelog and content synchronization.
    #[must_use]
    pub fn ds389() -> Self {
        Self::on_some_port(Kind::Ds389, ds389::prepare)
    }

    /// Samba as an Active Directory domain controller of `ad.test`, with an `OU=Muster`. Takes nothing without
    /// encryption. Needs root, since its ports cannot be chosen.
    #[must_use]
    pub fn samba() -> Self {
        samba::start()
    }

    fn on_some_port(kind: Kind, prepare: impl Fn(&Path, RunAs, &Authority)) -> Self {
        let (name, user) = match kind {
            Kind::Ds389 => ("ds389", "dirsrv"),
            _ => ("slapd", "nobody"),
        };
        let (folder, run_as) = {
            let base = Base::open();
            let run_as = RunAs::unprivileged(base.user(), &[user]);
            if kind == Kind::Ds389 {
                ds389::template(&base, run_as);
            }
            (base.folder(name), run_as)
        };
        run_as.own(folder.path());
        let authority = Authority::new(&folder.path().join("ca.pem"), "the authority of a test");
        prepare(folder.path(), run_as, &authority);
        let (base, password) = ("dc=example,dc=org", "secret-of-the-admin");
        let admin = if kind == Kind::Ds389 { "cn=Directory Manager" } else { "cn=muster,dc=example,dc=org" };
        let mut server = Self {
            folder,
            kind,
            run_as,
            host: "127.0.0.1".to_owned(),
            port: 0,
            tls_port: 0,
            server: Mutex::new(None),
            authority,
            base,
            admin,
            password,
        };
        for attempt in 0..PORT_ATTEMPTS {
            (server.port, server.tls_port) = (free_port(attempt * 2), free_port(attempt * 2 + 1));
            if server.launch() {
                server.populate();
                return server;
            }
        }
        panic!("{name} does not start:\n{}", server.last_log_lines());
    }

    /// What every kind has after its first start.
    fn populate(&self) {
        if self.kind == Kind::Ds389 {
            self.ldif(ds389::CONTENT);
        }
    }

    /// Without encryption, unless a client turns it on: `ldap://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ldap://{}:{}", self.host, self.port)
    }

    /// With encryption from the first byte.
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("ldaps://{}:{}", self.host, self.tls_port)
    }

    /// The address and port of [`Self::url`].
    #[must_use]
    pub fn address(&self) -> (String, u16) {
        (self.host.clone(), self.port)
    }

    /// The entry below which everything is.
    #[must_use]
    pub fn base(&self) -> &'static str {
        self.base
    }

    /// The name of whoever may do everything.
    #[must_use]
    pub fn admin(&self) -> &'static str {
        self.admin
    }

    /// The admin's password.
    #[must_use]
    pub fn password(&self) -> &'static str {
        self.password
    }

    /// The certificate of the authority that vouches for the server.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        self.authority.file()
    }

    /// A client's certificate that the server trusts.
    #[must_use]
    pub fn issue(&self) -> Certificate {
        self.authority.issue(&["client.example.org"])
    }

    /// Entries below `base`, asked by OpenLDAP's own client as admin; an error is what it said.
    ///
    /// # Errors
    /// The server refuses the search.
    pub fn try_search(&self, base: &str, filter: &str, attributes: &[&str]) -> Result<Vec<Entry>, String> {
        let mut command = self.tool("ldapsearch");
        command.args(["-LLL", "-o", "ldif-wrap=no", "-b", base, filter]).args(attributes);
        let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        Ok(ldif::read(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Entries below [`Self::base`], by their names.
    #[must_use]
    pub fn search(&self, filter: &str, attributes: &[&str]) -> Vec<Entry> {
        self.try_search(self.base, filter, attributes).unwrap_or_else(|error| panic!("searching {filter}: {error}"))
    }

    /// The only entry that the filter is true of.
    #[must_use]
    pub fn one(&self, filter: &str, attributes: &[&str]) -> Entry {
        let mut found = self.search(filter, attributes);
        assert_eq!(found.len(), 1, "{filter}: {found:?}");
        found.remove(0)
    }

    /// Changes entries as `ldapmodify` does, from LDIF; records without a change are added.
    pub fn ldif(&self, text: &str) {
        self.try_ldif(text).unwrap_or_else(|error| panic!("ldapmodify: {error}\nfor: {text}"));
    }

    /// As [`Self::ldif`]; an error is what the tool said.
    ///
    /// # Errors
    /// The server refuses one of the changes; those before it are made.
    pub fn try_ldif(&self, text: &str) -> Result<(), String> {
        let mut command = self.tool("ldapmodify");
        command.arg("-a").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut tool = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        drop(tool.stdin.take().unwrap().write_all(text.as_bytes()));
        let output = tool.wait_with_output().unwrap();
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
    }

    /// Whether somebody may sign in with this password.
    #[must_use]
    pub fn admits(&self, dn: &str, password: &str) -> bool {
        let mut command = self.tool_as("ldapsearch", dn, password);
        command
            .args(["-b", "", "-s", "base", "1.1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn tool(&self, name: &str) -> Command {
        self.tool_as(name, self.admin, self.password)
    }

    fn tool_as(&self, name: &str, dn: &str, password: &str) -> Command {
        let mut command = Command::new(program(name, "ldap-utils"));
        command.env_clear().env("LC_ALL", "C.UTF-8");
        command.env("LDAPTLS_CACERT", self.authority.file()).args(["-x", "-H"]);
        match self.kind {
            Kind::Samba => command.arg(self.tls_url()),
            _ => command.arg(self.url()),
        };
        command.args(["-D", dn, "-w", password]);
        command
    }

    /// Ends the server as an administrator would; connections are cut.
    pub fn stop(&self) {
        self.end("TERM");
    }

    /// Crashes the server.
    pub fn kill(&self) {
        self.end("KILL");
    }

    /// Holds the server as it is, so that it accepts connections and answers nothing, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        if let Some(server) = self.server.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            signal(server.id(), if frozen { "STOP" } else { "CONT" });
        }
    }

    /// Starts the server again after [`Self::stop`] or [`Self::kill`], on the same port with the same data.
    pub fn restart(&self) {
        self.stop();
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.launch() {
            assert!(Instant::now() < deadline, "the directory does not start again:\n{}", self.last_log_lines());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The last lines of the server's log.
    #[must_use]
    pub fn last_log_lines(&self) -> String {
        let bytes = fs::read(self.folder.path().join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Starts the server and waits until it answers; false when it ends instead, as when its port is taken.
    fn launch(&self) -> bool {
        let folder = self.folder.path();
        let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let mut command = match self.kind {
            Kind::Slapd => slapd::command(folder, self.run_as, self.port, self.tls_port),
            Kind::Ds389 => ds389::command(folder, self.run_as, self.port, self.tls_port),
            Kind::Samba => samba::command(folder),
        };
        let data = folder.join("data");
        command.current_dir(&data).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut server = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        fs::write(data.join("server.pid"), server.id().to_string()).unwrap();
        let started = Instant::now();
        while !self.is_ready() {
            if server.try_wait().unwrap().is_some() {
                return false;
            }
            if started.elapsed() > START_TIMEOUT {
                drop(server.kill());
                panic!("the directory does not answer:\n{}", self.last_log_lines());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
        true
    }

    /// Whether this very server answers: the admin's password is that of no other.
    fn is_ready(&self) -> bool {
        std::net::TcpStream::connect((self.host.as_str(), self.port)).is_ok() && self.admits(self.admin, self.password)
    }

    fn end(&self, how: &str) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut server) = server {
            signal(server.id(), "CONT");
            signal(server.id(), how);
            drop(server.wait());
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.end("KILL");
        if std::thread::panicking() {
            let log = self.last_log_lines();
            let kept = self.folder.keep();
            eprintln!("the directory's folder is kept at {}; the end of its log:\n{log}", kept.display());
        }
    }
}

/// The server's certificate and key, as files that the server may read.
fn encrypt(folder: &Path, run_as: RunAs, authority: &Authority, names: &[&str]) {
    let server = authority.issue(names);
    for (name, content) in [("server.crt", server.certificate), ("server.key", server.key)] {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        run_as.own(&path);
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
}
