//! The servers that are remembered, in a file of the user's that nobody else may read.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::address::ServerAddress;
use crate::engine::EngineError;

/// What a client proves with that it may use a server. It is not shown by `{:?}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// A server under the name that it is chosen by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its name here.
    pub name: String,
    /// How it is reached.
    pub address: ServerAddress,
    /// The token that it asks for.
    pub token: Token,
    /// Whether images may be sent to it where others on the network can read them.
    #[serde(default)]
    pub allows_unencrypted: bool,
}

impl Server {
    /// Why this is not a server to remember; `None` if it is one.
    pub fn fault(&self) -> Option<String> {
        if self.name.is_empty()
            || self.name.len() > 40
            || self.name.contains([':', '@'])
            || self.name.trim() != self.name
        {
            return Some("a server's name has 1 to 40 characters, without : and @".to_owned());
        }
        if self.token.0.is_empty() {
            return Some("a server needs its token, which it shows when it starts".to_owned());
        }
        if self.address.is_readable_by_others() && !self.allows_unencrypted {
            return Some(format!(
                "{} is not encrypted: others on the network could read the images that are sent. Start the server without \
                 WebSocket, or allow unencrypted traffic",
                self.address
            ));
        }
        None
    }
}

/// The file that they are in.
fn file() -> Result<PathBuf, EngineError> {
    let folders = directories::ProjectDirs::from("", "", "qualm");
    let folder = folders.ok_or(EngineError::Refused("there is no home folder to remember servers in".to_owned()))?;
    Ok(folder.config_dir().join("servers.json"))
}

/// The servers that are remembered, in the order of their names.
pub fn list() -> Result<Vec<Server>, EngineError> {
    let file = file()?;
    let text = match std::fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(EngineError::file(file)(error)),
    };
    serde_json::from_slice(&text)
        .map_err(|error| EngineError::Refused(format!("{}: {error}; mend the file, or delete it", file.display())))
}

/// The server of this name, or with this id.
pub fn find(name: &str) -> Result<Server, EngineError> {
    let servers = list()?;
    let has_id = |server: &&Server| match &server.address {
        ServerAddress::Direct { id, .. } | ServerAddress::Relayed { id } => *id == name.to_lowercase(),
        ServerAddress::Plain { .. } => false,
    };
    let found = servers.iter().find(|server| server.name == name).or_else(|| servers.iter().find(has_id));
    found.cloned().ok_or_else(|| EngineError::Refused(format!("no server is remembered as `{name}`; add it first")))
}

/// Returns an error if this is not a server to remember.
pub fn check(server: &Server) -> Result<(), EngineError> {
    server.fault().map_or(Ok(()), |fault| Err(EngineError::Refused(fault)))
}

/// Remembers a server, in place of another of the same name.
pub fn add(server: Server) -> Result<(), EngineError> {
    check(&server)?;
    change(|servers| {
        servers.retain(|other| other.name != server.name);
        servers.push(server);
        servers.sort_by(|a, b| a.name.cmp(&b.name));
    })
}

/// Forgets the server of this name.
pub fn remove(name: &str) -> Result<(), EngineError> {
    let found = find(name)?;
    change(|servers| servers.retain(|server| *server != found))
}

/// Changes the servers, one program at a time, and writes their file anew, readable by the user alone.
fn change(how: impl FnOnce(&mut Vec<Server>)) -> Result<(), EngineError> {
    let file = file()?;
    let folder = file.parent().expect("the file is in a folder");
    let locked = || -> std::io::Result<File> {
        std::fs::create_dir_all(folder)?;
        let lock = File::create(file.with_extension("lock"))?;
        lock.lock()?;
        Ok(lock)
    };
    let _lock = locked().map_err(EngineError::file(&file))?;
    let mut servers = list()?;
    how(&mut servers);
    let written = || -> std::io::Result<()> {
        let mut new = tempfile::NamedTempFile::new_in(folder)?;
        new.write_all(&serde_json::to_vec_pretty(&servers)?)?;
        new.as_file().sync_all()?;
        new.persist(&file)?;
        Ok(())
    };
    written().map_err(EngineError::file(&file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(address: &str) -> Server {
        Server {
            name: "lab".to_owned(),
            address: address.parse().unwrap(),
            token: Token("secret".to_owned()),
            allows_unencrypted: false,
        }
    }

    #[test]
    fn what_others_could_read_is_allowed_in_so_many_words() {
        assert_eq!(server("ws://127.0.0.1:1").fault(), None);
        let open = server("ws://192.168.1.7:1");
        assert!(open.fault().unwrap().contains("not encrypted"));
        assert_eq!(Server { allows_unencrypted: true, ..open }.fault(), None);
        assert!(Server { name: "a:b".to_owned(), ..server("ws://127.0.0.1:1") }.fault().is_some());
        assert!(Server { token: Token(String::new()), ..server("ws://127.0.0.1:1") }.fault().is_some());
    }

    #[test]
    fn a_token_is_not_shown() {
        assert!(!format!("{:?}", server("ws://127.0.0.1:1")).contains("secret"));
    }
}
