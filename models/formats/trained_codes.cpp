#include "models/formats/trained_codes.h"

#include <algorithm>
#include <utility>

#include "runtime/base/error.h"
#include "runtime/base/half.h"
#include "runtime/ops/packed/fake_quantize.h"

namespace trireme {

namespace {

/// Rows [row, row + rows) of a matrix, whole.
Parameter whole_rows(const Parameter& p) {
  Parameter rows = p;
  rows.offset = {p.offset[0], 0};
  rows.shape = {p.shape[0], p.global_shape[1]};
  return rows;
}

void round_to(DType type, std::span<float> values) {
  if (type == DType::bf16) {
    for (float& v : values) v = static_cast<float>(bf16(v));
  } else if (type == DType::f16) {
    for (float& v : values) v = static_cast<float>(fp16(v));
  }
}

class TrainedCodes final : public WeightSource {
 public:
  TrainedCodes(std::unique_ptr<WeightSource> weights, const QuantizationConfig& quantization)
      : weights_(std::move(weights)), quantization_(quantization), kinds_(weights_->kinds()) {}

  const std::string& path() const override { return weights_->path(); }

  std::map<std::string, StoredKind, std::less<>> kinds() const override {
    auto kinds = kinds_;
    std::erase_if(kinds, [](const auto& kind) { return is_scale_name(kind.first); });
    return kinds;
  }

  void read(std::string_view name, const Parameter& p, std::span<float> values) const override {
    const auto spec = quantization_.spec_of(name);
    if (!spec) return weights_->read(name, p, values);
    const ops::CodedMatrix rows = codes_of_rows(name, p, *spec);
    std::vector<float> row(static_cast<size_t>(rows.inputs));
    for (int64_t r = 0; r < p.shape[0]; ++r) {
      ops::decode_row(rows, r, row);
      std::copy_n(row.begin() + p.offset[1], p.shape[1], values.begin() + r * p.shape[1]);
    }
  }

  std::optional<StoredMatrix> stored(std::string_view name, const Parameter& p) const override {
    return quantization_.spec_of(name) ? std::nullopt : weights_->stored(name, p);
  }

  std::optional<ops::PackedSpec> coded_spec(std::string_view name, const Parameter& p) const override {
    const auto spec = quantization_.spec_of(name);
    if (!spec) return weights_->coded_spec(name, p);
    const int64_t group = spec->group == 0 ? p.global_shape[1] : spec->group, end = p.offset[1] + p.shape[1];
    return p.offset[1] % group == 0 && (end % group == 0 || end == p.global_shape[1]) ? spec : std::nullopt;
  }

  std::optional<ops::CodedMatrix> coded(std::string_view name, const Parameter& p) const override {
    const auto spec = quantization_.spec_of(name);
    if (!spec) return weights_->coded(name, p);
    if (!coded_spec(name, p)) return std::nullopt;
    return ops::part_of(codes_of_rows(name, p, *spec), 0, p.shape[0], p.offset[1], p.shape[1]);
  }

  void release_pages() const noexcept override { weights_->release_pages(); }

 private:
  std::vector<float> scales_of(std::string_view name, const Parameter& rows,
                               const ops::PackedSpec& spec) const {
    const std::string scale = scale_name(name);
    const auto kind = quantization_.learns_scales_of(name) ? kinds_.find(scale) : kinds_.end();
    if (kind == kinds_.end()) return {};
    const int64_t groups = ops::groups_of(spec, rows.shape[1]);
    if (kind->second.shape != Shape{rows.global_shape[0], groups, 1})
      throw_bad_input("{}: {} is {}, but qat.group {} makes {} groups of {}", path(), scale,
                      to_string(kind->second.shape), spec.group, groups, name);
    Parameter p = rows;
    p.name = scale;
    p.global_shape = kind->second.shape;
    p.offset = {rows.offset[0], 0, 0};
    p.shape = {rows.shape[0], groups, 1};
    std::vector<float> scales(static_cast<size_t>(p.shape.numel()));
    weights_->read(scale, p, scales);
    std::ranges::transform(scales, scales.begin(), ops::scale_of_log);
    return scales;
  }

  // Of the rows of the block, whole.
  ops::CodedMatrix codes_of_rows(std::string_view name, const Parameter& p,
                                 const ops::PackedSpec& spec) const {
    const Parameter rows = whole_rows(p);
    std::vector<float> values(static_cast<size_t>(rows.shape.numel()));
    weights_->read(name, rows, values);
    round_to(quantization_.compute_type, values);
    const auto width = static_cast<size_t>(rows.shape[1]),
               groups = static_cast<size_t>(ops::groups_of(spec, rows.shape[1]));
    ops::CodedMatrix coded;
    coded.spec = spec;
    coded.outputs = rows.shape[0];
    coded.inputs = rows.shape[1];
    coded.codes.resize(values.size());
    coded.scales = scales_of(name, rows, spec);
    const bool learned = !coded.scales.empty();
    coded.scales.resize(static_cast<size_t>(rows.shape[0]) * groups);
    std::vector<uint8_t> zeros(coded.scales.size());
    for (int64_t row = 0; row < rows.shape[0]; ++row) {
      const auto r = static_cast<size_t>(row);
      const auto of_row = std::span(values).subspan(r * width, width);
      const auto codes = std::span(coded.codes).subspan(r * width, width);
      const auto scales = std::span(coded.scales).subspan(r * groups, groups);
      const int64_t wrong =
          learned ? ops::quantize_row_by(spec, of_row, scales, codes)
                  : ops::quantize_row(spec, of_row,
                                      {codes, scales, std::span(zeros).subspan(r * groups, groups)});
      if (wrong >= 0)
        throw_bad_input("{}: {} has {} at row {}, input {}: {} holds finite numbers alone", path(), name,
                        of_row[static_cast<size_t>(wrong)], rows.offset[0] + row, wrong,
                        ops::to_string(spec));
    }
    if (!spec.symmetric) coded.zeros = std::move(zeros);
    return coded;
  }

  std::unique_ptr<WeightSource> weights_;
  QuantizationConfig quantization_;
  std::map<std::string, StoredKind, std::less<>> kinds_;
};

}  // namespace

std::unique_ptr<WeightSource> trained_codes(std::unique_ptr<WeightSource> weights,
                                            const QuantizationConfig& quantization) {
  if (!quantization) return weights;
  return std::make_unique<TrainedCodes>(std::move(weights), quantization);
}

}  // namespace trireme
