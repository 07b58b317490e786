//! Settings: `dark-factory.yaml`, embedded defaults, the environment, flags.
//!
//! The only module that reads the environment.

mod agents;
mod environment;
mod load;
mod model;
mod python;
mod secrets;

pub use agents::{AGENTS, KnownAgent, agent_names, unknown_effort};
pub use environment::{ALLOWED, Audience, Environment, EnvironmentError, PROXIES, Variables};
pub use load::{ConfigError, FILE, Loaded, load, load_at, parse, parse_at, read, subtree_of};
pub use model::{
    Access, AgentSettings, Budget, Config, DeliverySettings, FallbackSettings, FeedbackSettings,
    FixtureScope, FixtureSettings, GateSettings, Isolation, Jobs, Keys, LoginSettings, Network,
    PerDay, PerTurn, PrepareSettings, ReadyPort, ReadySettings, SatisfactionSettings,
    ScenarioSettings, Size, Span, WithoutProgress,
};
pub use python::{
    has_src, python_in_place, python_names, python_packages, python_path, python_start,
    python_start_of,
};
pub use secrets::redaction_of;
