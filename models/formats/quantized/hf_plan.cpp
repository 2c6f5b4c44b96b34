#include "models/formats/quantized/hf_plan.h"

#include <algorithm>
#include <map>

#include <fmt/ranges.h>

#include "models/formats/hf_tensors.h"
#include "models/formats/mapped_weights.h"
#include "models/formats/quantized/compressed_codes.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

using ops::PackedFormat;
using Specs = std::map<std::string, std::optional<ops::PackedSpec>, std::less<>>;

constexpr const char* kTokenTable = "embedding.tokens.weight";
constexpr const char* kPositionTable = "embedding.positions.weight";
constexpr const char* kHeadMatrix = "head.weight";
constexpr const char* kOtherFormats = "our own format and gguf hold it";

const char* title_of(QuantizedFormat format) {
  constexpr const char* kNames[] = {"our own", "compressed-tensors", "gptq", "awq"};
  return kNames[static_cast<size_t>(format)];
}

/// What no file of the format can hold of a matrix; empty: nothing.
std::string obstacle(QuantizedFormat format, const Shape& shape, const ops::PackedSpec& spec) {
  const bool is_int4 = spec.format == PackedFormat::int4, is_int8 = spec.format == PackedFormat::int8;
  const int64_t outputs = shape[0], inputs = shape[1];
  const bool cuts = spec.group > 0 && spec.group < inputs && inputs % spec.group != 0;
  if (cuts) return fmt::format("groups of {} do not divide {} inputs", spec.group, inputs);
  if (format == QuantizedFormat::compressed_tensors) return "";
  if (!is_int4 && !(is_int8 && format == QuantizedFormat::gptq))
    return fmt::format("{} is none of its formats; {}", ops::to_string(spec),
                       format == QuantizedFormat::awq ? "int4 is" : "int4 and int8 are");
  const int64_t unit = is_int4 ? 8 : 4;
  if (outputs % unit != 0 || (format == QuantizedFormat::gptq && inputs % unit != 0))
    return fmt::format("it is [{}, {}], and words hold {}: sizes must be multiples", outputs, inputs, unit);
  return "";
}

/// Fast kernels of servers are for such matrices alone (Marlin's rules).
bool suits_fast_kernels(const Shape& shape, const ops::PackedSpec& spec) {
  const bool has_group = spec.group == 0 || spec.group == 32 || spec.group == 64 || spec.group == 128;
  return spec.symmetric && has_group && shape[1] % 128 == 0 && shape[0] % 64 == 0;
}

class Planner {
 public:
  Planner(QuantizedFormat format, const std::vector<QuantizedTensor>& tensors) : format_(format) {
    for (const QuantizedTensor& tensor : tensors) specs_.insert({tensor.name, tensor.spec});
  }

  HfQuantizedPlan plan(const ModelConfig& config, const std::string& architecture) {
    plan_.map = hf_tensor_map(config, architecture);
    plan_.has_tied_head = !plan_.map.places.contains(kHeadMatrix);
    for (const StoredTensorShape& stored : plan_.map.tensors) add(stored);
    add_notes();
    check_one_scheme();
    return std::move(plan_);
  }

 private:
  void add(const StoredTensorShape& stored) {
    HfQuantizedTensor tensor{
        .stored = stored, .parameters = parameters_in(plan_.map, stored.name), .spec = {}};
    const std::string& first = tensor.parameters.front();
    tensor.is_linear = stored.shape.rank() == 2 && first != kTokenTable && first != kPositionTable;
    std::vector<std::string> shown;
    bool has_codes = false, differs = false;
    for (const std::string& name : tensor.parameters) {
      const auto& spec = specs_.find(name)->second;
      has_codes = has_codes || spec.has_value();
      differs = differs || spec != specs_.find(first)->second;
      shown.push_back(fmt::format("{} {}", name, spec ? ops::to_string(*spec) : "as numbers"));
    }
    if (has_codes && differs) {
      plan_.errors.push_back(fmt::format("{}: {} of {} lie in one tensor, and must be quantized alike; {}",
                                         stored.name, fmt::join(shown, ", "), title_of(format_),
                                         kOtherFormats));
    } else if (has_codes) {
      add_codes(tensor, *specs_.find(first)->second);
    }
    plan_.tensors.push_back(std::move(tensor));
  }

  void add_codes(HfQuantizedTensor& tensor, const ops::PackedSpec& spec) {
    const std::string& first = tensor.parameters.front();
    if (first == kTokenTable)
      return becomes_numbers(tensor, spec, "transformers holds token tables as numbers");
    if (first == kHeadMatrix && format_ == QuantizedFormat::awq)
      return becomes_numbers(tensor, spec, "AWQ has no quantized head");
    const StoredPlace& place = plan_.map.places.find(first)->second;
    const std::string why = place.transposed ? fmt::format("it is stored transposed (Conv1D of GPT-2)")
                                             : obstacle(format_, tensor.stored.shape, spec);
    if (!why.empty()) {
      plan_.errors.push_back(
          fmt::format("{}: {} cannot hold it: {}; {}", first, title_of(format_), why, kOtherFormats));
    }
    tensor.spec = spec;
    ++num_codes_;
    if (suits_fast_kernels(tensor.stored.shape, spec)) return;
    if (num_slow_++ == 0)
      first_slow_ =
          fmt::format("{} {} {}", tensor.stored.name, to_string(tensor.stored.shape), ops::to_string(spec));
  }

  void becomes_numbers(const HfQuantizedTensor& tensor, const ops::PackedSpec& spec, const char* why) {
    plan_.notes.push_back(fmt::format("{} is written as numbers, not as {}: {}", tensor.stored.name,
                                      ops::to_string(spec), why));
  }

  void add_notes() {
    if (num_slow_ == 0) return;
    plan_.notes.push_back(fmt::format(
        "{} of {} quantized matrices are not what vLLM's fast kernels take (symmetric, groups of 32, 64 or "
        "128 or none, inputs by 128, outputs by 64), {} first",
        num_slow_, num_codes_, first_slow_));
  }

  /// AWQ says widths and groups once.
  void check_one_scheme() {
    if (format_ != QuantizedFormat::awq) return;
    const HfQuantizedTensor* first = nullptr;
    for (const HfQuantizedTensor& tensor : plan_.tensors) {
      if (!tensor.spec) continue;
      if (first == nullptr) first = &tensor;
      if (tensor.spec->group == first->spec->group) continue;
      plan_.errors.push_back(fmt::format(
          "{} is {} and {} {}: awq has one group size for all; compressed-tensors and gptq have several",
          first->stored.name, ops::to_string(*first->spec), tensor.stored.name,
          ops::to_string(*tensor.spec)));
      return;
    }
  }

  QuantizedFormat format_;
  Specs specs_;
  HfQuantizedPlan plan_;
  int64_t num_codes_ = 0, num_slow_ = 0;
  std::string first_slow_;
};

}  // namespace

std::string HfQuantizedTensor::module() const {
  TRIREME_CHECK(stored.name.ends_with(kWeight), "{} is no weight", stored.name);
  return stored.name.substr(0, stored.name.size() - kWeight.size());
}

HfQuantizedPlan plan_hf_quantized(QuantizedFormat format, const ModelConfig& config,
                                  const std::string& architecture,
                                  const std::vector<QuantizedTensor>& tensors) {
  return Planner(format, tensors).plan(config, architecture);
}

ops::CodedMatrix assemble_codes(const HfQuantizedPlan& plan, const HfQuantizedTensor& tensor,
                                const std::function<ops::CodedMatrix(const std::string&)>& matrix) {
  ops::CodedMatrix whole;
  for (const std::string& name : tensor.parameters) {
    const ops::CodedMatrix part = matrix(name);
    const RowMap& rows = plan.map.places.find(name)->second.rows;
    const auto inputs = static_cast<size_t>(part.inputs), groups = static_cast<size_t>(part.groups());
    if (whole.codes.empty()) {
      const auto outputs = static_cast<size_t>(tensor.stored.shape[0]);
      whole.spec = part.spec;
      whole.outputs = tensor.stored.shape[0];
      whole.inputs = part.inputs;
      whole.codes.resize(outputs * inputs);
      whole.scales.resize(outputs * groups);
      whole.zeros.resize(part.zeros.empty() ? 0 : outputs * groups);
      whole.order = part.order;
    }
    if (part.order != whole.order)
      throw_usage(
          "{} and {} lie in one tensor, and have activation orders that differ: quantize with static groups",
          tensor.parameters.front(), name);
    for (size_t row = 0; row < static_cast<size_t>(part.outputs); ++row) {
      const auto at = static_cast<size_t>(rows.stored_row(static_cast<int64_t>(row)));
      std::copy_n(part.codes.data() + row * inputs, inputs, whole.codes.data() + at * inputs);
      std::copy_n(part.scales.data() + row * groups, groups, whole.scales.data() + at * groups);
      if (!part.zeros.empty())
        std::copy_n(part.zeros.data() + row * groups, groups, whole.zeros.data() + at * groups);
    }
  }
  return whole;
}

}  // namespace trireme
