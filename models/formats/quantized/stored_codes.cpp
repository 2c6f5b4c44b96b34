#include "models/formats/quantized/stored_codes.h"

#include <algorithm>
#include <cmath>

#include "runtime/base/error.h"
#include "runtime/base/float8.h"
#include "runtime/base/integers.h"

namespace trireme {

namespace {

constexpr int64_t kRowsAtOnce = 64;

/// Groups that columns touch.
Part groups_touched(const CodesKind& kind, Part columns) {
  if (!kind.group_of.empty()) return {0, kind.groups()};
  if (columns.size() == 0) return {0, 0};
  return {columns.begin / kind.group(), (columns.end - 1) / kind.group() + 1};
}

std::vector<float> read_scales(const StoredCodes& stored, Part rows, Part groups) {
  std::vector<float> scales(static_cast<size_t>(rows.size() * groups.size()));
  stored.scales(rows, groups, scales);
  for (const float scale : scales) {
    if (!std::isfinite(scale)) throw_bad_input("{} has a scale of {}", stored.kind().where, scale);
  }
  return scales;
}

std::vector<uint8_t> read_zeros(const StoredCodes& stored, Part rows, Part groups) {
  if (stored.kind().spec.symmetric) return {};
  std::vector<uint8_t> zeros(static_cast<size_t>(rows.size() * groups.size()));
  stored.zeros(rows, groups, zeros);
  return zeros;
}

/// Of each column of the part its group, counted from the first that the part touches.
std::vector<int32_t> groups_of_columns(const CodesKind& kind, Part columns, Part groups) {
  std::vector<int32_t> of(static_cast<size_t>(columns.size()));
  for (int64_t i = 0; i < columns.size(); ++i) {
    const int64_t input = columns.begin + i;
    const int64_t group =
        kind.group_of.empty() ? input / kind.group() : kind.group_of[static_cast<size_t>(input)];
    of[static_cast<size_t>(i)] = static_cast<int32_t>(group - groups.begin);
  }
  return of;
}

float float_of(const CodesKind& kind, uint8_t code) {
  fp8_e4m3 number;
  number.bits = code;
  if ((code & 0x7f) > fp8_e4m3::kMaxCode) throw_bad_input("{} has a NaN", kind.where);
  return static_cast<float>(number);
}

bool is_size_of_kernels(int64_t group) { return group == 0 || group == 32 || group == 64 || group == 128; }

}  // namespace

int64_t CodesKind::groups() const { return spec.group == 0 ? 1 : ceil_of(inputs, spec.group); }

uint8_t symmetric_zero(ops::PackedFormat format) {
  return format == ops::PackedFormat::int8 ? 128 : format == ops::PackedFormat::int4 ? 8 : 0;
}

void read_values(const StoredCodes& stored, Part rows, Part columns, std::span<float> values) {
  const CodesKind& kind = stored.kind();
  const bool is_float = kind.spec.format == ops::PackedFormat::fp8;
  const Part groups = groups_touched(kind, columns);
  const std::vector<int32_t> group_of = groups_of_columns(kind, columns, groups);
  const auto width = static_cast<size_t>(columns.size()), num_groups = static_cast<size_t>(groups.size());
  std::vector<uint8_t> codes;
  for (int64_t begin = rows.begin; begin < rows.end; begin += kRowsAtOnce) {
    const Part some{begin, std::min(begin + kRowsAtOnce, rows.end)};
    codes.resize(static_cast<size_t>(some.size()) * width);
    stored.codes(some, columns, codes);
    const std::vector<float> scales = read_scales(stored, some, groups);
    const std::vector<uint8_t> zeros = read_zeros(stored, some, groups);
    const int zero = symmetric_zero(kind.spec.format);
    for (size_t r = 0; r < static_cast<size_t>(some.size()); ++r) {
      float* to = values.data() + (static_cast<size_t>(begin - rows.begin) + r) * width;
      const uint8_t* from = codes.data() + r * width;
      const float* scale = scales.data() + r * num_groups;
      for (size_t i = 0; i < width; ++i) {
        const auto g = static_cast<size_t>(group_of[i]);
        const int nought = zeros.empty() ? zero : zeros[r * num_groups + g];
        to[i] = scale[g] * (is_float ? float_of(kind, from[i]) : static_cast<float>(from[i] - nought));
      }
    }
  }
}

std::vector<int32_t> order_of(const CodesKind& kind) {
  std::vector<int32_t> order(kind.group_of.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  std::ranges::stable_sort(order, {},
                           [&](int32_t input) { return kind.group_of[static_cast<size_t>(input)]; });
  for (size_t j = 0; j < order.size(); ++j) {
    if (kind.group_of[static_cast<size_t>(order[j])] != static_cast<int64_t>(j) / kind.group()) return {};
  }
  return order;
}

std::optional<ops::PackedSpec> spec_of(const CodesKind& kind, Part columns) {
  const bool is_whole = columns.begin == 0 && columns.end == kind.inputs;
  if (!is_size_of_kernels(kind.spec.group)) return std::nullopt;
  if (!kind.group_of.empty() && (!is_whole || order_of(kind).empty())) return std::nullopt;
  const bool cuts =
      columns.begin % kind.group() != 0 || (columns.end % kind.group() != 0 && columns.end != kind.inputs);
  if (cuts && kind.spec.group != 0) return std::nullopt;
  return kind.spec;
}

ops::CodedMatrix read_codes(const StoredCodes& stored, Part rows, Part columns) {
  const CodesKind& kind = stored.kind();
  TRIREME_CHECK(spec_of(kind, columns).has_value(), "{}: columns {} to {} are no codes of their own",
                kind.where, columns.begin, columns.end);
  const Part groups = groups_touched(kind, columns);
  ops::CodedMatrix matrix;
  matrix.spec = kind.spec;
  matrix.outputs = rows.size();
  matrix.inputs = columns.size();
  matrix.codes.resize(static_cast<size_t>(rows.size() * columns.size()));
  stored.codes(rows, columns, matrix.codes);
  matrix.scales = read_scales(stored, rows, groups);
  matrix.zeros = read_zeros(stored, rows, groups);
  if (!kind.group_of.empty()) matrix.order = order_of(kind);
  return matrix;
}

void set_groups(CodesKind& kind, std::vector<int32_t> group_of) {
  bool are_neighbours = true;
  for (size_t i = 0; i < group_of.size(); ++i) {
    if (group_of[i] < 0 || group_of[i] >= kind.groups()) {
      throw_bad_input("{}: g_idx puts input {} into group {}; there are {} groups", kind.where, i,
                      group_of[i], kind.groups());
    }
    are_neighbours = are_neighbours && group_of[i] == static_cast<int64_t>(i) / kind.group();
  }
  if (!are_neighbours) kind.group_of = std::move(group_of);
}

}  // namespace trireme
