//! Scenarios and judgements that the tests of this module share.

use std::time::Duration;

use crate::id::ScenarioId;
use crate::scenario::{
    CodeBlock, Entry, EvidenceItem, FrontMatter, Precondition, Scenario, ScenarioSet, Visibility,
};
use crate::verdict::{Attempt, Ending, GateResult, GateStatus, Judged, of_ending};

/// One canary for each part of a scenario that no agent may see.
pub(crate) const CANARIES: [&str; 5] =
    ["EVAL-1c9e44", "CRIT-2d8f55", "PREC-3e7a66", "EVID-4f6b77", "ENVV-5a5c88"];

fn entry(id: &str, code: &str) -> Entry {
    Entry {
        id: ScenarioId::parse(id).unwrap(),
        name: format!("Product {id}"),
        file: format!("scenarios/{id}.md"),
        category: "cli".to_owned(),
        scenario: Ok(Box::new(Scenario {
            preconditions: Vec::new(),
            expectation: format!("The product {id}."),
            evaluation: vec![CodeBlock { code: code.to_owned(), line: 9 }],
            pass_criteria: String::new(),
            criteria: Vec::new(),
            evidence: Vec::new(),
            front: FrontMatter::default(),
        })),
    }
}

/// Returns a set of scenarios from ids and evaluations.
pub(crate) fn set(scenarios: &[(&str, &str)]) -> ScenarioSet {
    ScenarioSet {
        entries: scenarios.iter().map(|(id, code)| entry(id, code)).collect(),
        diagnostics: Vec::new(),
    }
}

/// Returns one scenario with a canary in each part.
pub(crate) fn rich_set() -> ScenarioSet {
    let mut set = set(&[("adds", "taskli add EVAL-1c9e44\n")]);
    let scenario = set.entries[0].scenario.as_mut().unwrap();
    scenario.pass_criteria = "Exit 0 and CRIT-2d8f55 is shown.".to_owned();
    scenario.preconditions = vec![Precondition {
        text: "check: `test -e PREC-3e7a66`".to_owned(),
        check: Some("test -e PREC-3e7a66".to_owned()),
        line: 5,
    }];
    scenario.evidence =
        vec![EvidenceItem { text: "`EVID-4f6b77`".to_owned(), paths: vec!["EVID-4f6b77".into()] }];
    scenario.front.env.insert("TOKEN".to_owned(), "ENVV-5a5c88".to_owned());
    set
}

/// Returns what came of one attempt that ended so and wrote `stderr`.
pub(crate) fn judged(set: &ScenarioSet, id: &str, ending: Ending, stderr: &str) -> Judged {
    let entry = set.entries.iter().find(|entry| entry.id.as_str() == id).unwrap();
    let verdict = of_ending(&ending);
    let attempt = Attempt::new(ending, "", stderr, Duration::from_millis(2_400));
    Judged { weight: 1.0, critical: false, ..Judged::of(entry, verdict, vec![attempt]) }
}

/// Returns a gate that ended so and wrote `output`.
pub(crate) fn gate(name: &str, status: GateStatus, output: &str) -> GateResult {
    GateResult {
        name: name.to_owned(),
        status,
        duration: Duration::from_millis(700),
        output: output.to_owned(),
        output_bytes: output.len() as u64,
    }
}

/// Makes the scenario `id` readable by the agent.
pub(crate) fn publish(set: &mut ScenarioSet, id: &str) {
    let entry = set.entries.iter_mut().find(|entry| entry.id.as_str() == id).unwrap();
    entry.scenario.as_mut().unwrap().front.visibility = Visibility::Public;
}
