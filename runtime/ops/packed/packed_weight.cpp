#include "runtime/ops/packed/packed_weight.h"

#include <vector>

#include "runtime/ops/cpu/packed/floats.h"
#include "runtime/ops/cpu/packed/integers/panels.h"
#include "runtime/ops/cpu/packed/sparse/few_rows.h"
#include "runtime/ops/cpu/packed/sparse/few_rows_int8.h"
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
  TRIREME_CHECK(!spec.sparse || can_be_sparse(spec), "{}: {}", op, to_string(spec));
}

/// Gives it memory.
void allocate(Context& ctx, PackedWeight& w) {
  const int64_t bytes = packed_bytes(w.spec, w.scales, w.matrices, w.outputs, w.inputs);
  w.data = Tensor::empty(ctx, {bytes}, DType::u8, MemoryCategory::weights);
}

bool is_cpu(const Context& ctx) { return ctx.device().type == DeviceType::cpu; }

/// Other processors would expand weights in memory, which takes longer than reading dense ones.
bool is_held_sparse(const Context& ctx, const PackedSpec& spec) {
  if (!spec.sparse || !is_cpu(ctx)) return false;
  return spec.format == PackedFormat::int8 ? cpu::few_int8_rows() != nullptr
                                           : cpu::few_rows_kernels() != nullptr;
}

ReadCodes quantized(const PackedSpec& spec, int64_t inputs, const ReadRow& row) {
  return [=, &row](int64_t r, const CodedRow& to) {
    std::vector<float> values(static_cast<size_t>(inputs));
    row(r, values);
    const int64_t wrong = quantize_row(spec, values, to);
    if (wrong >= 0) refuse_value(spec, r, wrong, values[static_cast<size_t>(wrong)]);
  };
}

/// From the order of places to that of inputs.
void put_in_order(Context& ctx, const PackedWeight& w, int64_t matrix, std::span<float> values) {
  std::vector<int32_t> order(values.size());
  ctx.stream().copy(order.data(), w.order.slice(matrix, matrix + 1).raw(), 4 * order.size());
  ctx.stream().synchronize();
  const std::vector<float> places(values.begin(), values.end());
  for (size_t j = 0; j < places.size(); ++j) values[static_cast<size_t>(order[j])] = places[j];
}

}  // namespace

void pack_codes(Context& ctx, PackedWeight& w, const ReadCodes& row) {
  check_sizes("pack_codes", w.spec, w.matrices, w.outputs, w.inputs);
  if (is_held_sparse(ctx, w.spec)) w.data = cpu::pack_sparse_integers(ctx, w, row);
  w.spec.sparse = static_cast<bool>(w.data);
  if (w.spec.sparse) return;
  if (is_cpu(ctx)) {
    allocate(ctx, w);
    cpu::pack_integers(ctx, w, row);
  } else {
    w.data = cuda::pack_integers(ctx, w.spec, w.scales, w.matrices, w.outputs, w.inputs, row);
  }
}

std::string to_string(const PackedSpec& spec) {
  constexpr const char* kNames[] = {"f32",  "bf16", "f16",  "q8_0", "q4_0", "q4_1",
                                    "q4_k", "q6_k", "int8", "int4", "fp8"};
  std::string name = kNames[static_cast<size_t>(spec.format)];
  if (has_groups(spec.format)) {
    name += spec.group == 0 ? " per channel" : fmt::format(" in groups of {}", spec.group);
    if (!spec.symmetric) name += ", asymmetric";
  }
  return spec.sparse ? "sparse " + name : name;
}

bool can_be_sparse(const PackedSpec& spec) {
  if (spec.format == PackedFormat::int8) return spec.symmetric;
  return spec.format == PackedFormat::f32 || spec.format == PackedFormat::bf16;
}

double zero_share(const PackedWeight& w) {
  TRIREME_CHECK(w.spec.sparse, "zeros of {}, which stores them", to_string(w.spec));
  return 1 - static_cast<double>(cpu::stored_values(w.data)) / static_cast<double>(w.rows() * w.inputs);
}

int64_t packed_bytes(const PackedSpec& spec, DType scales, int64_t matrices, int64_t outputs,
                     int64_t inputs) {
  const PackedWeight w{spec, matrices, outputs, inputs, {}, scales};
  return is_integer(spec.format) ? cpu::integers_bytes(w)
                                 : matrices * cpu::floats_bytes(spec.format, outputs, inputs);
}

bool is_integer(PackedFormat format) { return format >= PackedFormat::q8_0; }

PackedWeight pack_rows(Context& ctx, const PackedSpec& spec, int64_t matrices, int64_t outputs,
                       int64_t inputs, const ReadRow& row) {
  check_sizes("pack_rows", spec, matrices, outputs, inputs);
  TRIREME_CHECK(!is_integer(spec.format) || spec.format >= PackedFormat::int8, "pack_rows: {} from values",
                to_string(spec));
  PackedWeight w{spec, matrices, outputs, inputs, {}};
  if (is_integer(spec.format)) {
    pack_codes(ctx, w, quantized(spec, inputs, row));
    return w;
  }
  if (is_held_sparse(ctx, spec)) w.data = cpu::pack_sparse_floats(ctx, w, row);
  w.spec.sparse = static_cast<bool>(w.data);
  if (w.spec.sparse) return w;
  if (is_cpu(ctx)) {
    allocate(ctx, w);
    cpu::pack_floats(ctx, w, row);
  } else {
    w.data = cuda::pack_floats(ctx, spec.format, matrices, outputs, inputs, row);
  }
  return w;
}

PackedWeight pack_stored(Context& ctx, PackedFormat format, int64_t matrices, int64_t outputs, int64_t inputs,
                         const StoredRow& row) {
  const PackedSpec spec{format};
  check_sizes("pack_stored", spec, matrices, outputs, inputs);
  TRIREME_CHECK(format < PackedFormat::int8, "pack_stored: {} has no stored form", to_string(spec));
  if (!is_cpu(ctx)) {
    return {spec, matrices, outputs, inputs, cuda::pack_stored(ctx, format, matrices, outputs, inputs, row)};
  }
  PackedWeight w{spec, matrices, outputs, inputs, {}};
  allocate(ctx, w);
  is_integer(format) ? cpu::pack_stored_integers(ctx, w, row) : cpu::pack_stored_floats(ctx, w, row);
  return w;
}

void unpack_row(Context& ctx, const PackedWeight& w, int64_t row, std::span<float> values) {
  TRIREME_CHECK(row >= 0 && row < w.rows() && std::ssize(values) == w.inputs,
                "unpack_row: {} values for row {} of {} rows of {}", values.size(), row, w.rows(), w.inputs);
  if (is_cpu(ctx)) {
    is_integer(w.spec.format) ? cpu::unpack_integers(w, row, values) : cpu::floats_unpack_row(w, row, values);
  } else {
    cuda::unpack_row(ctx, w, row, values);
  }
  if (w.order) put_in_order(ctx, w, row / w.outputs, values);
}

}  // namespace trireme::ops
