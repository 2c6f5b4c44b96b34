#include "launch/process/build_info.h"
#include "launch/python/bindings.h"

PYBIND11_MODULE(_core, module) {
  using namespace trireme::launch;
  module.doc() = "Trireme's runs, models and files; the package trireme is what people import.";
  module.attr("__version__") = build_info().version;
  module.def("build_line", &build_line, "What this module was built from, in one line.");
  python::bind_errors(module);
  python::bind_ranks(module);
  python::bind_files(module);
  python::bind_metrics(module);
  python::bind_run(module);
  python::bind_model(module);
}
