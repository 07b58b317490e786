//! Words that are a language's, a shell's or everybody's, and so tell nothing of a scenario.
//!
//! Small lists on purpose: what a failure is called, what reports it, and what programs are run
//! with. A word that only some product has belongs to none of them.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::view::{Reading, hash, view};

/// What scenarios of any product say, as the filtered view has it.
const ORDINARY: &[&str] = &[
    "--force",
    "--help",
    "--json",
    "--quiet",
    "--verbose",
    "--version",
    "-euo",
    "/dev/null",
    "/tmp/",
    "0.0.0.0",
    "0644",
    "0755",
    "1000",
    "1024",
    "127.0.0.1",
    "8000",
    "8080",
    "args",
    "base64",
    "bash",
    "c.utf-8",
    "echo",
    "error",
    "exit",
    "expected",
    "failed",
    "false",
    "grep",
    "home",
    "http",
    "http://",
    "https",
    "https://",
    "iso-8859-1",
    "iso8601",
    "json",
    "latin-1",
    "latin1",
    "localhost",
    "main",
    "make",
    "name",
    "none",
    "null",
    "path",
    "pythonpath",
    "sha-256",
    "sha256",
    "sha256sum",
    "sha512",
    "sha512sum",
    "stderr",
    "stdin",
    "stdout",
    "test",
    "text",
    "tmpdir",
    "true",
    "usage",
    "utf-16",
    "utf-8",
    "utf16",
    "utf8",
    "value",
    "warning",
    "x86_64",
    "yaml",
];

/// Python's exceptions, keywords, and the modules of its library that failures name.
const PYTHON: &[&str] = &[
    "__init__",
    "__main__",
    "and",
    "argparse",
    "arithmeticerror",
    "as",
    "assert",
    "assertionerror",
    "asyncio",
    "attributeerror",
    "baseexception",
    "blockingioerror",
    "brokenpipeerror",
    "calledprocesserror",
    "class",
    "connectionerror",
    "connectionrefusederror",
    "connectionreseterror",
    "dataclasses",
    "def",
    "deprecationwarning",
    "eoferror",
    "except",
    "exception",
    "fileexistserror",
    "filenotfounderror",
    "float32",
    "float64",
    "floatingpointerror",
    "for",
    "from",
    "futurewarning",
    "if",
    "import",
    "importerror",
    "importlib",
    "in",
    "indentationerror",
    "indexerror",
    "int32",
    "int64",
    "is",
    "isadirectoryerror",
    "jsondecodeerror",
    "keyboardinterrupt",
    "keyerror",
    "lambda",
    "lookuperror",
    "memoryerror",
    "modulenotfounderror",
    "multiprocessing",
    "nameerror",
    "not",
    "notadirectoryerror",
    "notimplementederror",
    "or",
    "os",
    "oserror",
    "overflowerror",
    "pathlib",
    "permissionerror",
    "print",
    "processlookuperror",
    "py",
    "pytest",
    "python",
    "python3",
    "raise",
    "recursionerror",
    "resourcewarning",
    "return",
    "runpy",
    "runtimeerror",
    "runtimewarning",
    "self",
    "stopiteration",
    "subprocess",
    "syntaxerror",
    "syntaxwarning",
    "sys",
    "systemerror",
    "systemexit",
    "threading",
    "timeouterror",
    "timeoutexpired",
    "traceback",
    "try",
    "typeerror",
    "uint16",
    "uint32",
    "uint64",
    "uint8",
    "unboundlocalerror",
    "unicodedecodeerror",
    "unicodeencodeerror",
    "unicodeerror",
    "unittest",
    "urllib",
    "userwarning",
    "valueerror",
    "with",
    "zerodivisionerror",
];

/// Node's errors, keywords and modules.
const NODE: &[&str] = &[
    "aggregateerror",
    "async",
    "await",
    "child_process",
    "console",
    "const",
    "err_assertion",
    "err_invalid_arg_type",
    "err_module_not_found",
    "err_require_esm",
    "evalerror",
    "export",
    "function",
    "javascript",
    "js",
    "let",
    "mjs",
    "module_not_found",
    "new",
    "node",
    "node_modules",
    "npm",
    "of",
    "promise",
    "rangeerror",
    "referenceerror",
    "require",
    "throw",
    "ts",
    "uncaught",
    "undefined",
    "unhandledpromiserejection",
    "urierror",
    "var",
];

/// What Rust's panics and its library's errors are called.
const RUST: &[&str] = &[
    "cargo",
    "expect",
    "fn",
    "int32_t",
    "int64_t",
    "mut",
    "overflow",
    "panicked",
    "parseinterror",
    "result",
    "rs",
    "rust_backtrace",
    "rustc",
    "thread",
    "uint32_t",
    "uint64_t",
    "unreachable",
    "unwrap",
    "utf8error",
];

/// What Go's panics and tests say.
const GO: &[&str] = &[
    "chan",
    "func",
    "go",
    "goroutine",
    "interface",
    "nil",
    "package",
    "panic",
    "runtime",
    "sigsegv",
    "struct",
];

/// Java's exceptions, and the packages that they are in.
const JAVA: &[&str] = &[
    "arithmeticexception",
    "arrayindexoutofboundsexception",
    "caused",
    "classcastexception",
    "classnotfoundexception",
    "concurrentmodificationexception",
    "filenotfoundexception",
    "illegalargumentexception",
    "illegalstateexception",
    "indexoutofboundsexception",
    "ioexception",
    "java",
    "lang",
    "negativearraysizeexception",
    "noclassdeffounderror",
    "nosuchelementexception",
    "nosuchfieldexception",
    "nosuchmethoderror",
    "nosuchmethodexception",
    "nullpointerexception",
    "numberformatexception",
    "outofmemoryerror",
    "runtimeexception",
    "stackoverflowerror",
    "unsupportedoperationexception",
    "util",
];

/// The system's errors and signals.
const SYSTEM: &[&str] = &[
    "eacces",
    "eaddrinuse",
    "econnrefused",
    "econnreset",
    "eexist",
    "eisdir",
    "enoent",
    "enotdir",
    "eperm",
    "epipe",
    "errno",
    "etimedout",
    "sigabrt",
    "sighup",
    "sigint",
    "sigkill",
    "sigpipe",
    "sigterm",
];

/// What languages, shells and systems say of a failure, word for word.
const MESSAGES: &[&str] = &[
    "Address already in use",
    "AssertionError [ERR_ASSERTION]:",
    "Cannot find module",
    "Cannot find package",
    "Connection refused",
    "Exception in thread \"main\" java.lang.",
    "Expected values to be strictly equal:",
    "Is a directory",
    "No module named",
    "No such file or directory",
    "Operation not permitted",
    "Permission denied",
    "TypeError: unsupported operand type(s) for",
    "TypeError: Cannot read properties of undefined (reading",
    "Traceback (most recent call last):",
    "address already in use",
    "assertion `left == right` failed",
    "cannot import name",
    "command not found",
    "index out of range",
    "is not a function",
    "is not callable",
    "is not defined",
    "missing 1 required positional argument:",
    "got an unexpected keyword argument",
    "list index out of range",
    "object has no attribute",
    "module has no attribute",
    "object is not subscriptable",
    "panic: runtime error: index out of range",
    "panic: runtime error: invalid memory address or nil pointer dereference",
    "thread 'main' panicked at",
    "called `Option::unwrap()` on a `None` value",
    "called `Result::unwrap()` on an `Err` value:",
    "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
    "unrecognized arguments:",
];

static WORDS: LazyLock<HashSet<u64>> = LazyLock::new(|| {
    [ORDINARY, PYTHON, NODE, RUST, GO, JAVA, SYSTEM].iter().copied().flatten().map(key).collect()
});

static SAID: LazyLock<Vec<String>> =
    LazyLock::new(|| MESSAGES.iter().map(|message| seen(message)).collect());

/// Returns the hash by which a word is known.
pub(super) fn key(word: &&str) -> u64 {
    hash(&view(word, &[], Reading::Escaped))
}

/// Returns every word of the lists, as the filtered view has it.
pub(super) fn words() -> impl Iterator<Item = u64> {
    WORDS.iter().copied()
}

/// Returns whether a hash is that of a word of the lists.
pub(super) fn is_standard(word: u64) -> bool {
    WORDS.contains(&word)
}

/// Returns whether `run`, as the filtered view has it, is a part of a standard message.
pub(super) fn is_message(run: &str) -> bool {
    SAID.iter().any(|message| message.contains(run))
}

fn seen(text: &str) -> String {
    view(text, &[], Reading::Escaped).iter().map(|seen| seen.c).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_and_as_the_view_has_words() {
        for list in [ORDINARY, PYTHON, NODE, RUST, GO, JAVA, SYSTEM] {
            assert!(list.is_sorted(), "{list:?}");
            assert!(list.iter().all(|word| seen(word) == **word), "{list:?}");
        }
    }

    #[test]
    fn a_part_of_a_message_is_one() {
        assert!(is_message(&seen("No such file")));
        assert!(!is_message(&seen("No such task")));
    }
}
