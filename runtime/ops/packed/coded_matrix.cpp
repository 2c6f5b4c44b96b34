#include "runtime/ops/packed/coded_matrix.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/base/float8.h"
#include "runtime/base/parallel_for.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/packed/quantize_row.h"

namespace trireme::ops {

namespace {

bool is_fp8(const CodedMatrix& m) { return m.spec.format == PackedFormat::fp8; }
int64_t inputs_of_group(const CodedMatrix& m) { return m.spec.group == 0 ? m.inputs : m.spec.group; }
uint8_t middle_of(const PackedSpec& spec) {
  return spec.format == PackedFormat::int8 ? 128 : spec.format == PackedFormat::int4 ? 8 : 0;
}

void check_is_whole(const CodedMatrix& m) {
  const auto size = [](const auto& v) { return static_cast<int64_t>(v.size()); };
  const bool fits = m.spec.format >= PackedFormat::int8 && m.outputs > 0 && m.inputs > 0 &&
                    size(m.codes) == m.outputs * m.inputs && size(m.scales) == m.outputs * m.groups() &&
                    (m.zeros.empty() ? m.spec.symmetric : m.zeros.size() == m.scales.size()) &&
                    (!m.spec.symmetric || std::ranges::count(m.zeros, middle_of(m.spec)) == size(m.zeros)) &&
                    (m.order.empty() || size(m.order) == m.inputs);
  TRIREME_CHECK(fits, "{} [{}, {}] with {} codes, {} scales, {} zeros, an order of {}", to_string(m.spec),
                m.outputs, m.inputs, m.codes.size(), m.scales.size(), m.zeros.size(), m.order.size());
  std::vector<bool> seen(m.order.size());
  for (const int32_t input : m.order) {
    const bool is_new = input >= 0 && input < m.inputs && !seen[static_cast<size_t>(input)];
    TRIREME_CHECK(is_new, "an order of {} inputs has input {} twice or beyond", m.inputs, input);
    seen[static_cast<size_t>(input)] = true;
  }
}

/// What kernels would take for numbers.
void refuse_what_is_not_finite(const CodedMatrix& m) {
  const auto scale = std::ranges::find_if_not(m.scales, [](float s) { return std::isfinite(s); });
  if (scale != m.scales.end())
    throw_bad_input("{}: the scale of output {} is {}: scales are finite", to_string(m.spec),
                    (scale - m.scales.begin()) / m.groups(), *scale);
  if (!is_fp8(m)) return;
  const auto code = std::ranges::find_if(m.codes, [](uint8_t c) { return (c & 0x7f) > fp8_e4m3::kMaxCode; });
  if (code != m.codes.end())
    throw_bad_input("fp8: output {} has NaN at input {}: weights are finite",
                    (code - m.codes.begin()) / m.inputs, (code - m.codes.begin()) % m.inputs);
}

bool are_bf16(const std::vector<float>& scales) {
  return std::ranges::all_of(scales, [](float s) { return static_cast<float>(bf16(s)) == s; });
}

/// Rows of matrices one below the other.
class CodedRows {
 public:
  explicit CodedRows(std::span<const CodedMatrix> matrices) : matrices_(matrices), begins_{0} {
    for (const CodedMatrix& m : matrices) begins_.push_back(begins_.back() + m.outputs);
  }
  int64_t size() const { return begins_.back(); }
  const CodedMatrix& matrix_of(int64_t row) const { return matrices_[index_of(row)]; }

  void read(int64_t row, const CodedRow& to) const {
    const size_t index = index_of(row);
    const CodedMatrix& m = matrices_[index];
    const int64_t local = row - begins_[index], groups = m.groups();
    const uint8_t* codes = m.codes.data() + local * m.inputs;
    for (size_t j = 0; j < to.codes.size(); ++j) {
      to.codes[j] = m.order.empty() ? codes[j] : codes[m.order[j]];
    }
    std::copy_n(m.scales.begin() + local * groups, groups, to.scales.begin());
    if (m.zeros.empty()) {
      std::ranges::fill(to.zeros, middle_of(m.spec));
    } else {
      std::copy_n(m.zeros.begin() + local * groups, groups, to.zeros.begin());
    }
  }

 private:
  size_t index_of(int64_t row) const {
    return static_cast<size_t>(std::ranges::upper_bound(begins_, row) - begins_.begin()) - 1;
  }

  std::span<const CodedMatrix> matrices_;
  std::vector<int64_t> begins_;
};

/// [matrices, inputs], or none where no matrix has one.
Tensor order_of(Context& ctx, std::span<const CodedMatrix> matrices, const CodedRows& rows,
                int64_t num_matrices) {
  if (std::ranges::all_of(matrices, [](const CodedMatrix& m) { return m.order.empty(); })) return {};
  const int64_t inputs = matrices.front().inputs, outputs = rows.size() / num_matrices;
  std::vector<int32_t> order(static_cast<size_t>(num_matrices * inputs));
  for (int64_t i = 0; i < num_matrices; ++i) {
    const CodedMatrix& m = rows.matrix_of(i * outputs);
    const auto begin = order.begin() + i * inputs;
    m.order.empty() ? std::iota(begin, begin + inputs, 0) : (void)std::ranges::copy(m.order, begin);
  }
  return to_device(ctx, order, {num_matrices, inputs});
}

}  // namespace

int64_t CodedMatrix::groups() const { return groups_of(spec, inputs); }

std::vector<int32_t> CodedMatrix::group_of_inputs() const {
  std::vector<int32_t> groups(static_cast<size_t>(inputs));
  const int64_t group = std::max<int64_t>(1, inputs_of_group(*this));
  for (int64_t j = 0; j < inputs; ++j) {
    const int64_t input = order.empty() ? j : order[static_cast<size_t>(j)];
    groups[static_cast<size_t>(input)] = static_cast<int32_t>(j / group);
  }
  return groups;
}

void decode_row(const CodedMatrix& m, int64_t row, std::span<float> values) {
  TRIREME_CHECK(row >= 0 && row < m.outputs && std::ssize(values) == m.inputs,
                "decode_row: {} values of row {} of [{}, {}]", values.size(), row, m.outputs, m.inputs);
  const int64_t group = inputs_of_group(m), groups = m.groups();
  const uint8_t* codes = m.codes.data() + row * m.inputs;
  for (int64_t j = 0; j < m.inputs; ++j) {
    const auto at = static_cast<size_t>(row * groups + j / group);
    const int64_t input = m.order.empty() ? j : m.order[static_cast<size_t>(j)];
    const int zero = m.zeros.empty() ? middle_of(m.spec) : m.zeros[at];
    fp8_e4m3 number;
    number.bits = codes[input];
    const float steps = is_fp8(m) ? static_cast<float>(number) : static_cast<float>(codes[input] - zero);
    values[static_cast<size_t>(input)] = m.scales[at] * steps;
  }
}

bool is_whole_groups(const CodedMatrix& m, int64_t column, int64_t columns) {
  if (!m.order.empty()) return column == 0 && columns == m.inputs;
  if (m.spec.group == 0) return true;
  return column % m.spec.group == 0 && (columns % m.spec.group == 0 || column + columns == m.inputs);
}

CodedMatrix part_of(const CodedMatrix& m, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  TRIREME_CHECK(0 <= row && 0 <= rows && row + rows <= m.outputs && 0 <= column && 0 <= columns &&
                    column + columns <= m.inputs && is_whole_groups(m, column, columns),
                "part_of: rows {} + {} and columns {} + {} of {} [{}, {}]", row, rows, column, columns,
                to_string(m.spec), m.outputs, m.inputs);
  CodedMatrix part{m.spec, rows, columns, {}, {}, {}, m.order};
  const int64_t groups = m.groups(), first = m.spec.group == 0 ? 0 : column / m.spec.group;
  const auto take = [&](const auto& from, int64_t width, int64_t begin, int64_t count, auto& to) {
    for (int64_t r = row; r < row + rows; ++r) {
      const auto at = from.begin() + r * width + begin;
      to.insert(to.end(), at, at + count);
    }
  };
  take(m.codes, m.inputs, column, columns, part.codes);
  take(m.scales, groups, first, part.groups(), part.scales);
  if (!m.zeros.empty()) take(m.zeros, groups, first, part.groups(), part.zeros);
  return part;
}

PackedWeight pack_coded(Context& ctx, std::span<const CodedMatrix> matrices, int64_t num_matrices) {
  TRIREME_CHECK(!matrices.empty() && num_matrices > 0, "pack_coded: {} matrices of {} parts", num_matrices,
                matrices.size());
  const CodedMatrix& first = matrices.front();
  const CodedRows rows(matrices);
  const int64_t outputs = rows.size() / num_matrices;
  TRIREME_CHECK(outputs * num_matrices == rows.size(), "pack_coded: {} rows of {} matrices", rows.size(),
                num_matrices);
  PackedWeight w{first.spec, num_matrices, outputs, first.inputs, {}};
  int64_t begin = 0;
  for (const CodedMatrix& m : matrices) {
    check_is_whole(m);
    refuse_what_is_not_finite(m);
    const bool fits = m.spec == first.spec && m.inputs == first.inputs &&
                      begin / outputs == (begin + m.outputs - 1) / outputs &&
                      m.order == rows.matrix_of(begin / outputs * outputs).order;
    TRIREME_CHECK(fits, "pack_coded: {} [{}, {}] below {} [{}, {}], or of another order", to_string(m.spec),
                  m.outputs, m.inputs, to_string(first.spec), first.outputs, first.inputs);
    if (!are_bf16(m.scales)) w.scales = DType::f32;
    begin += m.outputs;
  }
  w.order = order_of(ctx, matrices, rows, num_matrices);
  pack_codes(ctx, w, [&](int64_t row, const CodedRow& to) { rows.read(row, to); });
  return w;
}

CodedMatrix round_to_nearest(Context& ctx, const PackedSpec& spec, int64_t outputs, int64_t inputs,
                             std::span<const float> values) {
  TRIREME_CHECK(spec.format >= PackedFormat::int8 && outputs > 0 && inputs > 0 &&
                    std::ssize(values) == outputs * inputs,
                "round_to_nearest: {} values of [{}, {}] to {}", values.size(), outputs, inputs,
                to_string(spec));
  CodedMatrix m{spec, outputs, inputs, std::vector<uint8_t>(values.size()), {}, {}, {}};
  const int64_t groups = m.groups();
  m.scales.resize(static_cast<size_t>(outputs * groups));
  m.zeros.resize(m.scales.size());
  const auto row_of = [](auto& of, int64_t row, int64_t width) {
    return std::span(of).subspan(static_cast<size_t>(row * width), static_cast<size_t>(width));
  };
  std::vector<int64_t> wrong(static_cast<size_t>(outputs), -1);
  parallel_for(ctx.num_threads(), outputs, std::max<int64_t>(1, (1 << 14) / inputs),
               [&](int64_t begin, int64_t end) {
                 for (int64_t r = begin; r < end; ++r) {
                   wrong[static_cast<size_t>(r)] = quantize_row(
                       spec, row_of(values, r, inputs),
                       {row_of(m.codes, r, inputs), row_of(m.scales, r, groups), row_of(m.zeros, r, groups)});
                 }
               });
  const auto row = std::ranges::find_if(wrong, [](int64_t input) { return input >= 0; });
  if (row != wrong.end())
    refuse_value(spec, row - wrong.begin(), *row,
                 values[static_cast<size_t>((row - wrong.begin()) * inputs + *row)]);
  if (spec.symmetric) m.zeros.clear();
  return m;
}

}  // namespace trireme::ops
