//! What people are told of a turn's receipt, in a line.

use crate::event::{Leak, Receipt};
use crate::text::{one_line, visible};

/// Returns what a receipt comes to: what was searched, and that nothing was found or what was.
pub(super) fn receipt_line(receipt: &Receipt) -> String {
    match receipt.contamination() {
        Some((place, Leak { scenario, item })) => format!(
            "contaminated: the evaluation of `{scenario}` was found in the {place} ({}); nothing of the turn is \
             accepted",
            one_line(&visible(item), 200)
        ),
        None => {
            let places: Vec<String> =
                receipt.searched.iter().map(|searched| searched.place.to_string()).collect();
            let places = places.join(", ");
            let denied: Vec<&str> = receipt
                .contacted
                .iter()
                .filter(|one| one.outcome == "denied" && !one.host.is_empty())
                .map(|one| one.host.as_str())
                .collect();
            let denied = match denied.as_slice() {
                [] => String::new(),
                hosts => {
                    let hosts = one_line(&visible(&hosts.join(", ")), 200);
                    format!("; asked for {hosts}, which `network.allow` does not name")
                }
            };
            format!("tier {}; nothing of the exam in {places}{denied}", receipt.tier)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Digests, Place, Searched, Tier};
    use crate::id::{Digest, RunId, ScenarioId};

    #[test]
    fn a_receipt_is_told_in_a_line() {
        let digest = || Digest::of(b"");
        let digests = Digests {
            frozen: digest(),
            holdout: digest(),
            settings: digest(),
            prompt: digest(),
            factory: digest(),
            agent: None,
        };
        let mut receipt =
            Receipt::begin(RunId::parse("r").unwrap(), Tier::Copy, (1, 1), Vec::new(), digests);
        for place in [Place::Prompt, Place::Stream] {
            receipt.searched.push(Searched { place, items: 1, bytes: Some(1), found: Vec::new() });
        }
        assert_eq!(receipt_line(&receipt), "tier copy; nothing of the exam in prompt, stream");
        let item = "evil\n.py".to_owned();
        receipt.searched[1].found.push(Leak { scenario: ScenarioId::for_file("a"), item });
        let told = "contaminated: the evaluation of `a` was found in the stream (evil .py); nothing of the turn \
                    is accepted";
        assert_eq!(receipt_line(&receipt), told);
    }
}
