//! The names of targets as Python strings, made once for each registration: a decision then carries a
//! pointer, and its attributes give out the same string every time.

use std::sync::{PoisonError, RwLock};

use podway::{Forward, TargetId};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// What a forward's target is called. An object of Python, whose count of references is cheaper than an `Arc`'s.
#[pyclass(frozen, module = "podway._podway")]
pub(crate) struct Names {
    pub(crate) target_group: Option<Py<PyString>>,
    pub(crate) service: Option<Py<PyString>>,
    pub(crate) target: Option<Py<PyString>>,
    pub(crate) address: Py<PyString>,
}

/// The names of the targets that were chosen since the last reload.
#[derive(Default)]
pub(crate) struct Cache {
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    /// How many reloads there were.
    epoch: u64,
    /// By the lower half of a target's id, its slot: many targets take turns in one, one at a time.
    names: Vec<Option<(TargetId, Py<Names>)>>,
}

impl Cache {
    /// The names of the target of a forward.
    pub(crate) fn get(
        &self,
        py: Python<'_>,
        router: &podway::Router,
        forward: &Forward,
    ) -> PyResult<Py<Names>> {
        let epoch = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(Some((target, names))) = known.names.get(slot(forward.target))
                && *target == forward.target
            {
                return Ok(names.clone_ref(py));
            }
            known.epoch
        };
        let names = Py::new(py, names(py, router, forward))?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // Names that were read before a reload are not kept after it.
        if known.epoch == epoch {
            let slot = slot(forward.target);
            if known.names.len() <= slot {
                known.names.resize_with(slot + 1, || None);
            }
            if let Some(place) = known.names.get_mut(slot) {
                *place = Some((forward.target, names.clone_ref(py)));
            }
        }
        Ok(names)
    }

    /// Forgets everything: to be called after a reload, which may rename groups.
    pub(crate) fn clear(&self) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.epoch += 1;
        known.names.clear();
    }
}

fn slot(target: TargetId) -> usize {
    target.as_u64() as u32 as usize
}

fn names(py: Python<'_>, router: &podway::Router, forward: &Forward) -> Names {
    let text = |text: String| PyString::new(py, &text).unbind();
    let (group, target) = (router.group(forward.group), router.target(forward.target));
    let (target_group, service) = group.map(|g| (g.name, g.service)).unzip();
    Names {
        target_group: target_group.map(text),
        service: service.flatten().map(text),
        target: target.map(|t| text(t.name())),
        address: text(forward.address.to_string()),
    }
}
