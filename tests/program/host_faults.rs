//! What may happen to the machine that Muster runs on: processes end without warning, disks are full, files are torn,
//! limits are narrow, clocks leap.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use muster_testkit::Postgres;

use crate::oracle::{Target, World, small};
use crate::running::Running;

/// A small generator of its own, so that a printed number repeats a history of kills.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }
}

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Ends the program at random moments, now and then before it has recovered from the time before.
async fn chaos(mut world: World<'_>, kills: u64, chance: &mut Chance, name: &str) {
    // How long an undisturbed load takes here, so that kills fall anywhere in it.
    let mut longest = Duration::from_millis(400);
    let mut ended = 0;
    for number in 0..kills {
        let context = format!("{name}, kill {number}");
        let full =
            if number > 0 && chance.below(3) == 0 { &["sync", "staff", "--full"][..] } else { &["sync", "staff"] };
        let pause = Duration::from_micros(chance.below(u64::try_from(longest.as_micros()).unwrap()));
        match world.program.kill_within(pause, full) {
            Some(whole) => longest = whole,
            None => ended += 1,
        }
        if chance.below(2) == 0 {
            world.until_quiet(&context);
            world.assert_right(&context).await;
            world.directory().churn(40);
        } else {
            world.directory().churn(10);
        }
    }
    world.until_quiet(name);
    world.assert_right(name).await;
    assert!(ended > 0, "{name}: no kill came before the program's own end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_at_random_moments_everybody_arrives_once() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = number_of("MUSTER_CHAOS_SEED").unwrap_or(u64::from(now.subsec_nanos()));
    let kills = number_of("MUSTER_CHAOS_KILLS").unwrap_or(14);
    eprintln!("MUSTER_CHAOS_SEED={seed} MUSTER_CHAOS_KILLS={kills}");
    let mut chance = Chance(seed);
    let server = Postgres::start();
    let world = World::postgres(small(400), &server, "chaos", server.port()).await;
    chaos(world, kills / 2, &mut chance, "PostgreSQL").await;
    chaos(World::sqlite(small(400), "").await, kills.div_ceil(2), &mut chance, "SQLite").await;
}

fn state_files(world: &World<'_>) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|ending| world.program.path(&format!("muster.state.db{ending}")))
}

fn garble(path: &Path, from: usize, length: usize) {
    let mut bytes = fs::read(path).unwrap();
    let end = (from + length).min(bytes.len());
    assert!(from < end, "{} has {} bytes only", path.display(), bytes.len());
    bytes[from..end].fill(0xa5);
    fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_torn_state_is_refused_and_never_read_as_empty() {
    let mut world = World::sqlite(small(300), "").await;
    world.sync("the first load", &[]);
    let [state, ..] = state_files(&world);
    // Nothing of it in the log, which would make up for what the file has lost.
    Target::Sqlite(state.clone()).execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let good = fs::read(&state).unwrap();
    let end = world.target.journal_end().await;
    // A page that is in use; any other may be free, and nothing is lost with it.
    let root = "SELECT (rootpage - 1) * (SELECT page_size FROM pragma_page_size) FROM sqlite_schema WHERE name = 'source_object'";
    let page = Target::Sqlite(state.clone()).number(root).await;
    let cut = |length: usize| fs::write(&state, &good[..length]).unwrap();
    let damages: [(&str, &dyn Fn()); 6] = [
        ("cut in half", &|| cut(good.len() / 2)),
        ("the last page is missing", &|| cut(good.len() - 4_096)),
        ("only the head is there", &|| cut(100)),
        ("the head is garbage", &|| garble(&state, 0, 100)),
        ("the second half is garbage", &|| garble(&state, good.len() / 2, good.len())),
        ("one page of the middle is garbage", &|| garble(&state, page, 4_096)),
    ];
    for (what, damage) in damages {
        world.directory().churn(5);
        damage();
        let ran = world.run(&["sync", "staff", "--full"]);
        assert_eq!(ran.code, Some(4), "{what}: {}{}", ran.out, ran.err);
        let named = if what == "the head is garbage" { "is not a Muster state" } else { "backup" };
        for part in ["muster.state.db", named] {
            assert!(ran.err.contains(part), "{what}: {part:?} is not said:\n{}", ran.err);
        }
        assert_eq!(world.target.journal_end().await, end, "{what}: something was sent");
        for file in state_files(&world) {
            drop(fs::remove_file(file));
        }
        fs::write(&state, &good).unwrap();
    }
    // The undamaged one goes on as if nothing had been.
    world.until_quiet("afterwards");
    world.assert_right("afterwards").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_torn_log_of_the_state_loses_its_end_and_nothing_else() {
    for what in ["cut in half", "garbage in the middle", "cut within a frame", "missing"] {
        let mut world = World::sqlite(small(300), "").await;
        world.sync(what, &[]);
        // What stands in the file itself was flushed before the log began anew; only the log can be torn.
        let file = Target::Sqlite(world.program.path("muster.state.db"));
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
        world.directory().churn(120);
        // Only a process that is killed leaves a log.
        world.program.set("CRASH_MUSTER_AT", "batch_answered:1");
        assert_eq!(world.run(&["sync", "staff"]).code, None);
        world.program.unset("CRASH_MUSTER_AT");
        let [_, log, index] = state_files(&world);
        let bytes = fs::read(&log).unwrap();
        assert!(bytes.len() > 8_192, "the log has {} bytes only", bytes.len());
        match what {
            "cut in half" => fs::write(&log, &bytes[..bytes.len() / 2]).unwrap(),
            "cut within a frame" => fs::write(&log, &bytes[..bytes.len() - 1_000]).unwrap(),
            "missing" => fs::remove_file(&log).unwrap(),
            _ => garble(&log, bytes.len() / 2, 2_000),
        }
        drop(fs::remove_file(index));
        world.until_quiet(what);
        world.assert_equal(what).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_state_that_cannot_grow_is_said_and_all_arrives_once_it_can() {
    let server = Postgres::start();
    // The limit holds for files, in blocks of 512 bytes; the signal that comes with it is left aside, as a full
    // disk sends none.
    for (number, blocks) in [40, 300].into_iter().enumerate() {
        let context = format!("{blocks} blocks");
        let mut world = World::postgres(small(600), &server, &format!("limited_{number}"), server.port()).await;
        let limits = format!("trap '' XFSZ; ulimit -f {blocks}");
        let mut codes = Vec::new();
        for _ in 0..3 {
            let output = world.program.limited(&limits, &["sync", "staff"]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(4), "{context}: {said}");
            let error = said.lines().find(|line| line.starts_with("error")).unwrap_or_default();
            assert!(error.contains("muster.state.db"), "{context}: {said}");
            codes.push(output.status.code());
        }
        world.until_quiet(&context);
        world.assert_right(&context).await;
    }
}

/// A small file system in memory, unmounted at the end.
struct Small(PathBuf);

impl Small {
    /// `None` where this user may not mount.
    fn mount(at: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let options = format!("size={size},mode=0777");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(at))
    }

    fn grow(&self) {
        let status = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&self.0).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_disk_is_said_and_all_arrives_when_there_is_room() {
    // Full when the state is made, and when it grows.
    for (size, named) in [("64k", "muster.state.db"), ("320k", "`state`")] {
        let mut world = World::sqlite(small(600), "").await;
        let Some(disk) = Small::mount(world.program.path("disk"), size) else {
            eprintln!("no file system may be mounted here; files that cannot grow stand for a full disk");
            return;
        };
        let text = fs::read_to_string(world.program.path("muster.toml")).unwrap();
        world.program.write("muster.toml", &format!("state = \"disk/muster.state.db\"\n{text}"));
        for _ in 0..3 {
            let ran = world.run(&["sync", "staff"]);
            assert_eq!(ran.code, Some(4), "{size}: {}{}", ran.out, ran.err);
            let error = ran.err.lines().find(|line| line.starts_with("error")).unwrap_or_default().to_lowercase();
            assert!(error.contains(named) && error.contains("full"), "{size}: {}", ran.err);
        }
        disk.grow();
        world.until_quiet(size);
        world.assert_right(size).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_target_whose_disk_is_full_is_said_and_filled_when_there_is_room() {
    let mut world = World::sqlite(small(300), "").await;
    let Some(disk) = Small::mount(world.program.path("disk"), "96k") else {
        eprintln!("no file system may be mounted here; nothing else fills a target's disk");
        return;
    };
    fs::copy(world.program.path("app.db"), world.program.path("disk/app.db")).unwrap();
    let text = fs::read_to_string(world.program.path("muster.toml")).unwrap();
    world.program.write("muster.toml", &text.replace("sqlite:app.db", "sqlite:disk/app.db"));
    world.target = Target::Sqlite(world.program.path("disk/app.db"));
    let ran = world.run(&["sync", "staff"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.out, ran.err);
    let error = ran.err.lines().find(|line| line.starts_with("error")).unwrap_or_default();
    assert!(error.contains("\"app\"") && error.contains("full"), "{}", ran.err);
    disk.grow();
    world.until_quiet("a full target");
    world.assert_right("a full target").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_open_files_are_enough() {
    let server = Postgres::start();
    let mut world = World::postgres(small(300), &server, "files", server.port()).await;
    let limits = "ulimit -n 64";
    for arguments in [&["sync", "staff"][..], &["sync", "staff", "--full"]] {
        let output = world.program.limited(limits, arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    world.assert_right("a sync").await;
    let mut service = Running::start_limited(&world.program, limits, "log").await;
    let rows = "SELECT count(*) FROM app_user WHERE remark <> 'foreign'";
    for _ in 0..3 {
        world.directory().join();
        let all = world.directory().user_count();
        service.until("the joiner arrives", async |_| world.target.number(rows).await == all).await;
        for _ in 0..20 {
            assert_eq!(service.health().0, 200);
        }
    }
    service.end();
    world.until_quiet("the service");
    world.assert_right("the service").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_thousand_people_need_less_than_128_mib() {
    let mut options = small(20_000);
    options.page_size = 999;
    let world = World::sqlite(options, "").await;
    for arguments in [&["sync", "staff"][..], &["sync", "staff", "--full"]] {
        let command = &mut world.program.command(arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut most: u64 = 0;
        let ended = loop {
            // The highest mark only grows, so the last look counts.
            let text = fs::read_to_string(&status).unwrap_or_default();
            let mark =
                text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
            most = most.max(mark.unwrap_or(0));
            if let Some(ended) = child.try_wait().unwrap() {
                break ended;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        assert!(ended.success());
        eprintln!("{arguments:?}: {most} KiB");
        assert!(most > 1_000 && most < 128 * 1_024, "{arguments:?}: {most} KiB");
    }
    world.assert_right("twenty thousand").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tenant_whose_clock_leaps_deletes_nobody() {
    let mut world = World::sqlite(small(150), "").await;
    world.sync("the first load", &[]);
    let leaver = world.directory().user_ids()[5].clone();
    world.directory().delete_user(&leaver).unwrap();
    world.until_quiet("a leaver");
    for days in [1, 10, 100] {
        // Links, page tokens and sign-in expire with it.
        world.sandbox.advance_clock(Duration::from_secs(days * 86_400));
        world.directory().churn(30);
        let context = format!("{days} days");
        world.until_quiet(&context);
        world.assert_right(&context).await;
    }
}
