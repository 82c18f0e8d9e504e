//! The names of targets as Python strings, made once for each registration: a decision then carries a
//! pointer, and its attributes give out the same string every time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use podway::{Forward, TargetId};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// What a forward's target is called. An object of Python, whose count of references is cheaper than an `Arc`'s.
#[pyclass(frozen, module = "podway._podway")]
pub(crate) struct Names {
    pub(crate) target_group: Py<PyString>,
    pub(crate) service: Option<Py<PyString>>,
    pub(crate) target: Py<PyString>,
    pub(crate) address: Py<PyString>,
}

/// The names of a router's targets. A reload may rename groups and gives slots away again, so each begins with
/// a table of its own; a thread that decides keeps the table that it saw last and locks nothing to read it.
pub(crate) struct Cache {
    known: Mutex<Arc<Known>>,
    /// The address of what `known` holds, to compare and nothing else.
    latest: AtomicUsize,
}

/// By the lower half of a target's id, its slot: many targets take turns in one, one at a time.
pub(crate) struct Known(Box<[Place]>);

/// Of one slot: the target that was met there first, and its names.
type Place = OnceLock<(TargetId, Py<Names>)>;

impl Cache {
    /// For the targets that a router has now.
    pub(crate) fn new(router: &podway::Router) -> Self {
        let known = Arc::new(Known::new(router));
        Cache { latest: AtomicUsize::new(Arc::as_ptr(&known).addr()), known: Mutex::new(known) }
    }

    /// Forgets everything: to be called after a reload.
    pub(crate) fn renew(&self, router: &podway::Router) {
        let known = Arc::new(Known::new(router));
        let address = Arc::as_ptr(&known).addr();
        let mut latest = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *latest, known);
        self.latest.store(address, Ordering::Release);
        drop(latest); // what is dropped now may run code of Python's
        drop(before);
    }

    /// The names of the target of a forward; `None` where a reload has taken it away meanwhile. `seen` holds on
    /// to the table, as does the core's `Output` to its snapshot: what it holds cannot be another table at the
    /// same address.
    #[inline]
    pub(crate) fn get(
        &self,
        py: Python<'_>,
        router: &podway::Router,
        forward: &Forward,
        seen: &mut Option<Arc<Known>>,
    ) -> PyResult<Option<Py<Names>>> {
        let latest = self.latest.load(Ordering::Acquire);
        seen.take_if(|known| Arc::as_ptr(known).addr() != latest);
        let known =
            seen.get_or_insert_with(|| self.known.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let place = known.0.get(slot(forward.target));
        match place.and_then(OnceLock::get) {
            Some((target, names)) if *target == forward.target => Ok(Some(names.clone_ref(py))),
            _ => made(py, router, forward, place),
        }
    }
}

impl Known {
    fn new(router: &podway::Router) -> Self {
        let slots = router.targets().iter().map(|target| slot(target.id) + 1).max();
        Known((0..slots.unwrap_or(0)).map(|_| OnceLock::new()).collect())
    }
}

/// Makes the names of a target and keeps them, where their place is free.
#[cold]
fn made(
    py: Python<'_>,
    router: &podway::Router,
    forward: &Forward,
    place: Option<&Place>,
) -> PyResult<Option<Py<Names>>> {
    let Some(names) = names(py, router, forward) else { return Ok(None) };
    let names = Py::new(py, names)?;
    if let Some(place) = place {
        // Another thread may have been here meanwhile; its names say the same.
        let _ = place.set((forward.target, names.clone_ref(py)));
    }
    Ok(Some(names))
}

fn slot(target: TargetId) -> usize {
    target.as_u64() as u32 as usize
}

fn names(py: Python<'_>, router: &podway::Router, forward: &Forward) -> Option<Names> {
    let text = |text: String| PyString::new(py, &text).unbind();
    let (group, target) = (router.group(forward.group)?, router.target(forward.target)?);
    Some(Names {
        target_group: text(group.name),
        service: group.service.map(text),
        target: text(target.name()),
        address: text(forward.address.to_string()),
    })
}
