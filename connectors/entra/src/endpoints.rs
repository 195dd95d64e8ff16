//! The two hosts that the connector speaks to, and which links may be followed.

use muster_connector::Error;
use url::{Host, Url};

use crate::config::Cloud;
use crate::error::setting;

/// The hosts of one cloud, or what the settings put in their place.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints {
    /// Such as `https://login.microsoftonline.com/`.
    pub(crate) authority: Url,
    /// Such as `https://graph.microsoft.com/v1.0/`.
    pub(crate) graph: Url,
    /// The resource that a token is asked for, such as `https://graph.microsoft.com`.
    pub(crate) resource: &'static str,
}

impl Endpoints {
    pub(crate) fn new(cloud: Cloud, authority: Option<&str>, graph_url: Option<&str>) -> Result<Self, Error> {
        // https://learn.microsoft.com/graph/deployments
        let (login, resource) = match cloud {
            Cloud::Global => ("https://login.microsoftonline.com", "https://graph.microsoft.com"),
            Cloud::UsGov => ("https://login.microsoftonline.us", "https://graph.microsoft.us"),
            Cloud::Dod => ("https://login.microsoftonline.us", "https://dod-graph.microsoft.us"),
            Cloud::China => ("https://login.chinacloudapi.cn", "https://microsoftgraph.chinacloudapi.cn"),
        };
        let graph = graph_url.map_or_else(|| format!("{resource}/v1.0"), str::to_owned);
        Ok(Self {
            authority: base("authority", authority.unwrap_or(login), "https://login.microsoftonline.com")?,
            graph: base("graph_url", &graph, "https://graph.microsoft.com/v1.0")?,
            resource,
        })
    }

    /// An address below the Graph URL. Graph's paths need no escaping, and neither do our queries.
    pub(crate) fn graph(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.graph.clone();
        url.set_path(&format!("{}{path}", self.graph.path()));
        url.set_query(query);
        url
    }

    /// A link that Graph handed out, refused when it leads to another host: the token goes with it.
    pub(crate) fn follow(&self, link: &[u8]) -> Result<Url, Error> {
        let Some(url) = parsed(link) else {
            return Err(Error::Bug("the link to the next page is not a URL".to_owned()));
        };
        if self.is_ours(&url) {
            return Ok(url);
        }
        Err(Error::Bug(format!(
            "the link to the next page leads to {}, but the access token goes to {} only; the page was not asked for",
            origin(&url),
            origin(&self.graph),
        )))
    }

    /// Whether a link that was kept still leads to the configured host.
    pub(crate) fn leads_here(&self, link: &[u8]) -> bool {
        parsed(link).is_some_and(|url| self.is_ours(&url))
    }

    /// What to say of a kept link that leads to another host: the connection was changed since.
    pub(crate) fn moved(&self, link: &[u8]) -> Error {
        let before = parsed(link).map_or_else(|| "an address that cannot be read".to_owned(), |url| origin(&url));
        setting(
            "graph_url",
            format!(
                "the link from which the next changes are read was handed out by {before}, but this connection leads \
                 to {} now; nothing was asked for",
                origin(&self.graph)
            ),
            "set the connection's address back, or run `muster sync SYNC --full` once for each sync that reads it (with \
             the service ended), which starts anew at the new address",
        )
    }

    fn is_ours(&self, url: &Url) -> bool {
        url.scheme() == self.graph.scheme()
            && url.host() == self.graph.host()
            && url.port_or_known_default() == self.graph.port_or_known_default()
            && url.username().is_empty()
            && url.password().is_none()
    }
}

fn parsed(link: &[u8]) -> Option<Url> {
    Url::parse(std::str::from_utf8(link).ok()?).ok()
}

/// Scheme, host and port for a message; never the path or query.
pub(crate) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Whether the host is this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A configured base address, ending in `/`.
fn base(name: &str, text: &str, example: &str) -> Result<Url, Error> {
    let fix = format!("write it like {example:?}");
    let mut url =
        Url::parse(text).map_err(|error| setting(name, format!("{name} is not a URL: {error}"), fix.clone()))?;
    let problem = match url.scheme() {
        "https" => None,
        "http" if is_loopback(&url) => None,
        "http" => Some(format!("{name} begins with http://, which would show the access token to the network")),
        other => Some(format!("{name} has the scheme {other:?}")),
    };
    let problem = problem.or_else(|| {
        let plain = url.query().is_none() && url.fragment().is_none();
        let anonymous = url.username().is_empty() && url.password().is_none();
        (!plain || !anonymous).then(|| format!("{name} has more than scheme, host, port and path"))
    });
    if let Some(problem) = problem {
        return Err(setting(name, problem, fix));
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_links_to_the_configured_host_only() {
        let endpoints = Endpoints::new(Cloud::Global, None, None).unwrap();
        for good in [
            "https://graph.microsoft.com/v1.0/users/delta?$skiptoken=abc",
            "https://GRAPH.microsoft.com:443/v1.0/users/delta?$deltatoken=x_-y",
        ] {
            assert!(endpoints.follow(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "http://graph.microsoft.com/v1.0/users/delta?$skiptoken=abc",
            "https://graph.microsoft.com:8443/v1.0/users/delta",
            "https://graph.microsoft.com.evil.example/v1.0/users/delta",
            "https://graph.microsoft.com@evil.example/v1.0/users/delta",
            "https://user:pw@graph.microsoft.com/v1.0/users/delta",
            "https://graph.microsoft.us/v1.0/users/delta",
            "//evil.example/users/delta",
            "/v1.0/users/delta",
            "",
        ] {
            assert!(matches!(endpoints.follow(bad.as_bytes()), Err(Error::Bug(_))), "{bad}");
        }
        assert!(endpoints.follow(&[0xff, 0xfe]).is_err());
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        let cases = [
            ("http://127.0.0.1:9/v1.0", true),
            ("http://[::1]:9/v1.0/", true),
            ("http://localhost/v1.0", true),
            ("http://graph.example/v1.0", false),
            ("http://127.0.0.1.example/v1.0", false),
            ("ftp://127.0.0.1/", false),
            ("https://graph.example/v1.0?x=1", false),
            ("https://a:b@graph.example/v1.0", false),
            ("graph.example", false),
        ];
        for (text, accepted) in cases {
            assert_eq!(Endpoints::new(Cloud::Global, None, Some(text)).is_ok(), accepted, "{text}");
        }
    }

    #[test]
    fn builds_addresses_below_the_graph_url() {
        let endpoints = Endpoints::new(Cloud::China, None, None).unwrap();
        assert_eq!(
            endpoints.graph("users/delta", Some("$select=id,mail")).as_str(),
            "https://microsoftgraph.chinacloudapi.cn/v1.0/users/delta?$select=id,mail"
        );
    }
}
