//! Keeps `schemas/scenario_results.schema.json` true: real results keep to it, and it names
//! nothing that they don't have.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::clock::Timestamp;
use crate::verdict::satisfaction;

use super::results::Results;
use super::scenarios::testing::all;

fn schema() -> Value {
    serde_json::from_str(include_str!("../../schemas/scenario_results.schema.json")).unwrap()
}

fn results() -> Value {
    let judged = all();
    let time = Timestamp::from_unix_millis(1_795_166_100_250);
    let results = Results::new(time, &judged, &satisfaction(&judged), false);
    serde_json::to_value(Results { jobs: Some(2), ..results }).unwrap()
}

/// The words of JSON Schema that `validate` knows, or that ask for nothing.
const KNOWN: [&str; 16] = [
    "$defs",
    "$ref",
    "$schema",
    "additionalProperties",
    "const",
    "description",
    "enum",
    "exclusiveMinimum",
    "format",
    "items",
    "maximum",
    "minimum",
    "properties",
    "required",
    "title",
    "type",
];

/// Notes in `wrong` what of `value` does not keep to `schema`, in `seen` the properties met.
fn validate(
    root: &Value,
    schema: &Value,
    value: &Value,
    at: &str,
    wrong: &mut Vec<String>,
    seen: &mut BTreeSet<String>,
) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.strip_prefix("#/$defs/").unwrap();
        return validate(root, &root["$defs"][name], value, name, wrong, seen);
    }
    for word in schema.as_object().unwrap().keys() {
        assert!(KNOWN.contains(&word.as_str()), "{at}: `{word}` is not checked");
    }
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("{at}: unknown type {other}"),
    };
    let types = &schema["type"];
    let fits = match types.as_array() {
        Some(types) => types.iter().any(|one| is(one.as_str().unwrap())),
        None => is(types.as_str().unwrap_or_else(|| panic!("{at} has no type"))),
    };
    let mut check = |fine: bool, what: &str| {
        if !fine {
            wrong.push(format!("{at}: {what}: {value}"));
        }
    };
    check(fits, "type");
    check(schema.get("const").is_none_or(|only| only == value), "const");
    let among = |list: &Value| list.as_array().unwrap().contains(value);
    check(schema.get("enum").is_none_or(among), "enum");
    if let Some(number) = value.as_f64() {
        let bound = |word: &str| schema[word].as_f64();
        check(bound("minimum").is_none_or(|least| number >= least), "minimum");
        check(bound("maximum").is_none_or(|most| number <= most), "maximum");
        check(bound("exclusiveMinimum").is_none_or(|least| number > least), "exclusiveMinimum");
    }
    if schema["format"] == "date-time" {
        check(value.as_str().is_some_and(|s| s.parse::<Timestamp>().is_ok()), "date-time");
    }
    if let Some(items) = value.as_array() {
        items.iter().for_each(|item| validate(root, &schema["items"], item, at, wrong, seen));
    }
    if let Some(fields) = value.as_object() {
        for name in schema["required"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            if !fields.contains_key(name) {
                wrong.push(format!("{at}: `{name}` is missing"));
            }
        }
        for (name, field) in fields {
            match schema["properties"].get(name) {
                Some(schema) => {
                    seen.insert(format!("{at}.{name}"));
                    validate(root, schema, field, &format!("{at}.{name}"), wrong, seen);
                }
                None => wrong.push(format!("{at}: `{name}` is not in the schema")),
            }
        }
    }
}

fn check(value: &Value) -> (Vec<String>, BTreeSet<String>) {
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    let schema = schema();
    validate(&schema, &schema, value, "results", &mut wrong, &mut seen);
    (wrong, seen)
}

#[test]
fn results_keep_to_the_schema_and_it_names_nothing_else() {
    let (wrong, seen) = check(&results());
    assert_eq!(wrong, [""; 0]);
    let schema = schema();
    let named = |at: &str, one: &Value| -> Vec<String> {
        assert_eq!(one["additionalProperties"], false, "{at}");
        let fields = one["properties"].as_object().unwrap();
        let required: BTreeSet<&str> =
            one["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        for (name, field) in fields {
            assert!(required.contains(name.as_str()), "{at}.{name} always comes");
            assert!(field["description"].is_string(), "{at}.{name} has no description");
        }
        fields.keys().map(|name| format!("{at}.{name}")).collect()
    };
    let mut all: BTreeSet<String> = named("results", &schema).into_iter().collect();
    for (name, one) in schema["$defs"].as_object().unwrap() {
        all.extend(named(name, one));
    }
    assert_eq!(seen, all);
}

#[test]
fn what_is_not_as_it_should_be_is_seen() {
    type Change = (&'static str, fn(&mut Value));
    let changes: [Change; 7] = [
        ("results: `extra` is not", |v| v["extra"] = 1.into()),
        ("results.total: type", |v| v["total"] = "1".into()),
        ("results.schema: const", |v| v["schema"] = 2.into()),
        ("result.verdict: enum", |v| v["results"][0]["verdict"] = "passed".into()),
        ("result.weight: exclusiveMinimum", |v| v["results"][0]["weight"] = 0.into()),
        ("results.timestamp: date-time", |v| v["timestamp"] = "today".into()),
        ("attempt: `leaked` is missing", |v| {
            v["results"][0]["attempts"][0].as_object_mut().unwrap().remove("leaked");
        }),
    ];
    for (expected, change) in changes {
        let mut value = results();
        change(&mut value);
        let (wrong, _) = check(&value);
        assert!(wrong.len() == 1 && wrong[0].starts_with(expected), "{expected}: {wrong:?}");
    }
}
