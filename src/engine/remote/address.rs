//! How a server is reached.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a server is reached, written as one word.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ServerAddress {
    /// `ID@HOST:PORT`: QUIC straight to the host, encrypted; the id, a public key, proves that it is the server.
    Direct {
        /// The server's public key, 64 hexadecimal digits.
        id: String,
        /// Its machine's name or address, with the UDP port.
        host: String,
    },
    /// `relay:ID`: the same, found and if need be relayed by the public servers of the iroh project.
    Relayed {
        /// The server's public key.
        id: String,
    },
    /// `ws://HOST:PORT`: WebSocket, which is not encrypted.
    Plain {
        /// The machine's name or address, with the TCP port.
        host: String,
    },
}

impl ServerAddress {
    /// Whether others on the network can read what is sent: WebSocket to another machine.
    pub fn is_readable_by_others(&self) -> bool {
        match self {
            Self::Direct { .. } | Self::Relayed { .. } => false,
            Self::Plain { host } => !is_this_machine(host),
        }
    }
}

/// Whether a host with its port is this machine itself.
fn is_this_machine(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct { id, host } => write!(f, "{id}@{host}"),
            Self::Relayed { id } => write!(f, "relay:{id}"),
            Self::Plain { host } => write!(f, "ws://{host}"),
        }
    }
}

impl From<ServerAddress> for String {
    fn from(address: ServerAddress) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for ServerAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for ServerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let id = |id: &str| {
            let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_id {
                Ok(id.to_lowercase())
            } else {
                Err(format!("a server's id has 64 hexadecimal digits, not `{id}`"))
            }
        };
        let host = |host: &str| match host.rsplit_once(':') {
            Some((name, port)) if !name.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => {
                Ok(host.to_owned())
            }
            Some(_) | None => Err(format!("`{host}` has no port: HOST:PORT is expected")),
        };
        if let Some(at) = text.strip_prefix("ws://") {
            Ok(Self::Plain { host: host(at.trim_end_matches('/'))? })
        } else if let Some(of) = text.strip_prefix("relay:") {
            Ok(Self::Relayed { id: id(of)? })
        } else if let Some((of, at)) = text.split_once('@') {
            Ok(Self::Direct { id: id(of)?, host: host(at)? })
        } else {
            Err("ID@HOST:PORT is expected, as the server shows it, or relay:ID, or ws://HOST:PORT".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        let id = "0a".repeat(32);
        for text in [
            format!("{id}@gpu.local:7741"),
            format!("{id}@[::1]:7741"),
            format!("relay:{id}"),
            "ws://localhost:80".to_owned(),
        ] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().to_string(), text);
        }
        for wrong in ["", "gpu.local:7741", "0a@gpu:1", &id, &format!("{id}@gpu"), "ws://gpu", "ws://gpu:0", "ws://:1"]
        {
            assert!(wrong.parse::<ServerAddress>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn websocket_to_another_machine_can_be_read_by_others() {
        let is_readable = |text: &str| text.parse::<ServerAddress>().unwrap().is_readable_by_others();
        assert!(!is_readable("ws://localhost:1") && !is_readable("ws://127.0.0.1:1") && !is_readable("ws://[::1]:1"));
        assert!(is_readable("ws://192.168.1.7:1") && is_readable("ws://127.0.0.1.example.org:1"));
        assert!(!is_readable(&format!("{}@192.168.1.7:1", "0a".repeat(32))));
    }
}
