#include "launch/export/quantized_export.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <vector>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "launch/export/check_export.h"
#include "launch/export/companions.h"
#include "launch/export/exported_model.h"
#include "launch/export/unfinished_path.h"
#include "models/formats/hf_config.h"
#include "models/formats/hf_weights.h"
#include "models/formats/mapped_weights.h"
#include "models/formats/model_differences.h"
#include "models/formats/quantized/hf_plan.h"
#include "models/formats/stored_bytes.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "runtime/base/error.h"
#include "runtime/device/context.h"
#include "runtime/io/files/atomic_file.h"

namespace trireme::launch {

namespace fs = std::filesystem;

namespace {

constexpr double kQuantizedApart = 1e-6;
constexpr int64_t kUsualGroup = 128;
constexpr size_t kMostReasons = 5;

/// Matrices of a model that layers multiply with; neither tables, nor the head, nor routers.
bool is_of_layers(const Parameter& p) {
  return p.global_shape.rank() == 2 && p.name.starts_with("layers.") && !p.name.ends_with(kRouterWeight);
}

class QuantizedExport {
 public:
  QuantizedExport(const ExportOptions& options, QuantizedFormat format)
      : options_(options), format_(format), model_(open_exported(options.path, options.source)) {
    const bool is_compressed = format == QuantizedFormat::compressed_tensors;
    dtype_ = !options.has_type ? (is_compressed ? DType::bf16 : DType::f16) : dtype_of_values();
    find_tensors();
    content_.matrix = [this](const std::string& name) { return matrix(name); };
    content_.values = model_.values;
    const std::vector<std::string> reasons = cannot_write(format, model_.config, tensors_);
    if (!reasons.empty())
      throw_usage(
          "{}{}", fmt::join(std::span(reasons).first(std::min(reasons.size(), kMostReasons)), "\n"),
          reasons.size() > kMostReasons ? fmt::format("\n{} more", reasons.size() - kMostReasons) : "");
  }

  void run(std::FILE* out) {
    std::error_code ignored;
    if (fs::exists(options_.out, ignored) &&
        !(fs::is_directory(options_.out, ignored) && fs::is_empty(options_.out)))
      throw_usage("{} is there already; give a directory that is not, or an empty one", options_.out);
    UnfinishedPath unfinished(options_.out);
    unfinished.make_directory();
    std::vector<std::string> notes = write_companions(model_, unfinished.name());
    write(unfinished.name());
    for (const std::string& note : notes_on_writing(format_, model_.config, tensors_)) notes.push_back(note);
    const std::string checked = options_.check ? check(unfinished.name()) : "not read back: --check off";
    unfinished.finish();
    for (const std::string& note : notes) fmt::print(out, "note: {}\n", note);
    fmt::print(out, "{}\n{}\n", checked, options_.out);
  }

 private:
  DType dtype_of_values() const {
    if (options_.type == ExportType::bf16) return DType::bf16;
    if (options_.type == ExportType::fp16) return DType::f16;
    if (options_.type == ExportType::fp32) return DType::f32;
    throw_usage("--dtype: beside quantized matrices numbers are fp32, bf16 or fp16");
  }

  void find_tensors() {
    const bool asks = options_.rounding.bits || options_.rounding.group || options_.rounding.symmetric;
    if (model_.quantized && asks)
      throw_usage(
          "{} is quantized, and its codes are kept: --bits, --group and --symmetric are for models of "
          "numbers",
          model_.path);
    for (const Parameter& p : parameters_of(model_.config)) {
      QuantizedTensor tensor{p.name, p.global_shape, {}};
      if (model_.quantized) {
        tensor.spec = model_.quantized->coded_spec(p.name, p);
      } else if (is_of_layers(p)) {
        tensor.spec = {.format = options_.rounding.bits.value_or(4) == 4 ? ops::PackedFormat::int4
                                                                         : ops::PackedFormat::int8,
                       .group = options_.rounding.group.value_or(kUsualGroup),
                       .symmetric = options_.rounding.symmetric.value_or(true)};
      }
      tensors_.push_back(std::move(tensor));
    }
    if (std::ranges::none_of(tensors_, [](const QuantizedTensor& tensor) { return tensor.spec.has_value(); }))
      throw_usage("{} has no matrix to quantize", model_.path);
  }

  const QuantizedTensor& tensor(const std::string& name) const {
    return *std::ranges::find(tensors_, name, &QuantizedTensor::name);
  }

  ops::CodedMatrix matrix(const std::string& name) {
    const QuantizedTensor& t = tensor(name);
    if (model_.quantized) return *model_.quantized->coded(name, Parameter::whole(name, t.shape, 0, 0));
    const std::vector<float> values = model_.values(name);
    try {
      return ops::round_to_nearest(ctx_, *t.spec, t.shape[0], t.shape[1], values);
    } catch (const UserError& error) {
      throw_user(error.code(), "{}: {}: {}", model_.path, name, error.what());
    }
  }

  void write(const std::string& directory) {
    std::error_code ignored;
    const fs::path original = fs::path(model_.source) / "config.json";
    const bool has_original = !model_.source.empty() && fs::exists(original, ignored);
    nlohmann::ordered_json config = write_hf_config(
        model_.config, has_original ? read_ordered_json(original.string()) : nlohmann::ordered_json(), dtype_,
        model_.config.vocab_size);
    architecture_ = config.at("architectures").at(0).get<std::string>();
    const std::string file = directory + "/config.json";
    write_file_atomically(file, config.dump(2) + "\n");
    const std::string quantization = write_quantized(directory, model_.config, tensors_, content_,
                                                     {.format = format_,
                                                      .values_type = dtype_,
                                                      .activations = model_.activations,
                                                      .shard_bytes = options_.shard_bytes});
    config["quantization_config"] = nlohmann::ordered_json::parse(quantization);
    write_file_atomically(file, config.dump(2) + "\n");
  }

  /// What the files should give: codes exactly, all else rounded as it is stored.
  std::vector<float> expected(const HfQuantizedPlan& plan, const std::string& name) {
    const StoredPlace& place = plan.map.places.find(name)->second;
    const auto stored = std::ranges::find(plan.tensors, place.tensor,
                                          [](const HfQuantizedTensor& t) { return t.stored.name; });
    std::vector<float> values;
    if (tensor(name).spec) {
      const ops::CodedMatrix codes = matrix(name);
      values.resize(codes.codes.size());
      for (int64_t row = 0; row < codes.outputs; ++row)
        ops::decode_row(codes, row,
                        std::span(values).subspan(static_cast<size_t>(row * codes.inputs),
                                                  static_cast<size_t>(codes.inputs)));
    } else {
      values = model_.values(name);
    }
    if (stored->spec) return values;
    for (float& value : values) value = rounded_to(value - place.added, dtype_) + place.added;
    return values;
  }

  std::string check(const std::string& directory) {
    const std::string file = directory + "/config.json";
    const ModelConfig back = read_hf_config(read_ordered_json(file), file).config;
    const auto differences = model_differences(model_.config, back);
    if (!differences.empty())
      throw_user(ExitCode::numerics, "{}: read back, config.json is of another model: {}", options_.out,
                 fmt::join(differences, "; "));
    const HfQuantizedPlan plan = plan_hf_quantized(format_, model_.config, architecture_, tensors_);
    const auto source = open_hf_weights(directory, back);
    const std::vector<float> mine =
        drawn_logits(model_.config, [&](const Parameter& p, std::span<float> values) {
          std::ranges::copy(expected(plan, p.name), values.begin());
        });
    const std::vector<float> read = drawn_logits(
        back, [&](const Parameter& p, std::span<float> values) { source->read(p.name, p, values); });
    const double apart = largest_difference(mine, read);
    if (!(apart <= kQuantizedApart))
      throw_user(
          ExitCode::numerics,
          "{}: read back, it computes other logits than the codes: {:.3g} of the largest apart, {:.0e} "
          "are allowed. Nothing was kept",
          options_.out, apart, kQuantizedApart);
    return fmt::format(
        "read back: logits of {} drawn tokens are those of the codes, {:.1e} of the largest apart",
        mine.size() / static_cast<size_t>(model_.config.vocab_size), apart);
  }

  const ExportOptions& options_;
  QuantizedFormat format_;
  ExportedModel model_;
  DType dtype_ = DType::bf16;
  Context ctx_;
  std::vector<QuantizedTensor> tensors_;
  QuantizedContent content_;
  std::string architecture_;
};

}  // namespace

void export_quantized(const ExportOptions& options, QuantizedFormat format, std::FILE* out) {
  QuantizedExport(options, format).run(out);
}

}  // namespace trireme::launch
