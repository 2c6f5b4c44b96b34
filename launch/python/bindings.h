// The parts of the module trireme._core. What people use, and how, is in trireme/_core.pyi and
// docs/python.md.
#pragma once

#include <pybind11/pybind11.h>

namespace trireme::launch::python {

void bind_errors(pybind11::module_& module);
void bind_ranks(pybind11::module_& module);
void bind_files(pybind11::module_& module);
void bind_metrics(pybind11::module_& module);
void bind_run(pybind11::module_& module);
void bind_model(pybind11::module_& module);

}  // namespace trireme::launch::python
