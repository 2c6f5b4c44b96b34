#include <pybind11/stl.h>

#include "launch/python/bindings.h"
#include "launch/python/passes.h"
#include "launch/report/files/run_directory.h"
#include "launch/report/step_metrics.h"
#include "launch/run/text_loss.h"

namespace trireme::launch::python {

namespace py = pybind11;

namespace {

/// Numbers that are short in a notebook.
std::string text_of(const StepMetrics& m) {
  return fmt::format("<Step {}: loss {:.6g}, grad_norm {:.4g}, lr {:.4g}{}>", m.step, m.loss, m.grad_norm,
                     m.lr, m.skipped ? ", skipped" : "");
}

}  // namespace

void bind_metrics(py::module_& module) {
  py::class_<StepMetrics>(module, "Step")
      .def_readonly("step", &StepMetrics::step)
      .def_readonly("time", &StepMetrics::time)
      .def_readonly("tokens", &StepMetrics::tokens)
      .def_readonly("loss", &StepMetrics::loss)
      .def_readonly("objective", &StepMetrics::objective)
      .def_readonly("grad_norm", &StepMetrics::grad_norm)
      .def_readonly("lr", &StepMetrics::lr)
      .def_readonly("step_ms", &StepMetrics::step_ms)
      .def_readonly("tok_s", &StepMetrics::tok_s)
      .def_readonly("loss_scale", &StepMetrics::loss_scale)
      .def_readonly("skipped", &StepMetrics::skipped)
      .def_readonly("val_loss", &StepMetrics::val_loss)
      .def("to_json", [](const StepMetrics& metrics) { return to_json_line(metrics); })
      .def("__repr__", &text_of);
  py::class_<Passes>(module, "Passes")
      .def_readonly("loss", &Passes::loss)
      .def_readonly("objective", &Passes::objective)
      .def_readonly("grad_norm", &Passes::grad_norm)
      .def_readonly("num_targets", &Passes::num_targets)
      .def("__repr__", [](const Passes& p) {
        return fmt::format("<Passes: loss {:.6g}, grad_norm {:.4g}>", p.loss, p.grad_norm);
      });
  py::class_<TextLoss>(module, "TextLoss")
      .def_readonly("loss", &TextLoss::loss)
      .def_readonly("num_tokens", &TextLoss::num_tokens)
      .def_property_readonly("perplexity", &TextLoss::perplexity)
      .def("__repr__", [](const TextLoss& t) {
        return fmt::format("<TextLoss: {:.6g} nats a token, perplexity {:.6g}, {} tokens>", t.loss,
                           t.perplexity(), t.num_tokens);
      });
}

}  // namespace trireme::launch::python
