//! A throw-away PostgreSQL server.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::certificates::Authority;
use crate::folder::{Base, Folder, copy_tree};
use crate::process::{RunAs, newest_program_folder, signal, succeed, user_of};

/// How the servers' own clients write null.
pub const NULL: &str = "<null>";

/// The superuser of every server, trusted without a password. All other users need theirs.
const SUPERUSER: &str = "app";

/// The database that is there from the start.
const DATABASE: &str = "postgres";

const START_TIMEOUT: Duration = Duration::from_secs(30);
const PORT_ATTEMPTS: u32 = 20;

/// Grows when the template's content changes.
const TEMPLATE_VERSION: u32 = 1;

/// A PostgreSQL server of one test: its data in a temporary folder, on a port of its own on 127.0.0.1.
///
/// A crash of the server loses nothing that was committed, as on a real one; only a power cut would, since
/// nothing is flushed to disk.
#[derive(Debug)]
pub struct Postgres {
    folder: Folder,
    programs: PathBuf,
    run_as: RunAs,
    port: u16,
    server: Mutex<Option<Child>>,
    authority: Option<Authority>,
}

impl Postgres {
    /// A running server.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(false, false)
    }

    /// A running server that waits for its disk, for measurements.
    #[must_use]
    pub fn durable() -> Self {
        Self::start_with(false, true)
    }

    /// A running server that takes encrypted connections only. Its certificate is for `localhost` and 127.0.0.1,
    /// from an authority of its own: [`Self::authority`]. Members of the role `by_certificate` sign in with a certificate
    /// of that authority instead of a password, those of `by_both` with both.
    #[must_use]
    pub fn with_tls() -> Self {
        Self::start_with(true, false)
    }

    fn start_with(tls: bool, durable: bool) -> Self {
        let programs = newest_program_folder(Path::new("/usr/lib/postgresql"), "initdb").unwrap_or_else(|| {
            panic!(
                "PostgreSQL is not installed: its programs are neither in /usr/lib/postgresql/*/bin nor in PATH. \
                 Run scripts/test, which installs what tests need, or: apt-get install postgresql"
            )
        });
        let (folder, template, run_as) = {
            let base = Base::open();
            let run_as = RunAs::unprivileged(base.user(), &["postgres", "nobody"]);
            let template = template(&base, &programs, run_as);
            (base.folder("postgres"), template, run_as)
        };
        run_as.own(folder.path());
        let data = folder.path().join("data");
        copy_tree(&template, &data, &|path| run_as.own(path)).expect("cannot copy the template of a database");
        if durable {
            let path = data.join("postgresql.conf");
            let settings = fs::read_to_string(&path).unwrap();
            fs::write(path, settings.replace("fsync = off\nfull_page_writes = off\n", "")).unwrap();
        }
        let authority = tls.then(|| encrypt(folder.path(), &data, run_as));
        let mut server = Self { folder, programs, run_as, port: 0, server: Mutex::new(None), authority };
        for attempt in 0..PORT_ATTEMPTS {
            server.port = free_port(attempt);
            if server.launch() {
                return server;
            }
        }
        panic!("PostgreSQL does not start:\n{}", server.last_log_lines());
    }

    /// The address for Muster or any other client, as superuser.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_for(SUPERUSER, DATABASE)
    }

    /// The address of a database for a user.
    #[must_use]
    pub fn url_for(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@{}:{}/{database}", self.host(), self.port)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder with all that belongs to the server; tests may put files there.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The certificate of the authority that vouches for a server [`Self::with_tls`].
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        self.authority().file()
    }

    /// The authority that vouches for a server [`Self::with_tls`], and that the server trusts.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        self.authority.as_ref().expect("the server was started without TLS")
    }

    /// Makes a database and returns its address.
    #[must_use]
    pub fn create_database(&self, name: &str) -> String {
        self.psql(&format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\"")));
        self.url_for(SUPERUSER, name)
    }

    /// Runs SQL with the server's own client, apart from everything under test, and returns the rows of its
    /// last query; null is [`NULL`]. Panics when the server refuses it.
    pub fn psql(&self, sql: &str) -> Vec<Vec<String>> {
        self.psql_in(DATABASE, sql)
    }

    /// As [`Self::psql`], in another database.
    pub fn psql_in(&self, database: &str, sql: &str) -> Vec<Vec<String>> {
        self.try_psql(SUPERUSER, database, sql).unwrap_or_else(|error| panic!("psql: {error}\nfor: {sql}"))
    }

    /// As [`Self::psql`], as any user; an error is what the client said.
    ///
    /// # Errors
    /// The server refuses it.
    pub fn try_psql(&self, user: &str, database: &str, sql: &str) -> Result<Vec<Vec<String>>, String> {
        // Separators that no text of a test holds, unlike line ends and commas.
        let output = Command::new(self.programs.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-F", "\u{1f}", "-R", "\u{1e}", "-v", "ON_ERROR_STOP=1"])
            .args(["-P", &format!("null={NULL}")])
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", user, "-d", database, "-c", sql])
            .env("PGSSLMODE", if self.authority.is_some() { "require" } else { "disable" })
            .env("PGTZ", "UTC")
            .env("PGCLIENTENCODING", "UTF8")
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let text = String::from_utf8(output.stdout).map_err(|error| error.to_string())?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\u{1e}').unwrap_or(text);
        if text.is_empty() {
            return Ok(Vec::new());
        }
        Ok(text.split('\u{1e}').map(|row| row.split('\u{1f}').map(str::to_owned).collect()).collect())
    }

    /// Ends the server as an administrator would; connections are cut.
    pub fn stop(&self) {
        self.end("INT");
    }

    /// Crashes the server: the process is killed, and everything it had in memory is lost.
    pub fn kill(&self) {
        self.end("KILL");
    }

    /// Starts the server again after [`Self::stop`] or [`Self::kill`], on the same port with the same data.
    pub fn restart(&self) {
        self.stop();
        // After a crash the server's children need a moment to notice, and hold the shared memory until then.
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.launch() {
            assert!(Instant::now() < deadline, "PostgreSQL does not start again:\n{}", self.last_log_lines());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The last lines of the server's log.
    #[must_use]
    pub fn last_log_lines(&self) -> String {
        let bytes = fs::read(self.log_file()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn host(&self) -> &'static str {
        if self.authority.is_some() { "localhost" } else { "127.0.0.1" }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Starts the server and waits until it answers; false when it ends instead, as when its port is taken.
    fn launch(&self) -> bool {
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = self.run_as.command(&self.programs.join("postgres"));
        command.arg("-D").arg(self.data()).args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command.current_dir(self.data()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        // It stays in the test's process group, so that whoever ends the group ends the server.
        let mut server = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let started = Instant::now();
        while !self.is_ready(&server) {
            if server.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(started.elapsed() < START_TIMEOUT, "PostgreSQL does not answer:\n{}", self.last_log_lines());
            std::thread::sleep(Duration::from_millis(5));
        }
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
        true
    }

    /// The server says in its process file when it takes connections, which `pg_ctl` relies on too. The file of
    /// a server that was killed is told apart by the number.
    fn is_ready(&self, server: &Child) -> bool {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = text.lines();
        lines.next().is_some_and(|line| line.trim() == server.id().to_string())
            && lines.nth(6).is_some_and(|line| line.trim() == "ready")
            && Command::new(self.programs.join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status()
                .is_ok_and(|status| status.success())
    }

    fn end(&self, how: &str) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut server) = server {
            signal(server.id(), how);
            // Waited for, since a dead process that nobody asked about still looks alive to the next server.
            drop(server.wait());
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.end("QUIT");
        if std::thread::panicking() {
            let log = self.last_log_lines();
            let kept = self.folder.keep();
            eprintln!("PostgreSQL's folder is kept at {}; the end of its log:\n{log}", kept.display());
        }
    }
}

/// A data folder that is copied for every server: making one takes longer than anything else.
fn template(base: &Base, programs: &Path, run_as: RunAs) -> PathBuf {
    let version = String::from_utf8_lossy(&succeed(Command::new(programs.join("postgres")).arg("--version")))
        .trim()
        .replace(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.', "-");
    let path = base.path().join(format!("template-{version}-{TEMPLATE_VERSION}"));
    if path.join("PG_VERSION").is_file() {
        return path;
    }
    let making = base.path().join("template-in-the-making");
    if making.exists() {
        fs::remove_dir_all(&making).unwrap();
    }
    fs::create_dir(&making).unwrap();
    run_as.own(&making);
    assert_eq!(
        user_of(&making.join("..")),
        user_of(base.path()),
        "the temporary folder must not be a link to somewhere else"
    );
    succeed(
        run_as
            .command(&programs.join("initdb"))
            .current_dir(&making)
            .args(["-D", "data", "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"])
            .args(["--no-sync", "--wal-segsize=1", "--no-instructions"]),
    );
    let data = making.join("data");
    let mut settings = fs::read_to_string(data.join("postgresql.conf")).unwrap();
    // `synchronous_commit` stays on: without it a killed server loses what it said was committed.
    settings.push_str(
        "fsync = off\nfull_page_writes = off\nautovacuum = off\nshared_buffers = 32MB\nmax_connections = 30\n\
         max_wal_size = 1GB\nunix_socket_directories = ''\ndynamic_shared_memory_type = mmap\n\
         log_timezone = 'UTC'\ntimezone = 'UTC'\njit = off\n",
    );
    fs::write(data.join("postgresql.conf"), settings).unwrap();
    fs::write(data.join("pg_hba.conf"), access("host")).unwrap();
    fs::rename(&data, &path).unwrap();
    drop(fs::remove_dir_all(&making));
    path
}

fn access(kind: &str) -> String {
    format!("{kind} all {SUPERUSER} 127.0.0.1/32 trust\n{kind} all all 127.0.0.1/32 scram-sha-256\n")
}

fn encrypt(folder: &Path, data: &Path, run_as: RunAs) -> Authority {
    let authority = Authority::new(&folder.join("ca.pem"), "the authority of a test");
    let server = authority.issue(&["localhost", "127.0.0.1"]);
    fs::write(data.join("server.crt"), server.certificate).unwrap();
    fs::write(data.join("server.key"), server.key).unwrap();
    // PostgreSQL refuses a key that others may read.
    fs::set_permissions(data.join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
    run_as.own(&data.join("server.key"));
    run_as.own(&data.join("server.crt"));
    let mut settings = fs::read_to_string(data.join("postgresql.conf")).unwrap();
    settings.push_str(&format!("ssl = on\nssl_ca_file = '{}'\n", authority.file().display()));
    fs::write(data.join("postgresql.conf"), settings).unwrap();
    let by_certificate = "hostssl all +by_certificate 127.0.0.1/32 cert\n\
                          hostssl all +by_both 127.0.0.1/32 scram-sha-256 clientcert=verify-full\n";
    fs::write(data.join("pg_hba.conf"), format!("{by_certificate}{}", access("hostssl"))).unwrap();
    authority
}

/// A port that is free now, below those that the system hands out for outgoing connections. It may be taken before
/// the server has it, so the caller tries again.
pub(crate) fn free_port(attempt: u32) -> u16 {
    const FIRST: u32 = 12_000;
    const PORTS: u32 = 20_000;
    let start = std::process::id().wrapping_mul(37).wrapping_add(attempt.wrapping_mul(211));
    (0..PORTS)
        .map(|step| u16::try_from(FIRST + start.wrapping_add(step) % PORTS).unwrap())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("no port is free")
}
