//! Warnings that users of the real controller wish for. They read what was built and never change it.

mod annotations;
mod group;
mod health_check;
mod pods;
mod shadow;

use super::objects::Objects;
use crate::error::{Code, Diagnostic};

pub(super) use annotations::{members, services};
pub(super) use group::group;
pub(super) use health_check::health_check;
pub(super) use pods::out_of_reach;

/// Warns of a dump that was taken without pods: the controller takes only pods it knows as targets (§9.4).
pub(super) fn without_pods(objects: &Objects, told: &mut Vec<Diagnostic>) {
    let named = objects.slices.iter().find(|s| s.endpoints.iter().any(|e| e.pod.is_some()));
    if let (Some(slice), true) = (named, objects.pods.is_empty()) {
        let message =
            "the EndpointSlices name pods, and the input has none: they are no targets in target type ip";
        told.push(
            Diagnostic::warning(Code::W_TARGET, message)
                .object(format!("Service {}/{}", slice.namespace, slice.service))
                .expected("the output of `kubectl get pods -o yaml` beside it"),
        );
    }
}
