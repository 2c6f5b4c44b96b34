#include "runtime/ops/compress/round_groups.h"

#include <algorithm>
#include <array>
#include <vector>

#include "runtime/ops/cpu/compress/panels.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops {

namespace {

constexpr int64_t kRatios = 21;
constexpr float kRatioStep = 1.0f / 40;

struct Ends {
  float least = 0, most = 0;
};

Ends ends_of(std::span<const float> values) {
  Ends ends;
  for (const float x : values) {
    ends.least = std::min(ends.least, x);
    ends.most = std::max(ends.most, x);
  }
  return ends;
}

TRIREME_VECTORIZED void integer_errors(const float* x, const uint8_t* codes, float scale, float zero,
                                       int64_t n, double* errors) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    errors[i] =
        static_cast<double>(x[i]) - static_cast<double>(scale * (static_cast<float>(codes[i]) - zero));
  }
}

void rounding_errors(const PackedSpec& spec, const GroupCode& code, std::span<const float> x,
                     std::span<const uint8_t> codes, double* errors) {
  if (spec.format != PackedFormat::fp8) {
    return integer_errors(x.data(), codes.data(), code.scale, code.zero, std::ssize(x), errors);
  }
  for (size_t i = 0; i < x.size(); ++i) {
    errors[i] = static_cast<double>(x[i]) - static_cast<double>(value_of(spec, code, codes[i]));
  }
}

}  // namespace

GroupCode choose_code(const PackedSpec& spec, std::span<const float> values, const QuadraticForm* form) {
  const Ends ends = ends_of(values);
  if (form == nullptr) return group_code(spec, ends.least, ends.most);
  const auto n = std::ssize(values), stride = round_up(n, cpu::kPanel);
  std::vector<double> errors(static_cast<size_t>(kRatios * stride));
  std::vector<uint8_t> codes(values.size());
  std::array<GroupCode, kRatios> choices;
  for (int64_t t = 0; t < kRatios; ++t) {
    const float ratio = 1.0f - kRatioStep * static_cast<float>(t);
    GroupCode& choice = choices[static_cast<size_t>(t)];
    choice = group_code(spec, ratio * ends.least, ratio * ends.most);
    code_values(spec, choice, values, codes);
    rounding_errors(spec, choice, values, codes, errors.data() + t * stride);
  }
  std::array<double, kRatios> sums;
  form->evaluate(kRatios, errors.data(), stride, sums.data());
  return choices[static_cast<size_t>(std::min_element(sums.begin(), sums.end()) - sums.begin())];
}

void round_groups(Context& ctx, std::span<const float> w, const GroupsOfInputs& groups,
                  std::span<const uint8_t> dead, std::span<const QuadraticForm> forms, CodedMatrix& to) {
  const int64_t inputs = to.inputs, count = groups.count();
  const auto task = [&](int64_t row, int64_t) {
    const float* from = w.data() + row * inputs;
    uint8_t* codes = to.codes.data() + row * inputs;
    std::vector<float> values(static_cast<size_t>(groups.size));
    std::vector<uint8_t> coded(static_cast<size_t>(groups.size));
    for (int64_t g = 0; g < count; ++g) {
      const auto members = groups.inputs_of(g);
      for (size_t i = 0; i < members.size(); ++i) {
        const int32_t input = members[i];
        values[i] = !dead.empty() && dead[static_cast<size_t>(input)] != 0 ? 0.0f : from[input];
      }
      const auto here = std::span(values).first(members.size());
      const GroupCode code =
          choose_code(to.spec, here, forms.empty() ? nullptr : &forms[static_cast<size_t>(g)]);
      const auto at = static_cast<size_t>(row * count + g);
      to.scales[at] = code.scale;
      if (!to.zeros.empty()) to.zeros[at] = static_cast<uint8_t>(code.zero);
      code_values(to.spec, code, here, coded);
      for (size_t i = 0; i < members.size(); ++i) codes[members[i]] = coded[i];
    }
  };
  cpu::run_in_team(ctx.num_threads(), to.outputs, task);
}

}  // namespace trireme::ops
