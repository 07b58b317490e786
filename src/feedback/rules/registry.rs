//! The rules, in the order in which they are asked and shown.

use super::{
    Rule, assertion::Assertion, command_not_found::CommandNotFound, crash::Crash,
    gate_failure::GateFailure, missing_file::MissingFile, missing_module::MissingModule,
    permission_denied::PermissionDenied, port_in_use::PortInUse, timeout::Timeout,
};

/// Every rule; fallbacks come last.
pub const RULES: &[&dyn Rule] = &[
    &MissingModule,
    &CommandNotFound,
    &MissingFile,
    &PermissionDenied,
    &PortInUse,
    &Timeout,
    &Assertion,
    &Crash,
    &GateFailure,
];
