//! A gate that failed for a reason that no other rule knows.

use super::{Cause, End, Evidence, Rule, code};

/// Says of a failed gate what is known without reading its output.
#[derive(Debug)]
pub(super) struct GateFailure;

impl Rule for GateFailure {
    fn id(&self) -> &'static str {
        "gate-failure"
    }

    fn heading(&self) -> &'static str {
        "Failed gate"
    }

    fn is_fallback(&self) -> bool {
        true
    }

    fn find(&self, evidence: &Evidence<'_>) -> Option<Cause> {
        if !evidence.is_gate {
            return None;
        }
        let name = evidence.name;
        let (detail, advice) = match evidence.end {
            End::TargetGone(target) => (
                format!("gate {}: make target {} is gone", code(name), code(target)),
                "Put the target back as it was; a gate can't be removed.",
            ),
            End::NotRun => return None,
            End::Exit(_) | End::Signal(_) | End::Timeout(_) => (
                format!("gate {}", code(name)),
                "Read its output below from the first error on, and run the gate yourself before \
                 you finish.",
            ),
        };
        Some(Cause::new(self, evidence, &detail, advice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(is_gate: bool, end: End<'_>, detail: &str) {
        let evidence = Evidence { name: "lint", is_gate, end, text: "", hidden: &[] };
        let found = GateFailure.find(&evidence);
        assert_eq!(found.map(|cause| cause.detail).unwrap_or_default(), detail);
    }

    #[test]
    fn a_failed_gate_is_named() {
        check(true, End::Exit(2), "gate `lint`");
        check(true, End::TargetGone("lint"), "gate `lint`: make target `lint` is gone");
    }

    #[test]
    fn a_scenario_is_no_gate() {
        check(false, End::Exit(2), "");
    }
}
