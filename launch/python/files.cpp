// What runs leave: configurations, checkpoints, files of weights.
#include <filesystem>
#include <string>

#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include "launch/checkpoint/checkpoint_tools.h"
#include "launch/cli/ini_file.h"
#include "launch/python/arrays.h"
#include "launch/python/bindings.h"
#include "launch/python/native_call.h"
#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "parallel/checkpoint/weights/whole_tensors.h"
#include "runtime/io/safetensors/safetensors.h"

namespace trireme::launch::python {

namespace py = pybind11;
namespace fs = std::filesystem;

namespace {

py::dict dict_of(const TextMap& map) {
  py::dict out;
  for (const auto& [key, value] : map) out[py::str(key)] = value;
  return out;
}

py::dict dict_of(const Settings& settings) {
  if (!settings.errors.empty()) throw_bad_input("{}", settings.errors.front());
  py::dict out;
  for (const Setting& setting : settings.list) out[py::str(setting.key)] = setting.text.value_or("on");
  return out;
}

py::dict state_of(const WholeTensors& checkpoint) {
  const TrainingState& state = checkpoint.manifest().state;
  py::dict out;
  out["step"] = state.step;
  out["updates"] = state.updates;
  out["tokens"] = state.tokens;
  out["epoch"] = state.data.epoch;
  out["sample"] = state.data.sample;
  out["seed"] = state.seed;
  out["proof"] = to_string(checkpoint.manifest().proof);
  if (state.loss_scaler) out["loss_scale"] = state.loss_scaler->scale;
  if (state.best) out["best_step"] = state.best->step, out["best_loss"] = state.best->loss;
  return out;
}

py::dict tensors_of(const WholeTensors& checkpoint) {
  py::dict out;
  for (const auto& [name, slice] : checkpoint.tensors())
    out[py::str(name)] = py::make_tuple(std::string(to_string(slice.dtype)), shape_tuple(slice.shape));
  return out;
}

py::array read_tensor(const WholeTensors& checkpoint, const std::string& name, bool raw) {
  const auto found = checkpoint.tensors().find(name);
  if (found == checkpoint.tensors().end()) throw_usage("{} has no tensor '{}'", checkpoint.path(), name);
  std::vector<std::byte> bytes;
  {
    const NativeCall call;
    bytes = checkpoint.read(name);
  }
  return array_of(bytes, found->second.dtype, found->second.shape, raw);
}

py::dict read_weights(const fs::path& path, bool raw) {
  const SafetensorsReader file(path.string());
  py::dict out;
  for (const auto& [name, tensor] : file.tensors())
    out[py::str(name)] = array_of(tensor.bytes, tensor.dtype, tensor.shape, raw);
  return out;
}

}  // namespace

void bind_files(py::module_& module) {
  module.def(
      "read_config", [](const fs::path& path) { return dict_of(read_ini(path.string())); }, py::arg("path"));
  module.def(
      "parse_ini", [](const std::string& text) { return dict_of(parse_ini(text, "config.ini")); },
      py::arg("text"));
  module.def(
      "find_checkpoints", [](const fs::path& path) { return find_checkpoints(path.string()); },
      py::arg("path"),
      "Paths of the checkpoints that a path names, the newest first: itself, or those of a "
      "run or of the directory in which they lie.");
  module.def("read_weights", &read_weights, py::arg("path"), py::kw_only(), py::arg("raw") = false,
             "The tensors of a safetensors file by name. bfloat16, which NumPy has not, becomes "
             "float32, or with raw its bits as uint16.");
  py::class_<WholeTensors>(
      module, "Checkpoint",
      "A checkpoint, or the newest of those that the path names. UserError where there is "
      "none, or its manifest is damaged.")
      .def(py::init([](const fs::path& path) {
             return std::make_unique<WholeTensors>(find_checkpoints(path.string()).front());
           }),
           py::arg("path"))
      .def_property_readonly("path", &WholeTensors::path, "Its directory.")
      .def_property_readonly(
          "state", &state_of,
          "What the training is besides its tensors: step, updates, tokens, epoch, sample, "
          "seed, proof and, where there are such, loss_scale, best_step and best_loss.")
      .def_property_readonly(
          "config", [](const WholeTensors& c) { return dict_of(c.manifest().state.config); },
          "All options of the run by their keys.")
      .def_property_readonly(
          "tensors", &tensors_of,
          "Type (\"f32\") and shape of each tensor, by name: weights have the parameter's, and "
          "\"optimizer.first_moment.NAME\" is the optimizer's state of it.")
      .def("read", &read_tensor, py::arg("name"), py::kw_only(), py::arg("raw") = false,
           "A tensor, whole, whatever the layout that saved it; every hash is checked. bfloat16 "
           "becomes float32, or with raw its bits as uint16.")
      .def(
          "find_damage",
          [](const WholeTensors& checkpoint) {
            const NativeCall call;
            return find_damage(checkpoint.path(), true);
          },
          "Reads all of it, bit for bit: a sentence for each file or tensor that is damaged.");
}

}  // namespace trireme::launch::python
