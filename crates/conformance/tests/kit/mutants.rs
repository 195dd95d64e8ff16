//! Faults of a connector, each with the check meant for it.

use muster_conformance::{Status, all, run};
use muster_model::Once;

use crate::system::{SECRET, Stand};

macro_rules! mutants {
    ($($mutant:ident $level:ident $id:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Mutant { $($mutant),* }

        const MUTANTS: &[(Mutant, Once, &str)] = &[$((Mutant::$mutant, Once::$level, $id)),*];
    };
}

mutants! {
    NeverStarts Natural "shape.starts",
    NoSourceSide Natural "shape.sides",
    EnabledByUnknown Natural "shape.enabling_known",
    NoBatches Natural "shape.limits_given",
    SchemaUnstable Natural "shape.schema_stable",
    NoIdentity Natural "shape.identity",
    KeyOfUnknownAttribute Natural "shape.keys_known",
    ReferenceToUnknownType Natural "shape.references_known",
    FindingWithoutFix Natural "shape.check_clean",
    SecretNotMarked Natural "shape.secrets_marked",
    UnknownSettingTaken Natural "shape.unknown_refused",
    CreateWithoutWriting Natural "trip.create_get",
    FindNothing Natural "trip.find",
    FindReversed Natural "trip.find_bulk",
    GetSorted Natural "trip.find_bulk",
    UpdateWithoutWriting Natural "trip.update_one_difference",
    WritesWholeRow Natural "trip.update_one_difference",
    GrowsWithEachWrite Natural "trip.second_apply",
    DeleteForgotten Natural "trip.delete",
    ListedTwice Natural "trip.list",
    PreviewWrites Natural "trip.preview",
    UnicodeDamaged Natural "values.unicode",
    QuotesDoubled Natural "values.injection",
    FindInjected Natural "values.injection",
    CaseFolded Natural "values.case",
    FindIgnoresCase Natural "values.case",
    Trimmed Natural "values.space",
    CutByBytes Natural "values.length",
    TextCut Natural "values.too_long",
    NumbersAsFloats Natural "values.number",
    DecimalsCut Natural "values.number",
    LocalTime Natural "values.time",
    BinaryAsText Natural "values.binary",
    NullsDropped Natural "values.null_clears",
    RequiredIgnored Natural "values.required",
    SetRewritten Natural "values.set_delta",
    SetRepeatFails Natural "values.set_repeat",
    DisableIgnored Natural "values.enabling",
    CreatesTwice Natural "identity.create_twice",
    ExistsNamesAnother Natural "identity.create_twice",
    CreateOverwrites Natural "identity.never_overwrites",
    DeleteOfNothingApplied Natural "identity.delete_twice",
    UpdateMakes Natural "identity.update_missing",
    RenameCopies Natural "identity.rename",
    RenameSwallows Natural "identity.rename_taken",
    KeyOfAnother Natural "identity.generated_key",
    FirstPartOfKeyOnly Natural "identity.composite_key",
    OddKeysCut Natural "identity.odd_keys",
    ExpectedIgnored Natural "identity.other_object",
    ReferenceDropped Natural "references.set",
    CycleRefused Natural "references.cycle",
    DanglingReference Natural "references.missing",
    ReferenceStays Natural "references.removed",
    SecondChangeLost Natural "order.two_batches",
    EveryTenthUpdateLost Natural "order.many",
    OrderLost Natural "order.within_batch",
    BufferedUpdates Natural "order.after_restart",
    AnswerMissing Natural "outcomes.one_each",
    AnsweredTwice Natural "outcomes.one_each",
    ForeignId Natural "outcomes.no_foreign",
    OutcomesRotated Natural "outcomes.right_id",
    RejectedButWritten Natural "outcomes.rejected_alone",
    BatchSpoiled Natural "outcomes.rejected_alone",
    EmptyBatchFails Natural "outcomes.empty",
    CannotDeleteSaysDone Natural "outcomes.unsupported",
    LedgerClaimsAll Ledger "outcomes.asked_only",
    ConfirmsAnything Natural "outcomes.confirmed_only",
    LastRowForgotten Natural "reading.full",
    SourceGetSorted Natural "reading.get",
    PagesByRest Natural "reading.paging_insert",
    PagesByOffset Natural "reading.paging_delete",
    WatermarkAfterData Natural "reading.watermark_first",
    ChangeForgotten Natural "reading.changes",
    DeletesInvisible Natural "reading.changes",
    GapBetweenRounds Natural "reading.chain",
    ReadOnceOnly Natural "reading.repeat",
    SameInstantCut Natural "reading.same_instant",
    ExpiredHonoured Natural "reading.expired",
    FutureHonoured Natural "reading.future",
    ForeignTokenTaken Natural "reading.foreign_token",
    LedgerAfterAnswer Ledger "faults.ledger_tells",
    LedgerWithoutKey Ledger "faults.ledger_tells",
    LedgerKnowsNothing Ledger "faults.ledger_never",
    LedgerForgetsAtOnce Ledger "faults.ledger_kept",
    EpochIgnored Ledger "faults.ledger_epoch",
    CreatesTwiceAfterRestart Natural "faults.natural_create",
    NothingSentIsALie Natural "faults.repeat_update",
    DeleteOfNothingFails Natural "faults.repeat_delete",
    FindsOwnOnly None "faults.found_again",
    OneBehind Natural "faults.repeated_in_order",
    CutAnswerIsSuccess Natural "faults.cut_answer",
    HalfWritten Natural "faults.given_up",
    ClockDecides Natural "faults.clock",
    LastOfFullBatchLost Natural "limits.full_batch",
    OneAtATime Natural "limits.in_flight",
    CancelLocks Natural "limits.cancel",
    EverythingInOnePage Natural "limits.pages",
    MemoryWithoutBound Natural "limits.memory",
    SecretInSchema Natural "secrecy.schema",
    SecretInFinding Natural "secrecy.findings",
    SecretInError Natural "secrecy.errors",
    SecretInPreview Natural "secrecy.previews",
    SecretInLog Natural "secrecy.log",
    PasswordInPreview Natural "secrecy.initial_password",
}

#[tokio::test(start_paused = true)]
async fn a_good_connector_passes_everything_at_every_level() {
    for once in [Once::Ledger, Once::Natural, Once::None] {
        let report = run(&Stand::new(once, None), &Stand::options(&[])).await;
        assert!(report.passed(), "{once:?}\n{report}");
        for check in all() {
            let passed = report.results.iter().any(|one| one.id == check.id && one.status == Status::Passed);
            let of_another_level = match once {
                Once::Ledger => check.id == "faults.natural_create",
                Once::Natural => check.id.starts_with("faults.ledger"),
                Once::None => check.id.starts_with("faults.ledger") || check.id == "faults.natural_create",
            };
            assert_ne!(passed, of_another_level, "{once:?}: {}\n{report}", check.id);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_mutant_fails_the_check_meant_for_it() {
    let mut missed = Vec::new();
    for (mutant, once, id) in MUTANTS {
        let report = run(&Stand::new(*once, Some(*mutant)), &Stand::options(&[id])).await;
        if !report.has_failed(id) {
            missed.push(format!("{mutant:?} passes {id}\n{report}"));
        }
        assert!(!report.to_string().contains(SECRET), "{mutant:?}: the report tells the secret");
        assert!(report.failed().all(|one| match &one.status {
            Status::Failed { problem, transcript } => !problem.is_empty() && transcript.len() < 20,
            _ => false,
        }));
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn every_check_has_a_mutant() {
    let has = |id: &str| MUTANTS.iter().any(|(_, _, meant)| *meant == id);
    let without: Vec<&str> = all().map(|check| check.id).filter(|id| !has(id)).collect();
    assert!(without.is_empty(), "no mutant fails {without:?}");
}
