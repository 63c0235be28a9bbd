//! Servers: the sheet by which one is added, and the list of those that are remembered.

use crate::app::App;
use crate::worker::{DeviceChoice, DeviceReport, Request, Server, Token};

/// The sheet *Add server*.
#[derive(Default)]
pub struct ServerSheet {
    /// The name that the server is to have here.
    pub name: String,
    /// `ID@HOST:PORT` as the server shows it, `relay:ID`, or `ws://HOST:PORT`.
    pub address: String,
    /// The token that the server shows.
    pub token: String,
    /// Whether images may be sent where others on the network can read them.
    pub allows_unencrypted: bool,
    /// What is known of the server that was tried last.
    pub trial: ServerTrial,
}

/// What is known of a server that is to be added.
#[derive(Default)]
pub enum ServerTrial {
    /// Nothing.
    #[default]
    No,
    /// It is being tried.
    Running(Box<Server>),
    /// What was found.
    Done(Box<Server>, Result<DeviceReport, String>),
}

impl ServerSheet {
    /// The server that the fields describe, or what is missing or wrong.
    pub fn server(&self) -> Result<Server, String> {
        let server = Server {
            name: self.name.trim().to_owned(),
            address: self.address.parse()?,
            token: Token(self.token.trim().to_owned()),
            allows_unencrypted: self.allows_unencrypted,
        };
        server.fault().map_or(Ok(server), Err)
    }

    /// The server of the fields with what was found of it; `None` unless it can be used.
    pub fn usable(&self) -> Option<(&Server, &DeviceReport)> {
        match &self.trial {
            ServerTrial::Done(server, Ok(report)) if self.server().is_ok_and(|now| now == **server) => {
                Some((server, report))
            }
            ServerTrial::Done(..) | ServerTrial::Running(_) | ServerTrial::No => None,
        }
    }
}

impl App {
    /// Connects to the sheet's server, to check and measure it.
    pub fn try_server(&mut self) {
        let Some(sheet) = &mut self.server_sheet else { return };
        let Ok(server) = sheet.server() else { return };
        sheet.trial = ServerTrial::Running(Box::new(server.clone()));
        self.ask(Request::TryServer(server));
    }

    /// Remembers the sheet's server, which was tried, and computes on it.
    pub fn add_server(&mut self) {
        let Some((server, _)) = self.server_sheet.as_ref().and_then(ServerSheet::usable) else { return };
        let server = server.clone();
        self.server_sheet = None;
        let choice = DeviceChoice::Server(server.name.clone());
        self.ask(Request::AddServer(server));
        self.choose_device(choice);
    }

    /// Forgets a server. What computed on it computes where it is best on this machine.
    pub fn forget_server(&mut self, name: &str) {
        if self.device_choice == DeviceChoice::Server(name.to_owned()) {
            self.choose_device(DeviceChoice::Auto);
        }
        self.ask(Request::ForgetServer(name.to_owned()));
    }

    pub(super) fn server_tried(&mut self, server: Box<Server>, found: Result<DeviceReport, String>) {
        let Some(sheet) = &mut self.server_sheet else { return };
        // The answer to an earlier sheet is not this one's.
        if matches!(&sheet.trial, ServerTrial::Running(tried) if *tried == server) {
            sheet.trial = ServerTrial::Done(server, found);
        }
    }

    pub(super) fn servers_listed(&mut self, listed: Result<Vec<String>, String>) {
        match listed {
            Ok(names) => self.servers = names,
            Err(reason) => self.notify(reason, true),
        }
    }
}
