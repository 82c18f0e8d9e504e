//! The extension module `podway._podway`: native handles behind the public package. What is called per
//! request is whole in here; the package adds what is Python's own: exception classes, data classes,
//! friendly arguments.

#[cfg(feature = "bench")]
mod bench;
mod clock;
#[cfg(feature = "command")]
mod command;
mod decision;
mod errors;
mod model;
mod names;
mod probe;
mod request;
mod router;

use pyo3::prelude::*;
use pyo3::types::PyDict;

#[pymodule]
fn _podway(module: &Bound<'_, PyModule>) -> PyResult<()> {
    clock::start(module.py())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<model::Model>()?;
    module.add_class::<router::Router>()?;
    module.add_class::<decision::Decision>()?;
    module.add_class::<probe::Probe>()?;
    module.add_function(wrap_pyfunction!(model::load_paths, module)?)?;
    module.add_function(wrap_pyfunction!(model::load_texts, module)?)?;
    let os = module.py().import("os")?;
    if os.hasattr("register_at_fork")? {
        let arguments = PyDict::new(module.py());
        arguments.set_item("after_in_child", wrap_pyfunction!(router::forked, module)?)?;
        os.call_method("register_at_fork", (), Some(&arguments))?;
    }
    #[cfg(feature = "command")]
    module.add_function(wrap_pyfunction!(command::command, module)?)?;
    #[cfg(feature = "bench")]
    module.add_class::<bench::Nothing>()?;
    Ok(())
}
