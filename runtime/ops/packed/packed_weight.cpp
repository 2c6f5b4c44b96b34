#include "runtime/ops/packed/packed_weight.h"

#include <vector>

#include "runtime/ops/cpu/packed/floats.h"
#include "runtime/ops/cpu/packed/integers/panels.h"
#include "runtime/ops/cuda/packed/pack.h"
#include "runtime/ops/packed/quantize_row.h"

namespace trireme::ops {

namespace {

bool has_groups(PackedFormat format) { return format == PackedFormat::int8 || format == PackedFormat::int4; }

void check_sizes(const char* op, const PackedSpec& spec, int64_t matrices, int64_t outputs, int64_t inputs) {
  TRIREME_CHECK(matrices > 0 && outputs > 0 && inputs > 0, "{}: {} matrices [{}, {}]", op, matrices, outputs,
                inputs);
  const bool fits = has_groups(spec.format)
                        ? spec.group == 0 || spec.group == 32 || spec.group == 64 || spec.group == 128
                        : spec.group == 0 && spec.symmetric;
  TRIREME_CHECK(fits, "{}: {} in groups of {}, {}", op, to_string(PackedSpec{spec.format}), spec.group,
                spec.symmetric ? "symmetric" : "asymmetric");
}

PackedWeight on_cpu(Context& ctx, const PackedSpec& spec, int64_t matrices, int64_t outputs, int64_t inputs) {
  const int64_t bytes = is_integer(spec.format) ? cpu::integers_bytes(spec, matrices, outputs, inputs)
                                                : matrices * cpu::floats_bytes(spec.format, outputs, inputs);
  return {spec, matrices, outputs, inputs, Tensor::empty(ctx, {bytes}, DType::u8, MemoryCategory::weights)};
}

bool is_cpu(const Context& ctx) { return ctx.device().type == DeviceType::cpu; }

/// Codes of rows for a device that has no quantizer of its own.
cuda::ReadIntegers coded(const PackedSpec& spec, int64_t inputs, const ReadRow& row) {
  return [=, &row](int64_t r, const cuda::IntegerRow& to) {
    std::vector<float> values(static_cast<size_t>(inputs));
    row(r, values);
    const int64_t wrong = quantize_row(spec, values, {to.codes, to.scales, to.zeros});
    if (wrong >= 0) refuse_value(spec, r, wrong, values[static_cast<size_t>(wrong)]);
  };
}

}  // namespace

std::string to_string(const PackedSpec& spec) {
  constexpr const char* kNames[] = {"f32",  "bf16", "f16",  "q8_0", "q4_0",
                                    "q4_1", "q4_k", "q6_k", "int8", "int4"};
  std::string name = kNames[static_cast<size_t>(spec.format)];
  if (!has_groups(spec.format)) return name;
  name += spec.group == 0 ? " per channel" : fmt::format(" in groups of {}", spec.group);
  return spec.symmetric ? name : name + ", asymmetric";
}

bool is_integer(PackedFormat format) { return format >= PackedFormat::q8_0; }

PackedWeight pack_rows(Context& ctx, const PackedSpec& spec, int64_t matrices, int64_t outputs,
                       int64_t inputs, const ReadRow& row) {
  check_sizes("pack_rows", spec, matrices, outputs, inputs);
  TRIREME_CHECK(has_groups(spec.format) || !is_integer(spec.format), "pack_rows: {} from values",
                to_string(spec));
  if (!is_cpu(ctx)) {
    return {spec, matrices, outputs, inputs,
            is_integer(spec.format)
                ? cuda::pack_integers(ctx, spec, matrices, outputs, inputs, coded(spec, inputs, row))
                : cuda::pack_floats(ctx, spec.format, matrices, outputs, inputs, row)};
  }
  PackedWeight w = on_cpu(ctx, spec, matrices, outputs, inputs);
  is_integer(spec.format) ? cpu::pack_integers(ctx, w, row) : cpu::pack_floats(ctx, w, row);
  return w;
}

PackedWeight pack_stored(Context& ctx, PackedFormat format, int64_t matrices, int64_t outputs, int64_t inputs,
                         const StoredRow& row) {
  const PackedSpec spec{format};
  check_sizes("pack_stored", spec, matrices, outputs, inputs);
  TRIREME_CHECK(!has_groups(format), "pack_stored: {} has no stored form", to_string(spec));
  if (!is_cpu(ctx)) {
    return {spec, matrices, outputs, inputs, cuda::pack_stored(ctx, format, matrices, outputs, inputs, row)};
  }
  PackedWeight w = on_cpu(ctx, spec, matrices, outputs, inputs);
  is_integer(format) ? cpu::pack_stored_integers(ctx, w, row) : cpu::pack_stored_floats(ctx, w, row);
  return w;
}

void unpack_row(Context& ctx, const PackedWeight& w, int64_t row, std::span<float> values) {
  TRIREME_CHECK(row >= 0 && row < w.rows() && std::ssize(values) == w.inputs,
                "unpack_row: {} values for row {} of {} rows of {}", values.size(), row, w.rows(), w.inputs);
  if (!is_cpu(ctx)) return cuda::unpack_row(ctx, w, row, values);
  is_integer(w.spec.format) ? cpu::unpack_integers(w, row, values) : cpu::floats_unpack_row(w, row, values);
}

}  // namespace trireme::ops
