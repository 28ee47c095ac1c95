//! What is asked: read from a URL, or put together from a pod's own address and port.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The addresses, tried in this order; at least one.
    pub addresses: Vec<SocketAddr>,
    /// The host as it was named, without brackets: what a certificate would be for.
    pub host: String,
    /// Host and port as the `Host` header has them; the port is left out where it is the scheme's own.
    pub authority: String,
}

/// What is asked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A GET.
    Http {
        /// Over TLS, whose certificate is not verified.
        tls: bool,
        /// Where.
        place: Place,
        /// Path and query, as `/healthz?full`.
        path: String,
        /// Whether a redirect to the same host is followed, as the kubelet does.
        follow: bool,
    },
    /// A connection.
    Tcp {
        /// Where.
        place: Place,
    },
    /// `grpc.health.v1.Health/Check`, without TLS.
    Grpc {
        /// Where.
        place: Place,
        /// The service's name; empty: the server as a whole.
        service: String,
    },
    /// A command, run by `sh -c`.
    Exec {
        /// The command line.
        command: String,
    },
}

/// Why a URL is no target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It cannot be read.
    #[error(
        "{found:?}: {wanted}\nhint: write http://HOST:PORT/PATH, https://HOST/PATH, tcp://HOST:PORT or grpc://HOST:PORT/SERVICE"
    )]
    Unreadable {
        /// As it was given.
        found: String,
        /// What is wanted instead.
        wanted: &'static str,
    },
    /// Its host has no address.
    #[error("{host}: no address of this name: {why}\nhint: is it spelt right, and can this machine resolve it?")]
    Unknown {
        /// The host's name.
        host: String,
        /// As the resolver says it.
        why: String,
    },
}

/// A URL in parts, before its host is looked up.
#[derive(Debug, PartialEq, Eq)]
struct Parts<'a> {
    scheme: Scheme,
    host: &'a str,
    port: u16,
    path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    Tcp,
    Grpc,
}

impl Scheme {
    const fn default_port(self) -> Option<u16> {
        match self {
            Scheme::Http => Some(80),
            Scheme::Https => Some(443),
            Scheme::Tcp | Scheme::Grpc => None,
        }
    }
}

fn parts(url: &str) -> Result<Parts<'_>, &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("wanted a URL with a scheme")?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        "tcp" => Scheme::Tcp,
        "grpc" => Scheme::Grpc,
        _ => return Err("wanted the scheme http, https, tcp or grpc"),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("wanted no user in it: a probe sends none");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(inside) => {
            let (host, after) = inside.split_once(']').ok_or("wanted a closing bracket after the address")?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| "wanted an IPv6 address in the brackets")?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or("wanted a port after ]")?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    if host.is_empty() || !host.chars().all(plain) {
        return Err("wanted a host's name or address");
    }
    let port = match port {
        Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().ok().filter(|p| *p > 0).ok_or("wanted a port from 1 to 65535")?
        }
        Some(_) => return Err("wanted a port from 1 to 65535"),
        None => scheme.default_port().ok_or("wanted a port")?,
    };
    let path = path.split('#').next().unwrap_or_default();
    let path = match scheme {
        Scheme::Tcp if !matches!(path, "" | "/") => return Err("wanted no path: a connection has none"),
        Scheme::Tcp => String::new(),
        Scheme::Grpc => path.strip_prefix('/').unwrap_or(path).to_owned(),
        Scheme::Http | Scheme::Https if path.starts_with('/') => path.to_owned(),
        Scheme::Http | Scheme::Https => format!("/{path}"),
    };
    let readable = match scheme {
        Scheme::Http | Scheme::Https => path.parse::<hyper::http::uri::PathAndQuery>().is_ok(),
        Scheme::Tcp | Scheme::Grpc => !path.contains(|c: char| c.is_whitespace() || c.is_control()),
    };
    if !readable {
        return Err("wanted a path without blanks and control characters");
    }
    Ok(Parts { scheme, host, port, path })
}

/// Where a page points to: over TLS or not, where, and which path. `None`: to another host, which is not asked.
///
/// # Errors
/// What is wanted of a location that cannot be read.
pub(super) fn redirected(
    (tls, place, path): &(bool, Place, String),
    location: &str,
) -> Result<Option<(bool, Place, String)>, &'static str> {
    let scheme = if *tls { "https" } else { "http" };
    let base = path.split('?').next().unwrap_or_default();
    let url = if location.contains("://") {
        location.to_owned()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{}{location}", place.authority)
    } else if location.starts_with('?') {
        format!("{scheme}://{}{base}{location}", place.authority)
    } else {
        format!("{scheme}://{}{}/{location}", place.authority, base.rsplit_once('/').map_or("", |(folder, _)| folder))
    };
    let parts = parts(&url)?;
    if !matches!(parts.scheme, Scheme::Http | Scheme::Https) {
        return Err("wanted http or https");
    }
    if !parts.host.eq_ignore_ascii_case(&place.host) {
        return Ok(None);
    }
    let mut addresses = place.addresses.clone();
    addresses.iter_mut().for_each(|a| a.set_port(parts.port));
    let place = Place::new(addresses, parts.host, parts.port, parts.scheme.default_port());
    Ok(Some((parts.scheme == Scheme::Https, place, parts.path)))
}

impl Target {
    /// Reads a URL: `http://host:port/path`, `https://…`, `tcp://host:port`, `grpc://host:port/service`. The host is looked
    /// up once, here: later checks go to the same addresses, as the kubelet's go to the pod's.
    ///
    /// # Errors
    /// When it is no such URL, or its host has no address.
    pub async fn resolve(url: &str) -> Result<Target, TargetError> {
        let parts = parts(url).map_err(|wanted| TargetError::Unreadable { found: url.to_owned(), wanted })?;
        let unknown = |why: String| TargetError::Unknown { host: parts.host.to_owned(), why };
        let found = tokio::net::lookup_host((parts.host, parts.port)).await.map_err(|e| unknown(e.to_string()))?;
        let addresses: Vec<SocketAddr> = found.collect();
        if addresses.is_empty() {
            return Err(unknown("it has none".to_owned()));
        }
        let place = Place::new(addresses, parts.host, parts.port, parts.scheme.default_port());
        Ok(match parts.scheme {
            Scheme::Http => Target::Http { tls: false, place, path: parts.path, follow: true },
            Scheme::Https => Target::Http { tls: true, place, path: parts.path, follow: true },
            Scheme::Tcp => Target::Tcp { place },
            Scheme::Grpc => Target::Grpc { place, service: parts.path },
        })
    }

    /// A GET at this very address, and at no other: a redirect is the answer.
    pub fn http(address: SocketAddr, tls: bool, path: &str) -> Target {
        let scheme = if tls { Scheme::Https } else { Scheme::Http };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Target::Http { tls, place: Place::at(address, scheme), path, follow: false }
    }

    /// A connection to this very address.
    pub fn tcp(address: SocketAddr) -> Target {
        Target::Tcp { place: Place::at(address, Scheme::Tcp) }
    }

    /// A gRPC health check at this very address.
    pub fn grpc(address: SocketAddr, service: &str) -> Target {
        Target::Grpc { place: Place::at(address, Scheme::Grpc), service: service.to_owned() }
    }

    /// Where it is; a command is nowhere.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Target::Http { place, .. } | Target::Tcp { place } | Target::Grpc { place, .. } => Some(place),
            Target::Exec { .. } => None,
        }
    }
}

impl Place {
    fn at(address: SocketAddr, scheme: Scheme) -> Place {
        Place::new(vec![address], &address.ip().to_string(), address.port(), scheme.default_port())
    }

    fn new(addresses: Vec<SocketAddr>, host: &str, port: u16, default: Option<u16>) -> Place {
        let shown =
            if host.parse::<IpAddr>().is_ok_and(|a| a.is_ipv6()) { format!("[{host}]") } else { host.to_owned() };
        let authority = if default == Some(port) { shown } else { format!("{shown}:{port}") };
        Place { addresses, host: host.to_owned(), authority }
    }
}

/// As a URL, or the command.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Http { tls, place, path, .. } => {
                write!(f, "{}://{}{path}", if *tls { "https" } else { "http" }, place.authority)
            }
            Target::Tcp { place } => write!(f, "tcp://{}", place.authority),
            Target::Grpc { place, service } if service.is_empty() => write!(f, "grpc://{}", place.authority),
            Target::Grpc { place, service } => write!(f, "grpc://{}/{service}", place.authority),
            Target::Exec { command } => f.write_str(command),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn read(url: &str) -> (Scheme, &str, u16, String) {
        let Parts { scheme, host, port, path } = parts(url).unwrap();
        (scheme, host, port, path)
    }

    #[test]
    fn a_url_is_read_as_the_kubelet_would_ask_it() {
        assert_eq!(read("http://web:8080/healthz?full#x"), (Scheme::Http, "web", 8080, "/healthz?full".into()));
        assert_eq!(read("http://web"), (Scheme::Http, "web", 80, "/".into()));
        assert_eq!(read("http://web?a=b"), (Scheme::Http, "web", 80, "/?a=b".into()));
        assert_eq!(read("https://[::1]/"), (Scheme::Https, "::1", 443, "/".into()));
        assert_eq!(read("tcp://10.0.0.1:6379"), (Scheme::Tcp, "10.0.0.1", 6379, "".into()));
        assert_eq!(read("grpc://[fe80::1]:9000/shop.v1"), (Scheme::Grpc, "fe80::1", 9000, "shop.v1".into()));
        assert_eq!(read("grpc://web:9000"), (Scheme::Grpc, "web", 9000, "".into()));
    }

    #[test]
    fn a_url_that_cannot_be_asked_says_what_is_wanted() {
        for (url, wanted) in [
            ("web:8080", "scheme"),
            ("ftp://web", "http, https, tcp or grpc"),
            ("http://me:secret@web/", "no user"),
            ("http://", "host"),
            ("http://we b/", "host"),
            ("http://web:0/", "65535"),
            ("http://web:99999/", "65535"),
            ("http://web:+80/", "65535"),
            ("http://[::1/", "bracket"),
            ("http://[web]/", "IPv6"),
            ("http://[::1]80/", "port after"),
            ("tcp://web", "a port"),
            ("tcp://web:80/path", "no path"),
            ("http://web/a b", "blanks"),
        ] {
            let found = parts(url).unwrap_err();
            assert!(found.contains(wanted), "{url}: {found}");
        }
    }

    #[test]
    fn a_redirect_leads_to_the_same_host_or_nowhere() {
        let Target::Http { tls, place, path, .. } = Target::http("10.0.0.7:8080".parse().unwrap(), false, "/a/b?c")
        else {
            unreachable!()
        };
        let from = (tls, place, path);
        for (location, expected) in [
            ("/live", Some("http 10.0.0.7:8080 /live")),
            ("b/", Some("http 10.0.0.7:8080 /a/b/")),
            ("?d", Some("http 10.0.0.7:8080 /a/b?d")),
            ("//10.0.0.7/x", Some("http 10.0.0.7 /x")),
            ("https://10.0.0.7:8443/", Some("https 10.0.0.7:8443 /")),
            ("http://10.0.0.8:8080/", None),
            ("https://login.example/", None),
        ] {
            let found = redirected(&from, location).unwrap();
            let found = found.map(|(tls, p, path)| {
                assert_eq!(p.addresses[0].ip(), from.1.addresses[0].ip());
                format!("{} {} {path}", if tls { "https" } else { "http" }, p.authority)
            });
            assert_eq!(found.as_deref(), expected, "{location}");
        }
        assert!(redirected(&from, "ftp://10.0.0.7/").is_err() && redirected(&from, "http://").is_err());
    }

    #[test]
    fn a_pods_own_address_is_what_its_host_header_names() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (target, host) in [
            (Target::http(at("10.0.0.7:8080"), false, "/live"), "10.0.0.7:8080"),
            (Target::http(at("10.0.0.7:80"), false, "live"), "10.0.0.7"),
            (Target::http(at("[fd00::7]:443"), true, "/"), "[fd00::7]"),
            (Target::grpc(at("[fd00::7]:9000"), ""), "[fd00::7]:9000"),
        ] {
            assert_eq!(target.place().unwrap().authority, host);
        }
        assert_eq!(Target::http(at("10.0.0.7:80"), false, "live").to_string(), "http://10.0.0.7/live");
    }
}
