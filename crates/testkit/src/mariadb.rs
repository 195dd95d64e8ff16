//! A throw-away MariaDB server.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::certificates::Authority;
use crate::folder::{Base, Folder, copy_tree};
use crate::postgres::{NULL, free_port};
use crate::process::{RunAs, program_in, signal, succeed};

/// Whoever may do everything, without a password.
const SUPERUSER: &str = "app";

/// The database that is there from the start. Its texts are compared byte by byte, unlike MariaDB's own default.
const DATABASE: &str = "app";

const START_TIMEOUT: Duration = Duration::from_secs(60);
const PORT_ATTEMPTS: u32 = 20;

/// Grows when the template's content changes.
const TEMPLATE_VERSION: u32 = 1;

/// Run at every start, one statement a line.
const AT_START: &str = "CREATE DATABASE IF NOT EXISTS app CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;\n\
    CREATE USER IF NOT EXISTS app@'127.0.0.1';\n\
    GRANT ALL ON *.* TO app@'127.0.0.1' WITH GRANT OPTION;\n";

/// What keeps a server small and quick. A killed server keeps what it said was committed; only a power cut would lose it.
const SETTINGS: &str = "skip-name-resolve\nskip-log-bin\nperformance_schema=OFF\ncharacter-set-server=utf8mb4\n\
    innodb_buffer_pool_size=32M\ninnodb_log_file_size=8M\ninnodb_data_file_path=ibdata1:12M:autoextend\n\
    innodb_temp_data_file_path=ibtmp1:12M:autoextend\ninnodb_flush_log_at_trx_commit=2\ninnodb_flush_method=nosync\n\
    innodb_doublewrite=OFF\ninnodb_use_native_aio=0\naria-pagecache-buffer-size=8M\nmax_connections=50\n";

/// A MariaDB server of one test: its data in a temporary folder, on a port of its own on 127.0.0.1.
#[derive(Debug)]
pub struct MariaDb {
    folder: Folder,
    programs: Programs,
    run_as: RunAs,
    port: u16,
    server: Mutex<Option<Child>>,
    authority: Option<Authority>,
    /// How many scripts were run.
    scripts: AtomicU32,
}

#[derive(Debug, Clone)]
struct Programs {
    server: PathBuf,
    install: PathBuf,
    client: PathBuf,
}

impl Programs {
    fn find() -> Self {
        let find = |name: &str| {
            program_in(&["/usr/sbin", "/usr/bin", "/usr/libexec", "/usr/local/sbin", "/usr/local/bin"], name)
                .unwrap_or_else(|| {
                    panic!(
                        "MariaDB is not installed: {name} is neither in /usr/sbin, /usr/bin nor in PATH. Run \
                         scripts/test, which installs what tests need, or: apt-get install mariadb-server-core mariadb-client-core"
                    )
                })
        };
        Self { server: find("mariadbd"), install: find("mariadb-install-db"), client: find("mariadb") }
    }
}

impl MariaDb {
    /// A running server.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(false)
    }

    /// A running server that takes encrypted connections only. Its certificate is for `localhost` and 127.0.0.1,
    /// from an authority of its own: [`Self::authority`].
    #[must_use]
    pub fn with_tls() -> Self {
        Self::start_with(true)
    }

    fn start_with(tls: bool) -> Self {
        let programs = Programs::find();
        let (folder, template, run_as) = {
            let base = Base::open();
            let run_as = RunAs::unprivileged(base.user(), &["mysql", "nobody"]);
            let template = template(&base, &programs, run_as);
            (base.folder("mariadb"), template, run_as)
        };
        run_as.own(folder.path());
        copy_tree(&template, &folder.path().join("data"), &|path| run_as.own(path))
            .expect("cannot copy the template of a database");
        let authority = tls.then(|| encrypt(folder.path(), run_as));
        let mut server =
            Self { folder, programs, run_as, port: 0, server: Mutex::new(None), authority, scripts: AtomicU32::new(0) };
        for attempt in 0..PORT_ATTEMPTS {
            server.port = free_port(attempt);
            if server.launch() {
                return server;
            }
        }
        panic!("MariaDB does not start:\n{}", server.last_log_lines());
    }

    /// The address for Muster or any other client, as superuser.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_for(SUPERUSER, DATABASE)
    }

    /// The address of a database for a user.
    #[must_use]
    pub fn url_for(&self, user: &str, database: &str) -> String {
        let host = if self.authority.is_some() { "localhost" } else { "127.0.0.1" };
        format!("mysql://{user}@{host}:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
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

    /// Runs SQL with the server's own client, apart from everything under test, and returns the rows of its queries;
    /// null is [`NULL`], and so is the text `NULL`. Panics when the server refuses it.
    pub fn sql(&self, sql: &str) -> Vec<Vec<String>> {
        self.try_sql(SUPERUSER, DATABASE, sql).unwrap_or_else(|error| panic!("mariadb: {error}\nfor: {sql}"))
    }

    /// As [`Self::sql`], as any user; an error is what the client said.
    ///
    /// # Errors
    /// The server refuses it.
    pub fn try_sql(&self, user: &str, database: &str, sql: &str) -> Result<Vec<Vec<String>>, String> {
        // With a delimiter that no statement holds, triggers with several statements need no special care. The
        // statements come by a file, since arguments of a program are short.
        let mut command = Command::new(&self.programs.client);
        command
            .args(["--no-defaults", "--batch", "--skip-column-names", "--default-character-set=utf8mb4"])
            .args(["--delimiter=\u{1}\u{2}", "--max-allowed-packet=64M", "--host=127.0.0.1"])
            .args([&format!("--port={}", self.port), &format!("--user={user}"), &format!("--database={database}")])
            .args(self.authority.is_some().then_some("--ssl"));
        let number = self.scripts.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.path().join(format!("script-{number}.sql"));
        fs::write(&path, format!("SET time_zone = '+00:00'\u{1}\u{2}\n{sql}")).map_err(|error| error.to_string())?;
        let script = File::open(&path).map_err(|error| error.to_string())?;
        let output = command.stdin(script).output().map_err(|error| error.to_string())?;
        drop(fs::remove_file(path));
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let text = String::from_utf8(output.stdout).map_err(|error| error.to_string())?;
        Ok(text.lines().map(|line| line.split('\t').map(plain).collect()).collect())
    }

    /// Ends the server as an administrator would; connections are cut.
    pub fn stop(&self) {
        self.end("TERM");
    }

    /// Crashes the server: the process is killed, and everything it had in memory is lost.
    pub fn kill(&self) {
        self.end("KILL");
    }

    /// Starts the server again after [`Self::stop`] or [`Self::kill`], on the same port with the same data.
    pub fn restart(&self) {
        self.stop();
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.launch() {
            assert!(Instant::now() < deadline, "MariaDB does not start again:\n{}", self.last_log_lines());
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
        let data = folder.join("data");
        let (start, temporary) = (folder.join("start.sql"), folder.join("tmp"));
        fs::create_dir_all(&temporary).unwrap();
        self.run_as.own(&temporary);
        fs::write(&start, AT_START).unwrap();
        let encryption = self.authority.as_ref().map_or_else(String::new, |authority| {
            format!(
                "ssl_cert={0}/server.crt\nssl_key={0}/server.key\nssl_ca={1}\nrequire_secure_transport=ON\n",
                folder.display(),
                authority.file().display()
            )
        });
        let settings = format!(
            "[mysqld]\n{SETTINGS}{encryption}datadir={0}\ntmpdir={1}\nsocket={2}\npid-file={0}/mariadbd.pid\n\
             bind-address=127.0.0.1\nport={3}\ninit-file={4}\n",
            data.display(),
            temporary.display(),
            folder.join("s").display(),
            self.port,
            start.display(),
        );
        let file = folder.join("server.cnf");
        fs::write(&file, settings).unwrap();
        let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let mut command = self.run_as.command(&self.programs.server);
        command.arg(format!("--defaults-file={}", file.display())).current_dir(&data);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        // It stays in the test's process group, so that whoever ends the group ends the server.
        let mut server = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let started = Instant::now();
        while !self.is_ready(&data) {
            if server.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(started.elapsed() < START_TIMEOUT, "MariaDB does not answer:\n{}", self.last_log_lines());
            std::thread::sleep(Duration::from_millis(20));
        }
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
        true
    }

    /// Whether this very server answers, and no other one that had the port before.
    fn is_ready(&self, data: &Path) -> bool {
        std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
            && self
                .try_sql(SUPERUSER, DATABASE, "SELECT @@datadir")
                .is_ok_and(|rows| rows.concat().first().is_some_and(|found| Path::new(found) == data))
    }

    fn end(&self, how: &str) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut server) = server {
            signal(server.id(), how);
            drop(server.wait());
        }
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        // Its files go anyway, and nothing but they would be tidied.
        self.end("KILL");
        if std::thread::panicking() {
            let log = self.last_log_lines();
            let kept = self.folder.keep();
            eprintln!("MariaDB's folder is kept at {}; the end of its log:\n{log}", kept.display());
        }
    }
}

/// A value as the client writes it in its batch mode.
fn plain(field: &str) -> String {
    if field == "NULL" {
        return NULL.to_owned();
    }
    let mut text = String::with_capacity(field.len());
    let mut letters = field.chars();
    while let Some(letter) = letters.next() {
        text.push(match (letter, letter == '\\') {
            (_, true) => match letters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('0') => '\0',
                Some(other) => other,
                None => '\\',
            },
            (other, false) => other,
        });
    }
    text
}

/// A data folder that is copied for every server: making one takes longer than anything else.
fn template(base: &Base, programs: &Programs, run_as: RunAs) -> PathBuf {
    let version =
        String::from_utf8_lossy(&succeed(Command::new(&programs.server).args(["--no-defaults", "--version"])))
            .trim()
            .replace(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.', "-");
    let path = base.path().join(format!("template-{version}-{TEMPLATE_VERSION}"));
    if path.join("mysql").is_dir() {
        return path;
    }
    let making = base.path().join("mariadb-template-in-the-making");
    if making.exists() {
        fs::remove_dir_all(&making).unwrap();
    }
    fs::create_dir(&making).unwrap();
    run_as.own(&making);
    let data = making.join("data");
    let settings = format!("[mysqld]\n{SETTINGS}datadir={0}\ntmpdir={1}\n", data.display(), making.display());
    fs::write(making.join("server.cnf"), settings).unwrap();
    succeed(
        run_as
            .command(&programs.install)
            .current_dir(&making)
            .arg(format!("--defaults-file={}", making.join("server.cnf").display()))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]),
    );
    fs::rename(&data, &path).unwrap();
    drop(fs::remove_dir_all(&making));
    path
}

fn encrypt(folder: &Path, run_as: RunAs) -> Authority {
    let authority = Authority::new(&folder.join("ca.pem"), "the authority of a test");
    let server = authority.issue(&["localhost", "127.0.0.1"]);
    for (name, content) in [("server.crt", server.certificate), ("server.key", server.key)] {
        fs::write(folder.join(name), content).unwrap();
        run_as.own(&folder.join(name));
    }
    authority
}
