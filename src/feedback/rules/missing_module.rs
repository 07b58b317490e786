//! A module, package or name that an import asks for and that is not there.

use std::sync::LazyLock;

use regex::Regex;

use super::{Cause, Evidence, Rule, pattern};

/// Recognises failed imports of Python, node, Rust, Go and Java.
#[derive(Debug)]
pub(super) struct MissingModule;

static NAMES: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"ImportError: cannot import name '([^'\n]+)' from (?:partially initialized module )?'([^'\n]+)'",
    )
});

static MODULES: LazyLock<[Regex; 8]> = LazyLock::new(|| {
    [
        pattern(r"(?:ModuleNotFoundError|ImportError): No module named '?([^'\s;]+)"),
        pattern(
            r"^\S*python[\d.]*(?:\.exe)?: (?:Error while finding module specification for \S+ \(\w+: )?No module named '?([^'\s;]+)",
        ),
        pattern(r"Cannot find (?:module|package) '([^'\n]+)'"),
        pattern(r"unresolved import `([^`\n]+)`"),
        pattern(
            r"(?:can't find crate for|use of (?:undeclared|unresolved|unlinked) (?:crate or module|module or unlinked crate|crate)) `([^`\n]+)`",
        ),
        pattern(
            r"(?:no required module provides package ([^\s;]+)|package (\S+) is not in (?:std|GOROOT))",
        ),
        pattern(r"error: package (\S+) does not exist$"),
        pattern(
            r"(?:ClassNotFoundException|NoClassDefFoundError|Could not find or load main class):? ([\w.$/]+)",
        ),
    ]
});

impl Rule for MissingModule {
    fn id(&self) -> &'static str {
        "missing-module"
    }

    fn heading(&self) -> &'static str {
        "Missing module or import"
    }

    fn find(&self, evidence: &Evidence<'_>) -> Option<Cause> {
        if let Some(names) = evidence.matches(&NAMES).next()
            && let (Some(name), Some(module)) = (names.get(1), names.get(2))
        {
            return Some(Cause::new(
                self,
                evidence,
                format!("name {} of module {}", evidence.told(name), evidence.told(module)),
                "Define the name in that module, or import it from where it is defined; look for \
                 circular imports.",
            ));
        }
        let module = evidence.first_group(&*MODULES)?;
        Some(Cause::new(
            self,
            evidence,
            format!("module {}", evidence.told(module)),
            "Create the module at the path that the specs name, or correct the import; a \
             dependency must be declared where the product's set-up installs it.",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    #[test]
    fn python_names_the_module() {
        check(
            &MissingModule,
            "Traceback (most recent call last):\n  File \"<string>\", line 1, in <module>\n\
             ModuleNotFoundError: No module named 'taskli.store'\n",
            "module `taskli.store`",
        );
        check(&MissingModule, "/usr/bin/python3: No module named taskli\n", "module `taskli`");
        check(
            &MissingModule,
            "/usr/bin/python3: No module named taskli.__main__; 'taskli' is a package and cannot \
             be directly executed\n",
            "module `taskli.__main__`",
        );
        check(
            &MissingModule,
            "ImportError: cannot import name 'Store' from 'taskli.store' (./taskli/store.py)\n",
            "name `Store` of module `taskli.store`",
        );
    }

    #[test]
    fn node_names_the_module() {
        check(
            &MissingModule,
            "node:internal/modules/cjs/loader:1228\n  throw err;\n  ^\n\nError: Cannot find module \
             './store'\nRequire stack:\n- ./index.js\n",
            "module `./store`",
        );
        check(
            &MissingModule,
            "Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'yargs' imported from ./cli.mjs\n",
            "module `yargs`",
        );
    }

    #[test]
    fn rust_names_the_import() {
        check(
            &MissingModule,
            "error[E0432]: unresolved import `crate::store`\n --> src/main.rs:1:5\n",
            "module `crate::store`",
        );
        check(
            &MissingModule,
            "error[E0433]: failed to resolve: use of unresolved module or unlinked crate `serde`\n",
            "module `serde`",
        );
        check(
            &MissingModule,
            "error[E0433]: cannot find module or crate `serde`\nerror[E0463]: can't find crate for \
             `serde`\n",
            "module `serde`",
        );
    }

    #[test]
    fn go_names_the_package() {
        check(
            &MissingModule,
            "main.go:4:2: no required module provides package github.com/spf13/cobra; to add it:\n\
             \tgo get github.com/spf13/cobra\n",
            "module `github.com/spf13/cobra`",
        );
        check(
            &MissingModule,
            "main.go:3:8: package tasklib is not in std (/usr/local/go/src/tasklib)\n",
            "module `tasklib`",
        );
    }

    #[test]
    fn java_names_the_class_or_package() {
        check(
            &MissingModule,
            "Error: Could not find or load main class taskli.Main\nCaused by: \
             java.lang.ClassNotFoundException: taskli.Main\n",
            "module `taskli.Main`",
        );
        check(
            &MissingModule,
            "src/Main.java:1: error: package taskli.store does not exist\n",
            "module `taskli.store`",
        );
    }

    #[test]
    fn talk_of_modules_is_no_cause() {
        check(&MissingModule, "3 modules checked, no module missing\n", "");
    }
}
