//! Models: read from manifests or from JSON, written as JSON.

use super::error::podway_error;
use super::guard::{Failure, explained, quiet};
use super::status::podway_status;
use super::view::{array, copied, podway_str, podway_text};
use crate::error::Diagnostic;
use crate::local::LocalCluster;
use crate::manifest::{self, Settings, Source};
use crate::model::Model;
use crate::options::Options;

/// Load balancers with their rules, target groups and targets. Immutable.
pub struct podway_model {
    pub(super) model: Model,
    diagnostics: Vec<Diagnostic>,
}

/// How manifests become a model. All zero but `struct_size` means the defaults.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct podway_settings {
    /// sizeof(podway_settings).
    pub struct_size: usize,
    /// The cluster's name, which goes into names; `local` where it is empty.
    pub cluster_name: podway_str,
    /// How many nodes are made up where the manifests have none; 0 means 3.
    pub nodes: u32,
    /// 1 leaves out members of a group that the controller would refuse, instead of failing.
    pub skip_broken: u32,
    /// The controller's flags and gates as a JSON object, such as {"default_target_type": "ip"}: the fields of
    /// Settings in the Rust documentation; empty for the defaults.
    pub controller: podway_str,
}

/// A manifest as text.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct podway_source {
    /// What errors call it: a file name.
    pub name: podway_str,
    /// YAML or JSON, one or many documents.
    pub text: podway_str,
}

/// Loads manifests, or the answers of aws elbv2 describe-*, from files and folders. `settings` may be NULL. On success `*out` is a model for
/// podway_model_free; on failure `*error`, where `error` is not NULL, is one for podway_error_free.
///
/// May be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_model_load(
    paths: *const podway_str,
    path_count: usize,
    settings: *const podway_settings,
    out: *mut *mut podway_model,
    error: *mut *mut podway_error,
) -> podway_status {
    // SAFETY: `error` is NULL or can be written, says the caller; the rest is said below.
    unsafe {
        explained(error, || {
            writable(out)?;
            // SAFETY: `path_count` views that are valid for this call, says the caller.
            let views = array(paths, path_count)?;
            let paths = views.iter().map(|v| v.text()).collect::<Result<Vec<_>, _>>()?;
            let sources = manifest::read_paths(&paths)?;
            // SAFETY: `settings` is NULL or valid for this call, and `out` can be written.
            give(build(&sources, settings)?, out);
            Ok(())
        })
    }
}

/// Loads manifests, or the answers of aws elbv2 describe-*, from text. `settings` may be NULL. On success `*out` is a model for podway_model_free;
/// on failure `*error`, where `error` is not NULL, is one for podway_error_free.
///
/// May be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_model_read(
    sources: *const podway_source,
    source_count: usize,
    settings: *const podway_settings,
    out: *mut *mut podway_model,
    error: *mut *mut podway_error,
) -> podway_status {
    // SAFETY: `error` is NULL or can be written, says the caller; the rest is said below.
    unsafe {
        explained(error, || {
            writable(out)?;
            // SAFETY: `source_count` pairs of views that are valid for this call, says the caller.
            let sources = array(sources, source_count)?
                .iter()
                .map(|s| Ok(Source::new(s.name.text()?, s.text.text()?)))
                .collect::<Result<Vec<_>, podway_status>>()?;
            // SAFETY: `settings` is NULL or valid for this call, and `out` can be written.
            give(build(&sources, settings)?, out);
            Ok(())
        })
    }
}

/// Reads a model from its JSON document. On success `*out` is a model for podway_model_free; on failure
/// `*error`, where `error` is not NULL, is one for podway_error_free.
///
/// May be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_model_from_json(
    json: podway_str,
    out: *mut *mut podway_model,
    error: *mut *mut podway_error,
) -> podway_status {
    // SAFETY: `error` is NULL or can be written, says the caller; the rest is said below.
    unsafe {
        explained(error, || {
            writable(out)?;
            // SAFETY: a view that is valid for this call, and `out` can be written, says the caller.
            give(podway_model { model: Model::from_json(json.text()?)?, diagnostics: Vec::new() }, out);
            Ok(())
        })
    }
}

/// Writes a model as JSON. On success `*out` is a text for podway_text_free.
///
/// The model may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_model_to_json(
    model: *const podway_model,
    out: *mut *mut podway_text,
) -> podway_status {
    super::guard::guard(|| {
        // SAFETY: NULL or a live handle, says the caller.
        let model = unsafe { model.as_ref() }.ok_or(podway_status::Null)?;
        writable(out)?;
        // SAFETY: `out` can be written, says the caller.
        unsafe { podway_text::give(model.model.to_json(), out) };
        Ok(())
    })
}

/// Writes the warnings, and with `skip_broken` the errors, that loading came across: a JSON array of
/// {Severity, Code, Message, Object, File, Line, Column, ...}. On success `*out` is a text for
/// podway_text_free.
///
/// The model may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_model_diagnostics(
    model: *const podway_model,
    out: *mut *mut podway_text,
) -> podway_status {
    super::guard::guard(|| {
        // SAFETY: NULL or a live handle, says the caller.
        let model = unsafe { model.as_ref() }.ok_or(podway_status::Null)?;
        writable(out)?;
        let json = serde_json::to_string(&model.diagnostics).map_err(|_| podway_status::Internal)?;
        // SAFETY: `out` can be written, says the caller.
        unsafe { podway_text::give(json, out) };
        Ok(())
    })
}

/// Writes everything that the ELBv2 API would refuse in the model, and warnings about what its documentation
/// is of two minds about: a JSON array as of podway_model_diagnostics. `options` is a JSON object as for
/// podway_router_new, or empty. On success `*out` is a text for podway_text_free; on failure `*error`, where
/// `error` is not NULL, is one for podway_error_free.
///
/// The model may be used from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_model_validate(
    model: *const podway_model,
    options: podway_str,
    out: *mut *mut podway_text,
    error: *mut *mut podway_error,
) -> podway_status {
    // SAFETY: `error` is NULL or can be written, says the caller; the rest is said below.
    unsafe {
        explained(error, || {
            // SAFETY: NULL or a live handle, and a view that is valid for this call, says the caller.
            let (model, options) = (model.as_ref().ok_or(podway_status::Null)?, options.text()?);
            writable(out)?;
            let options = if options.is_empty() { Options::default() } else { Options::from_json(options)? };
            let found = serde_json::to_string(&model.model.validate(&options));
            // SAFETY: `out` can be written, says the caller.
            podway_text::give(found.map_err(|_| podway_status::Internal)?, out);
            Ok(())
        })
    }
}

/// Frees a model. NULL is fine. No other call may use the model meanwhile or afterwards; routers made of
/// it stay as they are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_model_free(model: *mut podway_model) {
    if !model.is_null() {
        // SAFETY: made by Box::into_raw in `give`, and given back once, says the caller.
        quiet((), || drop(unsafe { Box::from_raw(model) }));
    }
}

/// Says whether something can be written there at all.
pub(super) fn writable<T>(out: *mut T) -> Result<(), podway_status> {
    if out.is_null() { Err(podway_status::Null) } else { Ok(()) }
}

/// # Safety
/// `settings` is NULL or valid for reading as many bytes as its `struct_size` says.
unsafe fn build(sources: &[Source], settings: *const podway_settings) -> Result<podway_model, Failure> {
    let mut how = Settings::default();
    let mut cluster = LocalCluster::default();
    if !settings.is_null() {
        // SAFETY: the caller's word.
        let given = unsafe { copied(settings)? };
        // SAFETY: views that are valid for this call, says the caller.
        let (name, controller) = unsafe { (given.cluster_name.text()?, given.controller.text()?) };
        if !controller.is_empty() {
            how = Settings::from_json(controller)?;
        }
        if !name.is_empty() {
            how.cluster_name = name.to_owned();
        }
        if given.nodes > 0 {
            cluster.nodes = given.nodes as usize;
        }
        how.skip_broken |= given.skip_broken != 0;
    }
    let loaded = crate::load(sources, &how, &cluster)?;
    Ok(podway_model { model: loaded.model, diagnostics: loaded.diagnostics })
}

/// # Safety
/// `out` is valid for writing a pointer.
unsafe fn give(model: podway_model, out: *mut *mut podway_model) {
    // SAFETY: the caller's word.
    unsafe { out.write(Box::into_raw(Box::new(model))) };
}
