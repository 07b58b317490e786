//! A key that the sandbox does not hold: the broker adds it to what the agent asks its provider for.

use crate::agent::{Backend, BaseUrl, KeyRoute, variables};
use crate::config::{AgentSettings, Environment, Keys, Network, PROXIES};
use crate::event::Tier;
use crate::wall::broker::Keyed;

use super::{Run, StartError, Walls};

/// What is in the variable in the key's place.
pub(super) const PLACEHOLDER: &str = "held-by-the-factory-0000000000000000";

/// A key, and how the agent finds who adds it.
pub(super) struct Kept {
    /// What the broker is told.
    pub(super) keyed: Keyed,
    /// The variable that holds the placeholder.
    pub(super) variable: &'static str,
    /// The path of the provider's address, behind that of the broker.
    pub(super) path: String,
}

impl Run {
    /// Returns the key that is kept from the agent; none where that is not asked for, or where it logs in
    /// in another way.
    pub(super) fn kept_key(
        &self,
        backend: &dyn Backend,
        settings: &AgentSettings,
        base_url: Option<&BaseUrl>,
    ) -> Option<Kept> {
        if self.frozen.config.network.keys == Keys::Agent {
            return None;
        }
        let names = variables(backend, settings, &self.env);
        let value = |route: &&KeyRoute| {
            let value = self.env.get(route.variable)?.to_str()?;
            let is_his = names.iter().any(|name| name == route.variable);
            (is_his && !value.is_empty()).then(|| value.to_owned())
        };
        let (route, value) =
            backend.key_routes().iter().find_map(|route| Some((route, value(&route)?)))?;
        let provider = BaseUrl::parse(route.provider).ok()?;
        let url = base_url.unwrap_or(&provider);
        let keyed = Keyed {
            origin: url.origin(),
            target: url.host_and_port(),
            header: route.header.to_owned(),
            value: format!("{}{value}", route.word),
            instead_of: vec!["authorization".into(), "x-api-key".into(), "x-goog-api-key".into()],
            curl: self.env.find_program("curl")?,
            env: with_proxies(&self.env),
        };
        Some(Kept { keyed, variable: route.variable, path: url.path().to_owned() })
    }
}

/// Checks that keys can be kept from the agent where that is asked for.
pub(super) fn check_keys(
    network: &Network,
    walls: &Walls,
    env: &Environment,
) -> Result<(), StartError> {
    let why = match network.keys {
        Keys::Agent => return Ok(()),
        Keys::Broker if walls.agent != Tier::Sandbox => "the agent is not in the tier `sandbox`",
        Keys::Broker if !walls.has_namespaces() => {
            "Landlock alone gives the agent no loopback of its own"
        }
        Keys::Broker if env.find_program("curl").is_none() => "`curl` is not installed",
        Keys::Broker => return Ok(()),
    };
    Err(StartError::Keys { why })
}

/// Returns the environment of `curl`: the person's proxies and certificates.
fn with_proxies(env: &Environment) -> crate::config::Variables {
    const CERTIFICATES: [&str; 4] =
        ["SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "CURL_SSL_BACKEND"];
    let names = PROXIES.iter().chain(&CERTIFICATES);
    names.filter_map(|name| Some(((*name).into(), env.get(name)?.to_owned()))).collect()
}
