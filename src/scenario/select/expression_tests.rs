//! What is read as an expression, how it is printed, and what is said of what can't be read.

use proptest::prelude::*;

use super::*;

/// Checks how an expression is printed, and that this reads the same.
fn check(text: &str, expected: &str) {
    let read = Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(read.to_string(), expected);
    assert_eq!(Expression::parse(expected), Ok(read));
}

/// Checks the error of a text, in which `⟨` and `⟩` stand around what it is about.
fn refused(marked: &str, message: &str, help: &str) {
    let text = marked.replace(['⟨', '⟩'], "");
    let error = Expression::parse(&text).expect_err(marked);
    let mut shown = text.clone();
    shown.insert(error.span.end, '⟩');
    shown.insert(error.span.start, '⟨');
    assert_eq!(shown, marked);
    assert_eq!(error.to_string(), format!("{message} at byte {}", error.span.start));
    assert_eq!(error.help(), help, "{marked}");
}

#[test]
fn an_expression_is_printed_in_one_way() {
    check(" all ( ) ", "all()");
    check("not tag(a)and(slow()or serial())", "!tag(a) & (slow() | serial())");
    check("((slow())) - critical()", "slow() & !critical()");
    check("slow() - (none() | all()) - !serial()", "slow() & !(none() | all()) & !!serial()");
    check("(slow() & serial()) & all()", "(slow() & serial()) & all()");
    check("slow() & serial() | all() & none()", "slow() & serial() | all() & none()");
    check("last(pass, fail, skip, not-run)", "last(satisfied, unsatisfied, skipped, not_run)");
}

#[test]
fn a_pattern_is_quoted_where_it_has_to_be() {
    check("name( Log in )", "name(Log in)");
    check("name(=\"a,b\", ~ 'c', ' d', '')", "name(=\"a,b\", ~c, \" d\", \"\")");
    check(r"name(Don't, 'Don\'t', {a,b}*)", r#"name("Don't", "Don't", "{a,b}*")"#);
    check(r#"name("say \"a\" \\ \n", =a\)\,\b)"#, r#"name("say \"a\" \\ \\n", ="a),\\b")"#);
    check(r"name(a\*b, /x\/y\d/, /[)(]/)", r#"name("a\\*b", /x\/y\d/, /[)(]/)"#);
}

#[test]
fn what_was_expected_is_said_with_its_place() {
    let predicate = "expected a predicate such as `tag(smoke)`, `!` or `(`, found";
    refused("⟨⟩", &format!("{predicate} the end"), "");
    refused("slow() &⟨⟩", &format!("{predicate} the end"), "");
    refused("⟨and⟩ slow()", &format!("{predicate} `and`"), "");
    refused("(⟨)⟩", &format!("{predicate} `)`"), "");
    refused("slow() & ⟨é⟩(x)", "unknown predicate `é`", &all_predicates());
    refused("slow() ⟨serial⟩()", "expected `&`, `|`, `-` or the end, found `serial`", "");
    refused(
        "slow() ⟨AND⟩ serial()",
        "expected `&`, `|`, `-` or the end, found `AND`",
        "did you mean `and`?",
    );
    refused("slow()⟨)⟩", "expected `&`, `|`, `-` or the end, found `)`", "");
    refused("(slow()⟨⟩", "expected `&`, `|`, `-` or `)`, found the end", "");
    refused("tag⟨⟩", "expected `(`, found the end", "");
    refused("tag(⟨)⟩", "expected a pattern, found `)`", "");
    refused("tag(a, ⟨)⟩", "expected a pattern, found `)`", "");
    refused("tag(a⟨⟩", "expected `,` or `)`, found the end", "");
    refused("tag(\"a\" ⟨b⟩)", "expected `,` or `)`, found `b`", "");
    refused("slow(⟨⟩", "expected `)`, found the end", "");
    refused("last(⟨)⟩", "expected a status such as `failed`, found `)`", "");
}

fn all_predicates() -> String {
    format!("the predicates are `{}`", PREDICATES.join("`, `"))
}

#[test]
fn the_word_that_was_meant_is_offered() {
    refused("⟨catgory⟩(x)", "unknown predicate `catgory`", "did you mean `category`?");
    refused("slow() | ⟨Tag⟩ (x)", "unknown predicate `Tag`", "did you mean `tag`?");
    refused("⟨smoke⟩", "unknown predicate `smoke`", "write `name(smoke)` or `tag(smoke)`");
    refused("last(⟨faild⟩)", "unknown status `faild`", "did you mean `failed`?");
    refused("slow(⟨x⟩)", "`slow()` takes no pattern", "write `slow()`");
}

#[test]
fn a_pattern_that_can_not_be_used_is_told_with_its_reason() {
    let quotes = "write the text itself in quotes: `=\"...\"`";
    refused("name(Log in ⟨(⟩twice))", "`(` in a pattern without quotes", quotes);
    refused("name(⟨\"⟩a)", "this `\"` is not closed", "");
    refused("slow() | name(⟨/⟩a)", "this `/` is not closed", "");
    refused("name(⟨/(/⟩)", "bad regular expression `(`: unclosed group", "");
    let unclosed = "bad glob `[`: unclosed character class; missing ']'";
    refused("name(⟨[⟩)", unclosed, quotes);
}

#[test]
fn no_depth_overflows_the_stack() {
    let deep = |open: &str, close: &str, times: usize| {
        Expression::parse(&format!("{}slow(){}", open.repeat(times), close.repeat(times)))
    };
    // How many levels each opens.
    for (open, close, levels) in
        [("(", ")", 1), ("!", "", 1), ("not ", "", 1), ("!(", ")", 2), ("slow()-(", ")", 2)]
    {
        let most = deep(open, close, MAX_DEPTH / levels).unwrap();
        assert_eq!(Expression::parse(&most.to_string()), Ok(most), "{open}");
        for times in [MAX_DEPTH / levels + 1, 100_000] {
            let error = deep(open, close, times).unwrap_err();
            assert_eq!(error.problem, ExpressionProblem::TooDeep, "{open}");
        }
    }
    assert!(Expression::parse(&"(".repeat(100_000)).is_err());
    let braces = "{".repeat(100_000) + &"}".repeat(100_000);
    assert!(Expression::parse(&format!("tag({braces})")).is_err());
}

#[test]
fn regular_expressions_take_bounded_memory() {
    let error = |text: &str| Expression::parse(text).unwrap_err().to_string();
    let large = r"bad regular expression `\w{1000}`: it is too large when compiled at byte 5";
    assert_eq!(error(r"name(/\w{1000}/)"), large);
    Expression::parse(&format!("tag({})", vec!["/a/"; MAX_REGEXES].join(","))).unwrap();
    let many = format!("tag({})", vec!["/a/"; MAX_REGEXES + 1].join(","));
    assert!(error(&many).starts_with("more than 100 regular expressions"));
}

#[test]
fn width_has_no_limit() {
    let wide = vec!["slow()"; 50_000];
    for sign in [" | ", " & ", " - "] {
        let read = Expression::parse(&wide.join(sign)).unwrap();
        assert_eq!(Expression::parse(&read.to_string()), Ok(read));
    }
    Expression::parse(&format!("tag({})", vec!["a"; 50_000].join(","))).unwrap();
}

/// Texts that are expressions, of all that the language has.
fn expression() -> impl Strategy<Value = String> {
    let pattern = prop_oneof![
        "[=~]?[a-z][a-z *?]{0,4}",
        "[=~]?\"([^\"\\\\\\[\\]{}]|\\\\\"){0,6}\"",
        "[=~] ?'[^'\\\\\\[\\]{}]{0,6}'",
        "/[a-z.|^$]{0,6}(\\\\/)?[a-z]{0,2}/",
        Just("{a,b}\\)".to_owned()),
    ];
    let field = "name|id|category|tag|file";
    let leaf = prop_oneof![
        "(all|none|slow|serial|critical) ?\\( ?\\)",
        "last\\((passed|failed|not-run|flaky|none)(, ?skip)?\\)",
        (field, proptest::collection::vec(pattern, 1..3))
            .prop_map(|(field, patterns)| format!("{field}({})", patterns.join(","))),
    ];
    leaf.prop_recursive(5, 24, 3, |inner| {
        let sign = prop_oneof![Just(" & "), Just("|"), Just(" - "), Just(" and "), Just(" or ")];
        prop_oneof![
            inner.clone().prop_map(|text| format!("({text})")),
            inner.clone().prop_map(|text| format!("!{text}")),
            inner.clone().prop_map(|text| format!("not {text}")),
            (inner.clone(), sign, inner).prop_map(|(a, sign, b)| format!("{a}{sign}{b}")),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(text in expression()) {
        let read = Expression::parse(&text).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
        prop_assert_eq!(Expression::parse(&read.to_string()), Ok(read));
    }

    #[test]
    fn any_text_is_read_or_refused_with_a_place_in_it(
        text in prop_oneof![
            "\\PC{0,40}",
            "([a-z()!&|,=~/\"'\\\\{}\\[\\]*. -]|name\\(|last\\(|slow\\(\\)|not ){0,30}",
        ]
    ) {
        match Expression::parse(&text) {
            Ok(read) => prop_assert_eq!(Expression::parse(&read.to_string()), Ok(read)),
            Err(error) => {
                prop_assert!(text.get(error.span.clone()).is_some(), "{:?}", error);
                let _ = error.help();
            }
        }
    }
}
