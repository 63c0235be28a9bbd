//! The servers that are remembered. None of these requests waits for a server on the disk thread.

use crate::domain::remedy::Failure;
use crate::engine::remote::servers::{self, Server};
use crate::engine::{EngineError, remote};
use crate::worker::Event;

use super::Disk;

impl Disk {
    pub(super) fn list_servers(&self) {
        let listed = if remote::IS_BUILT_IN { servers::list() } else { Ok(Vec::new()) };
        let listed = listed.map(|all| all.into_iter().map(|server| server.name).collect());
        self.events.send(Event::Servers(listed.map_err(|error| error.to_string())));
    }

    pub(super) fn try_server(&self, server: Server) {
        let tried = Box::new(server.clone());
        let failed = |failure: Failure| Event::ServerTried(tried, Err(failure.text));
        self.on_own_thread(
            move || Some(Event::ServerTried(Box::new(server.clone()), remote::try_out(&server))),
            failed,
        );
    }

    pub(super) fn add_server(&self, server: Server) -> Result<(), EngineError> {
        servers::add(server)?;
        self.list_servers();
        Ok(())
    }

    pub(super) fn forget_server(&self, name: &str) -> Result<(), EngineError> {
        servers::remove(name)?;
        remote::release(name);
        self.list_servers();
        Ok(())
    }
}
