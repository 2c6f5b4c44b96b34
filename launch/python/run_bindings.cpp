// What Python sees of runs and models.
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include "launch/python/arrays.h"
#include "launch/python/bindings.h"
#include "launch/python/model.h"
#include "launch/python/native_call.h"
#include "launch/python/run.h"
#include "launch/python/run_arguments.h"
#include "launch/run/load_run.h"

namespace trireme::launch::python {

namespace py = pybind11;

namespace {

using Names = std::optional<std::vector<std::string>>;

/// Warnings about former names of options, for the caller of what is one Python function above this.
void warn(const std::vector<std::string>& warnings) {
  for (const std::string& warning : warnings) {
    if (PyErr_WarnEx(PyExc_FutureWarning, warning.c_str(), 2) != 0) throw py::error_already_set();
  }
}

/// A method that runs without Python.
template <class Class, class Result, class... Args>
auto native(Result (Class::*method)(Args...)) {
  return [method](Class& self, std::decay_t<Args>... args) -> Result {
    const NativeCall call;
    return (self.*method)(args...);
  };
}

py::dict dict_of(std::vector<WholeParameter> parameters) {
  py::dict out;
  for (WholeParameter& p : parameters) out[py::str(p.name)] = take_array(std::move(p.values), p.shape);
  return out;
}

template <class Class>
auto arrays(std::vector<WholeParameter> (Class::*method)(const Wanted&)) {
  return [method](Class& self, Names names, bool on_all_ranks) {
    std::vector<WholeParameter> found;
    {
      const NativeCall call;
      found = (self.*method)({std::move(names), on_all_ranks});
    }
    return dict_of(std::move(found));
  };
}

/// What a model of bytes writes need not be UTF-8.
template <class Class>
auto written() {
  return [](Class& self, const std::string& prompt, int64_t num_tokens, double temperature, uint64_t seed) {
    std::string text;
    {
      const NativeCall call;
      text = self.sample(prompt, num_tokens, temperature, seed);
    }
    PyObject* decoded = PyUnicode_DecodeUTF8(text.data(), std::ssize(text), "replace");
    if (decoded == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::str>(decoded);
  };
}

template <class Class>
void bind_text(py::class_<Class, std::shared_ptr<Class>>& type) {
  type.def("weights", arrays(&Class::weights), py::arg("names") = py::none(), py::kw_only(),
           py::arg("on_all_ranks") = false,
           "The model's weights by their global names, each whole whatever the layout: float32 "
           "arrays of the parameter's shape, in the order of the forward pass; in 16-bit "
           "training the f32 masters, or without masters the weights widened. `names`: those "
           "alone. All ranks call it; the first gets them, the others an empty dict unless on_all_ranks.")
      .def("evaluate", native(&Class::evaluate), py::arg("text"),
           "The mean loss per token of a text under this model, with the run's tokenizer. The "
           "text is cut in samples of train.seq-len tokens, each without view of those before "
           "it. All ranks call it, and get the same; the first rank's text counts.")
      .def("sample", written<Class>(), py::arg("prompt"), py::kw_only(), py::arg("num_tokens") = 100,
           py::arg("temperature") = 0.8, py::arg("seed") = 0,
           "The prompt and tokens after it, drawn from the model; equal seeds give equal text. "
           "All ranks call it; the first gets the text, the others an empty one.")
      .def("close", native(&Class::close),
           "Gives memory and files back. Of the steps of a run stays what was saved.");
}

}  // namespace

void bind_run(py::module_& module) {
  module.def(
      "parse_config",
      [](const std::vector<std::string>& arguments, int world_size) {
        py::dict out;
        const RunArguments given = parse_config(arguments, world_size);
        warn(given.warnings);
        for (const Option& option : config_rules().options) {
          out[py::str(option.key())] = option.value.get(given.config);
        }
        return out;
      },
      py::arg("arguments"), py::arg("world_size"));
  py::class_<Run, std::shared_ptr<Run>> type(module, "Run");
  type.def(py::init([](std::shared_ptr<Ranks> ranks, const std::vector<std::string>& arguments, bool screen) {
             const RunArguments given = parse_config(arguments, ranks->size());
             warn(given.warnings);
             const NativeCall call;
             return std::make_shared<Run>(std::move(ranks), given, screen);
           }),
           py::arg("ranks"), py::arg("arguments"), py::arg("screen"))
      .def_property_readonly("is_done", native(&Run::is_done),
                             "Whether all steps are done: finish() is what is left.")
      .def_property_readonly("is_open", native(&Run::is_open),
                             "Whether it is neither finished nor closed, and no error has ended it.")
      .def_property_readonly("steps_done", native(&Run::steps_done),
                             "Steps done so far, those before a resume included.")
      .def_property_readonly("num_steps", &Run::num_steps, "Steps of the whole run: train.steps.")
      .def_property_readonly("learning_rate", native(&Run::learning_rate), "Of the next step.")
      .def_property_readonly("loss_scale", native(&Run::loss_scale),
                             "Of the next step; 1 where losses are not scaled.")
      .def_property_readonly("directory", native(&Run::directory), "Where the run leaves its files.")
      .def_property_readonly("config_ini", &Run::config_ini,
                             "The resolved configuration, as config.ini has it.")
      .def("forward_backward", native(&Run::forward_backward),
           "The forward and backward passes of the next step. Gradients are there until update().")
      .def("update", native(&Run::update),
           "Updates the weights with the gradients, or skips the step as train.nonfinite says; "
           "then evaluates, writes metrics and saves what is due.")
      .def("step", native(&Run::step), "forward_backward() and update().")
      .def("gradients", arrays(&Run::gradients), py::arg("names") = py::none(), py::kw_only(),
           py::arg("on_all_ranks") = false,
           "Between forward_backward() and update(): the gradient of the mean loss of the global"
           " batch, before clipping, as weights() gives them: float32 arrays by name. Frozen "
           "parameters have zeros.")
      .def("save_checkpoint", native(&Run::save_checkpoint),
           "Saves the state of the training now, and waits for it: the checkpoint's path. A run "
           "with run.resume goes on from it. MachineError where it could not be saved; the run "
           "has not ended, unless checkpoint.failure is stop.")
      .def("save_weights", native(&Run::save_weights), py::arg("path"),
           "Writes the f32 weights to a safetensors file, as a run's model.safetensors.")
      .def("finish", native(&Run::finish),
           "After the last step: the last checkpoint, model.safetensors, the summary. The model "
           "can still be read.");
  bind_text(type);
}

void bind_model(py::module_& module) {
  py::class_<Model, std::shared_ptr<Model>> type(module, "Model");
  type.def(py::init([](std::shared_ptr<Ranks> ranks, const std::string& directory,
                       const std::vector<std::string>& arguments) {
             std::vector<std::string> warnings;
             const RunConfig config = load_run(directory, arguments, ranks->size(), kGivenBy, &warnings);
             warn(warnings);
             const NativeCall call;
             return std::make_shared<Model>(std::move(ranks), directory, config);
           }),
           py::arg("ranks"), py::arg("directory"), py::arg("arguments"));
  bind_text(type);
}

}  // namespace trireme::launch::python
