//! One connection for all that a process does one after the other: whoever is done with it gives it back.

use std::cell::RefCell;
use std::ops::Deref;
use std::ops::DerefMut;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;

use rusqlite::Connection;
use rusqlite::MAIN_DB;

/// Device and inode of the file that is open: another one may be in its place by now.
type Identity = (u64, u64);

#[derive(Debug)]
struct Opened {
    connection: Connection,
    file: Option<Identity>,
}

/// Where the connection is while nobody uses it.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf(Rc<RefCell<Option<Opened>>>);

/// A connection that goes back to its shelf.
#[derive(Debug)]
pub(super) struct Lease {
    /// There until it is dropped.
    opened: Option<Opened>,
    shelf: Shelf,
}

impl Shelf {
    /// The connection to this file, when it is here.
    pub(super) fn take(&self, path: &Path) -> Option<Lease> {
        let opened = self.0.take()?;
        (opened.file.is_some() && opened.file == identity(path)).then(|| Lease {
            opened: Some(opened),
            shelf: self.clone(),
        })
    }

    /// The same, when it can be written through.
    pub(super) fn take_writable(&self, path: &Path) -> Option<Lease> {
        let lease = self.take(path)?;
        matches!(lease.is_readonly(MAIN_DB), Ok(false)).then_some(lease)
    }

    /// Takes in a connection to this file that was just opened.
    pub(super) fn lease(&self, connection: Connection, path: &Path) -> Lease {
        Lease {
            opened: Some(Opened {
                connection,
                file: identity(path),
            }),
            shelf: self.clone(),
        }
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let file = path.metadata().ok()?;
    Some((file.dev(), file.ino()))
}

const HELD: &str = "a lease holds its connection until it is dropped";

impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.opened.as_ref().expect(HELD).connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.opened.as_mut().expect(HELD).connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // One that could not even roll back is of no use to the next.
        self.shelf.0.replace(
            self.opened
                .take()
                .filter(|opened| opened.connection.is_autocommit()),
        );
    }
}
