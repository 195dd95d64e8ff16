//! Everything that Microsoft Graph may do wrong, in the first read and in later ones: the target ends as the tenant
//! is, and a person hears what is the matter.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use muster_sandbox::Fault;
use muster_testkit::Proxy;
use serde_json::json;
use tokio::task::JoinSet;

use crate::oracle::{World, small};
use crate::support::counts;

/// What a cycle under a fault comes to.
#[derive(Debug, Clone, Copy)]
enum Cycle {
    /// The fault passes within the cycle.
    Done,
    /// It ends with exit code 3 and says all of these; the next cycle, without the fault, goes well.
    Fails(&'static [&'static str]),
}
use Cycle::{Done, Fails};

/// Faults, what a cycle under them comes to, and further settings of the connection.
type Scenario = (&'static str, Cycle, &'static str);

const IMPATIENT: &str = "read_timeout = \"500ms\"";

/// Faults that may strike any page; `PAGE` stands for the first one and one in the middle.
const ON_A_PAGE: &[Scenario] = &[
    ("throttle:retry-after=2,PAGE", Done, ""),
    ("throttle:retry-after=date:3,PAGE", Done, ""),
    ("throttle:retry-after=missing,PAGE", Done, ""),
    ("throttle:retry-after=zero,PAGE", Done, ""),
    // Whoever asks for a year is believed an hour, and nobody waits that long in front of a prompt.
    ("throttle:retry-after=absurd,PAGE", Fails(&["\"entra\"", "Microsoft Graph"]), ""),
    ("error:status=500,PAGE", Done, ""),
    ("error:status=502,PAGE", Done, ""),
    ("error:status=503,retry-after=1,PAGE", Done, ""),
    ("error:status=504,PAGE", Done, ""),
    ("error:status=509,PAGE", Done, ""),
    ("error:status=403,PAGE", Fails(&["\"entra\"", "User.Read.All"]), ""),
    ("stall,PAGE", Done, IMPATIENT),
    ("cut,PAGE", Done, ""),
    ("html,PAGE", Done, ""),
    ("broken-gzip,PAGE", Done, ""),
    ("broken-json,PAGE", Done, ""),
    ("unauthorized,PAGE", Done, ""),
    ("unauthorized:times=0,PAGE", Fails(&["\"entra\"", "token"]), ""),
    ("redirect:to=http://127.0.0.2:9/elsewhere,PAGE", Fails(&["\"entra\"", "127.0.0.2"]), ""),
    ("page-loop,PAGE", Done, ""),
    ("page-loop:times=0,PAGE", Fails(&["\"entra\""]), ""),
    ("replay:times=0,PAGE", Done, ""),
];

/// Faults of sign-in, of page tokens and of whole rounds.
const OTHERS: &[Scenario] = &[
    ("throttle:path=oauth2/v2.0/token,retry-after=1", Done, ""),
    ("error:path=oauth2/v2.0/token,status=503", Done, ""),
    ("html:path=oauth2/v2.0/token", Done, ""),
    ("expired:form=page", Done, ""),
    ("expired:form=page,times=3", Done, ""),
    ("expired:form=page,times=0", Fails(&["\"entra\""]), ""),
    ("throttle:retry-after=1,times=2 error:status=503 cut broken-json", Done, ""),
];

fn faults(text: &str) -> Vec<Fault> {
    text.split(' ').map(|word| word.parse().unwrap_or_else(|error| panic!("{word}: {error}"))).collect()
}

/// A first load or a round of changes under faults.
async fn play(text: String, expected: Cycle, settings: &'static str, first: bool) {
    let context = format!("{text} in the {}", if first { "first load" } else { "changes" });
    let mut world = World::sqlite(small(180), settings).await;
    if !first {
        world.sync(&context, &[]);
        // Several pages of changes.
        world.directory().churn(150);
    }
    world.sandbox.faults().set(faults(&text).into());
    let begun = world.target.number("SELECT count(*) FROM app_user WHERE is_active").await;
    match expected {
        Done => {
            world.sync(&context, &[]);
            assert!(world.sandbox.faults().struck() > 0, "{context}: the fault did not strike");
        }
        Fails(parts) => {
            let ran = world.run(&["sync", "staff"]);
            assert_eq!(ran.code, Some(3), "{context}: {}{}", ran.out, ran.err);
            for part in parts {
                assert!(ran.err.contains(part), "{context}: {part:?} is not said:\n{}", ran.err);
            }
            assert!(world.sandbox.faults().struck() > 0, "{context}: the fault did not strike");
            let active = world.target.number("SELECT count(*) FROM app_user WHERE is_active").await;
            assert!(first || active * 10 > begun * 8, "{context}: {begun} were active, {active} are");
        }
    }
    world.sandbox.faults().clear();
    world.until_quiet(&context);
    world.assert_right(&context).await;
    // Nothing was lost that only a later change would show.
    world.directory().churn(40);
    world.until_quiet(&context);
    world.assert_right(&context).await;
}

/// Runs scenarios, some at a time: most of their time is waiting.
async fn play_all(scenarios: Vec<(String, Cycle, &'static str)>, first: bool) {
    let mut playing = JoinSet::new();
    for (text, expected, settings) in scenarios {
        if playing.len() >= 6 {
            playing.join_next().await.unwrap().unwrap();
        }
        playing.spawn(play(text, expected, settings, first));
    }
    while let Some(played) = playing.join_next().await {
        played.unwrap();
    }
}

/// The scenarios on the first page and on one in the middle.
fn on_pages(middle: u32) -> Vec<(String, Cycle, &'static str)> {
    let mut all = Vec::new();
    for (text, expected, settings) in ON_A_PAGE {
        for after in [0, middle] {
            let place = format!("path=users/delta,after={after}");
            let text = if text.contains(':') { text.to_string() } else { text.replacen(',', ":", 1) };
            all.push((text.replace("PAGE", &place), *expected, *settings));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 12)]
async fn a_first_load_survives_every_fault_on_every_kind_of_page() {
    play_all(on_pages(3), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 12)]
async fn changes_survive_every_fault_on_every_kind_of_page() {
    play_all(on_pages(1), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 12)]
async fn faults_of_sign_in_and_of_whole_rounds_are_survived() {
    for first in [true, false] {
        let all = OTHERS.iter().map(|(text, expected, settings)| ((*text).to_owned(), *expected, *settings));
        play_all(all.collect(), first).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn links_that_expire_three_times_in_a_row_in_all_three_forms() {
    let mut world = World::sqlite(small(180), "").await;
    world.sync("the first load", &[]);
    for form in ["gone", "not-found", "older"] {
        for number in 1..=3 {
            let context = format!("{form}, number {number}");
            let directory = world.directory();
            // Some are purged while no link knows of it, so that only their absence tells.
            directory.churn(30);
            let leaver = directory.user_ids()[20].clone();
            directory.delete_user(&leaver).unwrap();
            directory.purge_user(&leaver).unwrap();
            world.sandbox.faults().set(faults(&format!("expired:form={form}")).into());
            world.sync(&context, &[]);
            assert_eq!(world.sandbox.faults().struck(), 1, "{context}");
            world.until_quiet(&context);
            world.assert_right(&context).await;
            let row = format!("SELECT count(*) FROM app_user WHERE entra_id = '{leaver}' AND NOT is_active");
            assert_eq!(world.target.number(&row).await, 1, "{context}: the purged one is active");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_resync_that_returns_nothing_or_half_disables_nobody() {
    let mut world = World::sqlite(small(180), "").await;
    world.sync("the first load", &[]);
    for (context, faulty) in [
        ("nothing", "expired:form=gone empty:path=users/delta"),
        ("half", "expired:form=gone empty:path=users/delta,after=3"),
    ] {
        world.directory().churn(20);
        world.sync(context, &[]);
        let end = world.target.journal_end().await;
        world.sandbox.faults().set(faults(faulty).into());
        for _ in 0..3 {
            let report = world.sync(context, &[]);
            assert_eq!(report["disabled"], json!(0), "{context}: {report}");
        }
        assert_eq!(world.sandbox.faults().struck(), 2, "{context}");
        let disabled = format!("SELECT count(*) FROM journal WHERE what = 'disable' AND number > {end}");
        assert_eq!(world.target.number(&disabled).await, 0, "{context}");
        // The tenant tells the truth again.
        let report = world.sync(context, &["--full"]);
        assert_eq!(counts(&report), "", "{context}");
        world.assert_right(context).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn while_a_resync_runs_nobody_who_is_there_is_missing() {
    let mut world = World::sqlite(small(300), "").await;
    world.sync("the first load", &[]);
    let active = "SELECT count(*) FROM app_user WHERE is_active AND remark <> 'foreign'";
    let live = world.target.number(active).await;
    let end = world.target.journal_end().await;
    // Slow enough to be looked at while it runs, and begun again in the middle.
    let slow = "expired:form=gone stall:path=users/delta,seconds=1,after=2 expired:form=page,after=2 \
                stall:path=users/delta,seconds=1,after=6";
    world.sandbox.faults().set(faults(slow).into());
    let (over, least, looks) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(usize::MAX)), Arc::new(AtomicUsize::new(0)));
    let watching = {
        let (over, least, looks) = (over.clone(), least.clone(), looks.clone());
        let target = crate::oracle::Target::Sqlite(world.program.path("app.db"));
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                least.fetch_min(target.number(active).await, Ordering::Relaxed);
                looks.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    world.sync("the resync", &[]);
    over.store(true, Ordering::Relaxed);
    watching.await.unwrap();
    assert!(looks.load(Ordering::Relaxed) > 20);
    assert_eq!(world.sandbox.faults().struck(), 4);
    assert_eq!(least.load(Ordering::Relaxed), live, "rows went away while the tenant was read again");
    assert_eq!(world.target.journal_end().await, end, "a resync without changes changed the target");
    world.assert_right("the resync").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn people_who_come_and_go_and_come_again_are_one_row() {
    let mut options = small(120);
    // All that is legal at once: no order, repeats across pages, empty pages.
    options.oddities.repeats_percent = 100;
    options.oddities.empty_pages_percent = 50;
    let mut world = World::sqlite(options, "").await;
    world.sandbox.faults().set(faults("replay:times=0").into());
    world.sync("the first load", &[]);
    let person = world.directory().user_ids()[30].clone();
    let row = format!("SELECT id FROM app_user WHERE entra_id = '{person}'");
    let id = world.target.rows(&row).await;
    for number in 1..=3 {
        let context = format!("time {number}");
        world.directory().delete_user(&person).unwrap();
        world.until_quiet(&context);
        world.assert_right(&context).await;
        world.directory().restore_user(&person).unwrap();
        world.directory().patch_user(&person, &json!({ "department": context })).unwrap();
        world.until_quiet(&context);
        world.assert_right(&context).await;
        // Away and back between two looks.
        world.directory().delete_user(&person).unwrap();
        world.directory().restore_user(&person).unwrap();
        world.until_quiet(&context);
        world.assert_right(&context).await;
    }
    assert_eq!(world.target.rows(&row).await, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_cut_at_any_byte_lose_nothing() {
    let mut world = World::sqlite(small(120), "").await;
    let facts = world.sandbox.facts();
    let port: u16 = facts.authority.rsplit(':').next().unwrap().parse().unwrap();
    let proxy = Proxy::start(port);
    let text = std::fs::read_to_string(world.program.path("muster.toml")).unwrap();
    // Links of pages lead to whatever host was asked, so everything goes through the proxy.
    world.program.write("muster.toml", &text.replace(&format!(":{port}"), &format!(":{}", proxy.port())));
    let mut bytes = 60;
    for round in 0..12 {
        let context = format!("cut after {bytes} bytes");
        let cuts = proxy.cuts();
        proxy.set(muster_testkit::Fault::CutAfterAnswered(bytes));
        world.sync(&context, &["--full"]);
        assert_eq!(proxy.cuts(), cuts + 1, "{context}");
        proxy.heal();
        world.directory().churn(10);
        world.until_quiet(&context);
        world.assert_right(&context).await;
        bytes += 200 + 200 * round;
    }
}
