//! The extension module `podway._podway`: native handles behind the public package, which adds what is
//! Python's own: clocks, entropy, exception classes, friendly arguments.

mod convert;
mod decision;
mod errors;
mod model;
mod router;

use pyo3::prelude::*;

#[pymodule]
fn _podway(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<model::Model>()?;
    module.add_class::<router::Router>()?;
    module.add_class::<decision::Decision>()?;
    module.add_class::<router::Probe>()?;
    module.add_function(wrap_pyfunction!(model::load_paths, module)?)?;
    module.add_function(wrap_pyfunction!(model::load_texts, module)?)
}
