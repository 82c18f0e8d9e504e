//! http-request-method (spec: dataplane §1.5.4): exact and case-sensitive; HEAD is not GET.

pub(super) fn any(methods: &[Box<[u8]>], method: &[u8]) -> bool {
    methods.iter().any(|m| **m == *method)
}
