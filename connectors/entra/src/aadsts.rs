//! The sign-in service's refusals in a person's words.
//!
//! Source of the codes: <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>.

use muster_connector::Error;

use crate::error::{setting, shorten};

/// What a refusal asks of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It may go better in a moment.
    Transient,
    /// A person must change something that belongs to this setting.
    Setting(&'static str),
    /// A person must change something in the tenant.
    Tenant,
}

struct Known {
    codes: &'static [u32],
    meaning: Meaning,
    problem: &'static str,
    fix: &'static str,
}

const REGISTRATION: &str = "Entra admin center > App registrations > the app";

const KNOWN: &[Known] = &[
    Known {
        codes: &[7_000_215],
        meaning: Meaning::Tenant,
        problem: "the client secret is wrong",
        fix: "put the secret's Value (not its Secret ID) where client_secret points; if it is lost, make a new one under Certificates & secrets of the app registration",
    },
    Known {
        codes: &[7_000_222],
        meaning: Meaning::Tenant,
        problem: "the client secret has expired",
        fix: "make a new one under Certificates & secrets of the app registration and put its Value where client_secret points",
    },
    Known {
        codes: &[7_000_218],
        meaning: Meaning::Tenant,
        problem: "the sign-in service saw no credential",
        fix: "check that client_secret or certificate is set, and that no proxy removes the request's body",
    },
    Known {
        codes: &[700_027, 50_012],
        meaning: Meaning::Tenant,
        problem: "the sign-in service does not accept the certificate",
        fix: "upload the certificate of certificate.certificate_file under Certificates & secrets > Certificates of the app registration, and check that it has not expired",
    },
    Known {
        codes: &[700_024],
        meaning: Meaning::Tenant,
        problem: "the sign-in assertion is outside its time",
        fix: "set this machine's clock (time synchronisation)",
    },
    Known {
        codes: &[700_030],
        meaning: Meaning::Tenant,
        problem: "the certificate's subject is not authorised for this app",
        fix: "upload the certificate itself under Certificates & secrets > Certificates of the app registration",
    },
    Known {
        codes: &[70_021, 700_211, 700_212, 700_213],
        meaning: Meaning::Tenant,
        problem: "no federated credential of the app matches",
        fix: "compare issuer, subject and audience under Certificates & secrets > Federated credentials",
    },
    Known {
        codes: &[700_016],
        meaning: Meaning::Setting("client_id"),
        problem: "the app is not known in this tenant",
        fix: "compare client_id and tenant with the Overview page of the app registration",
    },
    Known {
        codes: &[7_000_112],
        meaning: Meaning::Tenant,
        problem: "the app is disabled",
        fix: "set Enabled for users to sign in to Yes under Enterprise applications > the app > Properties",
    },
    Known {
        codes: &[90_002],
        meaning: Meaning::Setting("tenant"),
        problem: "the sign-in service does not know the tenant",
        fix: "set tenant to the directory (tenant) id on the Overview page of Microsoft Entra ID; a tenant in a national cloud also needs cloud",
    },
    Known {
        codes: &[90_038],
        meaning: Meaning::Setting("cloud"),
        problem: "the tenant lives in another cloud",
        fix: "set cloud to the tenant's own: global, us_gov, dod or china",
    },
    Known {
        codes: &[9_001_023],
        meaning: Meaning::Setting("tenant"),
        problem: "tenant does not name one tenant",
        fix: "set tenant to the directory (tenant) id on the Overview page of Microsoft Entra ID",
    },
    Known {
        codes: &[70_011, 1_002_012],
        meaning: Meaning::Setting("cloud"),
        problem: "the sign-in service does not know the Graph of this cloud",
        fix: "set cloud to the one that authority belongs to",
    },
    Known {
        codes: &[500_011],
        meaning: Meaning::Setting("cloud"),
        problem: "Microsoft Graph is not known in this tenant",
        fix: "check cloud; an administrator who signs in to Graph Explorer once makes Graph known",
    },
    Known {
        codes: &[900_144],
        meaning: Meaning::Tenant,
        problem: "the sign-in service misses a part of the request",
        fix: "check client_id, and that no proxy changes the request",
    },
    Known {
        codes: &[53_003, 530_035],
        meaning: Meaning::Tenant,
        problem: "a Conditional Access policy blocks the app",
        fix: "exclude the app (workload identity) from the policy, or allow this network's address in it",
    },
    Known {
        codes: &[90_006, 90_012, 90_024, 90_033, 90_090, 90_055],
        meaning: Meaning::Transient,
        problem: "the sign-in service is busy",
        fix: "nothing; it is asked again",
    },
];

/// What these codes ask of us.
pub(crate) fn meaning(codes: &[u32]) -> Option<Meaning> {
    find(codes).map(|(_, known)| known.meaning)
}

fn find(codes: &[u32]) -> Option<(u32, &'static Known)> {
    codes.iter().find_map(|code| KNOWN.iter().find(|known| known.codes.contains(code)).map(|known| (*code, known)))
}

/// The refusal as the host's error. `error` is OAuth's code, `description` the service's own text with
/// everything secret removed, `trace` what Microsoft's support asks for.
pub(crate) fn explain(codes: &[u32], error: &str, description: &str, trace: Option<&str>) -> Error {
    let trace = trace.map(|trace| format!(", trace id {}", shorten(trace))).unwrap_or_default();
    match find(codes) {
        Some((code, known)) => {
            let problem = format!("{} (AADSTS{code}{trace})", known.problem);
            match known.meaning {
                Meaning::Setting(name) => setting(name, problem, known.fix),
                Meaning::Tenant => Error::Credentials { problem, fix: known.fix.to_owned() },
                Meaning::Transient => crate::error::unreachable(problem),
            }
        }
        None => {
            let code = codes.first().map(|code| format!("AADSTS{code}, ")).unwrap_or_default();
            Error::Credentials {
                problem: format!(
                    "the sign-in service refused the app ({code}{}{trace}): {}",
                    shorten(error),
                    shorten(description)
                ),
                fix: format!("compare tenant, client_id and the credential with {REGISTRATION}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_known_once() {
        let mut codes: Vec<u32> = KNOWN.iter().flat_map(|known| known.codes).copied().collect();
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
    }

    #[test]
    fn the_guide_explains_every_code() {
        let guide = include_str!("../../../docs/entra.md");
        for code in KNOWN.iter().flat_map(|known| known.codes) {
            // One row names the first and the last of a range.
            assert!(guide.contains(&code.to_string()) || *code == 700_212, "AADSTS{code}");
        }
    }

    #[test]
    fn names_the_setting_and_the_place() {
        let cases = [(700_016, Some("client_id")), (90_002, Some("tenant")), (90_038, Some("cloud"))];
        for (code, expected) in cases {
            match explain(&[code], "invalid_request", "", Some("t")) {
                Error::Configuration { setting, problem, .. } => {
                    assert_eq!(setting.as_deref(), expected);
                    assert!(problem.contains(&format!("AADSTS{code}")), "{problem}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(explain(&[7_000_222], "invalid_client", "", None), Error::Credentials { .. }));
        assert!(matches!(explain(&[1], "invalid_client", "what", None), Error::Credentials { .. }));
    }
}
