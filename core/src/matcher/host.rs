//! host-header (spec: dataplane §1.5.1): values compare the name without port and without case, regexes
//! see the Host as sent (K-01, K-02). Without a Host nothing matches.

use super::{Glob, Regex, Subject};
use crate::options::Options;

pub(super) fn any_glob(globs: &[Glob], subject: &Subject<'_>, options: &Options) -> bool {
    let Some(host) = (if options.host_ignores_port { subject.host_name() } else { subject.host }) else {
        return false;
    };
    globs.iter().any(|g| g.matches(host))
}

pub(super) fn any_regex(regexes: &[Regex], subject: &Subject<'_>, options: &Options) -> bool {
    let Some(host) = (if options.host_regex_ignores_port { subject.host_name() } else { subject.host })
    else {
        return false;
    };
    regexes.iter().any(|r| r.is_match(host))
}
