//! The figures that Claude Code gives of what it used.

use serde_json::Value;

use super::Usage;

/// Reads the tokens of one call of the model.
pub(super) fn of_a_call(usage: &Value) -> Usage {
    let sum = |names: &[&str]| {
        names.iter().filter_map(|name| usage[*name].as_u64()).reduce(u64::saturating_add)
    };
    Usage {
        input_tokens: sum(&[
            "input_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
        ]),
        output_tokens: sum(&["output_tokens"]),
        cached_tokens: sum(&["cache_read_input_tokens"]),
        cache_write_tokens: sum(&["cache_creation_input_tokens"]),
        cost_usd: None,
    }
}

/// Reads what a result event says of the whole turn.
///
/// `modelUsage` goes first: where a budget ended the turn, `usage` is all zeros.
pub(super) fn of_a_turn(result: &Value) -> Usage {
    let sum = |of: &Value, names: &[&str]| {
        names.iter().filter_map(|name| of[*name].as_u64()).reduce(u64::saturating_add)
    };
    let models = result["modelUsage"].as_object().filter(|models| !models.is_empty());
    let tokens = match models {
        Some(models) => models.values().fold(Usage::default(), |usage, model| {
            usage.plus(Usage {
                input_tokens: sum(
                    model,
                    &["inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens"],
                ),
                output_tokens: sum(model, &["outputTokens"]),
                cached_tokens: sum(model, &["cacheReadInputTokens"]),
                cache_write_tokens: sum(model, &["cacheCreationInputTokens"]),
                cost_usd: None,
            })
        }),
        None => of_a_call(&result["usage"]),
    };
    Usage { cost_usd: result["total_cost_usd"].as_f64(), ..tokens }
}
