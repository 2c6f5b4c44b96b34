#include "launch/export/export_model.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "launch/export/companions.h"
#include "launch/export/export_report.h"
#include "launch/export/exported_model.h"
#include "launch/export/gguf_export.h"
#include "launch/export/quantized_export.h"
#include "launch/export/unfinished_path.h"
#include "models/formats/hf_config.h"
#include "models/formats/hf_model_files.h"
#include "models/formats/hf_weights.h"
#include "models/formats/import_weights.h"
#include "models/formats/model_differences.h"
#include "parallel/checkpoint/weights/weight_source.h"
#include "parallel/checkpoint/weights/whole_tensors.h"
#include "runtime/base/error.h"
#include "runtime/io/files/atomic_file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

/// Of logits, relative to the largest: the same weights in the same order of operations give the same bits;
/// the rest allows for another instruction set when threads differ.
constexpr double kAllowed = 1e-6;
DType dtype_of(ExportType type) {
  if (type >= ExportType::q8_0)
    throw_usage("--dtype {} is for --format gguf; files of transformers are fp32, bf16 or fp16",
                name_of(type));
  return type == ExportType::bf16 ? DType::bf16 : type == ExportType::fp16 ? DType::f16 : DType::f32;
}

void export_hf(const ExportOptions& options, const ExportedModel& model, std::FILE* out) {
  std::error_code ignored;
  if (fs::exists(options.out, ignored) &&
      !(fs::is_directory(options.out, ignored) && fs::is_empty(options.out)))
    throw_usage("{} is there already; give a directory that is not, or an empty one", options.out);
  const DType dtype = dtype_of(options.type);
  const fs::path original = fs::path(model.source) / "config.json";
  const bool has_original = !model.source.empty() && fs::exists(original, ignored);
  const nlohmann::ordered_json config = write_hf_config(
      model.config, has_original ? read_ordered_json(original.string()) : nlohmann::ordered_json(), dtype,
      model.config.vocab_size);
  const std::string architecture = config.at("architectures").at(0).get<std::string>();
  UnfinishedPath unfinished(options.out);
  unfinished.make_directory();
  const std::string& directory = unfinished.name();
  const std::vector<std::string> notes = write_companions(model, directory);
  write_file_atomically(directory + "/config.json", config.dump(2) + "\n");
  write_hf_weights(directory, model.config, architecture, dtype, options.shard_bytes, model.values);
  std::string checked;
  if (options.check) {
    const std::string file = directory + "/config.json";
    const ModelConfig back = read_hf_config(read_ordered_json(file), file).config;
    const auto differences = model_differences(model.config, back);
    if (!differences.empty())
      throw_user(ExitCode::numerics, "{}: read back, config.json is of another model: {}", options.out,
                 fmt::join(differences, "; "));
    checked =
        check_logits(options, model.config, rounded_as_hf(model.config, architecture, dtype, model.values),
                     back, *open_hf_weights(directory, back), kAllowed);
  }
  unfinished.finish();
  report_export(options, notes, checked, out);
}

void export_own(const ExportOptions& options, const ExportedModel& model, std::FILE* out) {
  if (options.type != ExportType::fp32)
    throw_usage("--dtype {}: --format trireme is fp32; hf and gguf have other types", name_of(options.type));
  if (model.quantized) {
    import_weights(*model.quantized, model.config, DType::f32, options.out);
    fmt::print(out, "{}\n", options.out);
    return;
  }
  if (model.checkpoint.empty()) throw_usage("{} is what --format trireme would write; copy it", model.path);
  export_weights(WholeTensors(model.checkpoint), options.out);
  fmt::print(out, "{}\n", options.out);
}

}  // namespace

ExportFormat format_of(const std::string& out) {
  if (out.ends_with(".safetensors")) return ExportFormat::trireme;
  return out.ends_with(".gguf") ? ExportFormat::gguf : ExportFormat::hf;
}

void export_model(const ExportOptions& options, std::FILE* out) {
  const ExportFormat format = options.format.value_or(format_of(options.out));
  if (format >= ExportFormat::compressed_tensors) {
    constexpr QuantizedFormat kFormats[] = {QuantizedFormat::compressed_tensors, QuantizedFormat::gptq,
                                            QuantizedFormat::awq};
    return export_quantized(
        options,
        kFormats[static_cast<size_t>(format) - static_cast<size_t>(ExportFormat::compressed_tensors)], out);
  }
  if (options.rounding.bits || options.rounding.group || options.rounding.symmetric)
    throw_usage("--bits, --group and --symmetric are for --format compressed-tensors, gptq and awq");
  const ExportedModel model = open_exported(options.path, options.source);
  switch (format) {
    case ExportFormat::trireme:
      return export_own(options, model, out);
    case ExportFormat::hf:
      return export_hf(options, model, out);
    case ExportFormat::gguf:
      return export_gguf(options, model, nullptr, out);
    default:
      return;
  }
}

}  // namespace trireme::launch
