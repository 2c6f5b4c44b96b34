#include "runtime/ops/training/distillation.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>

#include "runtime/ops/elementwise.h"
#include "tests/support/tensors.h"
#include "tests/support/test_device.h"

namespace trireme {
namespace {

using test::make_tensor;
using test::random_tensor;
using test::to_vector;

constexpr float kNone = -std::numeric_limits<float>::infinity();

// Divergences as their papers write them.
double kl(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] > 0 ? a[i] * std::log(a[i] / b[i]) : 0.0;
  return sum;
}
std::vector<double> mixed(double share, const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> m(a.size());
  for (size_t i = 0; i < a.size(); ++i) m[i] = share * a[i] + (1 - share) * b[i];
  return m;
}
struct Kind {
  const char* name;
  ops::Divergence divergence;
  std::function<double(const std::vector<double>& p, const std::vector<double>& q)> definition;
};
using Values = std::vector<double>;
const Kind kKinds[] = {
    {"forward", {0, 1}, [](const Values& p, const Values& q) { return kl(p, q); }},
    {"reverse", {1, 0}, [](const Values& p, const Values& q) { return kl(q, p); }},
    {"skew_forward", {0.1, 1}, [](const Values& p, const Values& q) { return kl(p, mixed(0.1, p, q)); }},
    {"skew_reverse", {0.9, 0}, [](const Values& p, const Values& q) { return kl(q, mixed(0.1, q, p)); }},
    {"jsd",
     {0.3, 0.3},
     [](const Values& p, const Values& q) {
       const Values m = mixed(0.3, p, q);
       return 0.3 * kl(p, m) + 0.7 * kl(q, m);
     }},
};

struct Problem {
  int64_t rows, v;
  std::vector<float> student, teacher = {};  // teacher's empty with few tokens
  std::vector<int32_t> ids = {};             // [rows, k]
  std::vector<float> probabilities = {};
  bool has_rest = false;
  float teacher_cap = 0;
  std::vector<int32_t> targets = {};
  std::vector<float> weights = {};  // or empty

  int64_t num_few() const { return std::ssize(ids) / rows; }
};

Values softmax(const Values& x) {
  const double max = *std::max_element(x.begin(), x.end());
  Values p;
  for (const double value : x) p.push_back(std::exp(value - max));
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= sum;
  return p;
}
double capped(double x, double cap) { return cap > 0 && std::isfinite(x) ? cap * std::tanh(x / cap) : x; }

struct RowValue {
  double entropy = 0, minimised = 0;
};

// By definition, of a row with these logits of the student; its weight is left out.
RowValue defined(const Problem& p, int64_t r, const Kind& kind, const ops::DistillationOptions& o,
                 const Values& logits) {
  const double v = static_cast<double>(p.v), temperature = o.temperature, w = o.weight;
  Values x;
  for (const double raw : logits) x.push_back(capped(raw, o.entropy.soft_cap));
  const double max = *std::max_element(x.begin(), x.end());
  double z = 0;
  for (const double value : x) z += std::exp(value - max);
  const double log_z = std::log(z) + max, at_target = x[p.targets[r]];
  const double smoothing = o.entropy.label_smoothing;
  const double smoothed =
      log_z - (1 - smoothing) * at_target - smoothing * std::accumulate(x.begin(), x.end(), 0.0) / v;
  double divergence = 0;
  Values of_teacher, of_student;
  if (!p.teacher.empty()) {
    Values t, s;
    for (int64_t i = 0; i < p.v; ++i) {
      const float raw = p.teacher[r * p.v + i];
      if (raw == kNone) continue;
      t.push_back(capped(raw, p.teacher_cap) / temperature);
      s.push_back(x[i] / temperature);
    }
    divergence = kind.definition(softmax(t), softmax(s));
  } else {
    Values s = x;
    for (double& value : s) value /= temperature;
    const Values q = softmax(s);
    double left_q = 1, left_p = 1;
    for (int64_t k = 0; k < p.num_few(); ++k) {
      const int32_t id = p.ids[r * p.num_few() + k];
      if (id < 0) continue;
      of_teacher.push_back(p.probabilities[r * p.num_few() + k]);
      of_student.push_back(q[id]);
      left_p -= of_teacher.back();
      left_q -= of_student.back();
    }
    if (p.has_rest) {
      of_teacher.push_back(left_p);
      of_student.push_back(left_q);
      divergence = kind.definition(of_teacher, of_student);
    } else {
      for (size_t i = 0; i < of_teacher.size(); ++i) divergence -= of_teacher[i] * std::log(of_student[i]);
    }
  }
  return {log_z - at_target, (1 - w) * smoothed + double{o.entropy.z_loss} * log_z * log_z +
                                 w * temperature * temperature * divergence};
}

struct Result {
  std::vector<float> loss, added, gradient;
  friend bool operator==(const Result&, const Result&) = default;
};

Tensor integers(Context& ctx, const Shape& shape, const std::vector<int32_t>& values) {
  const Tensor t = Tensor::empty(ctx, shape, DType::i32);
  test::write(t, values);
  return t;
}

// In parts of the vocabulary, between the cuts.
Result run(Context& ctx, const Problem& p, const ops::DistillationOptions& o, DType dtype,
           std::vector<int64_t> cuts = {}, DType teacher_type = DType::f32, bool in_place = true) {
  if (cuts.empty()) cuts = {0, p.v};
  const int64_t num_parts = std::ssize(cuts) - 1;
  const Tensor student = make_tensor(ctx, {p.rows, p.v}, dtype, p.student),
               targets = integers(ctx, {p.rows}, p.targets),
               weights = p.weights.empty() ? Tensor() : make_tensor(ctx, {p.rows}, DType::f32, p.weights);
  ops::TeacherOfRows whole{.soft_cap = p.teacher_cap, .has_rest = p.has_rest};
  Tensor teacher;
  if (!p.teacher.empty()) {
    teacher = make_tensor(ctx, {p.rows, p.v}, teacher_type, p.teacher);
  } else {
    whole.ids = integers(ctx, {p.rows, p.num_few()}, p.ids);
    whole.probabilities = make_tensor(ctx, {p.rows, p.num_few()}, DType::f32, p.probabilities);
  }
  const Tensor statistics = Tensor::empty(ctx, {num_parts, p.rows, 8}, DType::f32),
               sums = Tensor::empty(ctx, {num_parts, p.rows, 2}, DType::f32),
               loss = Tensor::empty(ctx, {p.rows}, DType::f32),
               added = Tensor::empty(ctx, {p.rows}, DType::f32),
               gradient = Tensor::empty(ctx, {p.rows, p.v}, dtype);
  const auto each = [&](const auto& call) {
    for (int64_t part = 0; part < num_parts; ++part) {
      const int64_t first = cuts[part], count = cuts[part + 1] - first;
      ops::TeacherOfRows here = whole;
      if (teacher) here.logits = {teacher, first, count};
      call(part, ops::Columns(student, first, count), ops::TablePart{first, p.v}, here);
    }
  };
  each([&](int64_t part, const ops::Columns& x, const ops::TablePart& table, const ops::TeacherOfRows& t) {
    ops::distillation_statistics(ctx, x, targets, table, t, o,
                                 statistics.slice(part, part + 1).view({p.rows, 8}));
  });
  each([&](int64_t part, const ops::Columns& x, const ops::TablePart& table, const ops::TeacherOfRows& t) {
    ops::distillation_divergence(ctx, x, targets, table, t, o, statistics,
                                 sums.slice(part, part + 1).view({p.rows, 2}));
  });
  Result first;
  each([&](int64_t part, const ops::Columns& x, const ops::TablePart& table, const ops::TeacherOfRows& t) {
    ops::distillation(ctx, x, targets, table, t, o, statistics, sums, loss,
                      in_place ? x : ops::Columns(gradient, x.begin, x.count), added, weights);
    const Result got{to_vector(loss), to_vector(added), {}};
    if (part == 0) first = got;
    EXPECT_EQ(std::memcmp(got.loss.data(), first.loss.data(), got.loss.size() * sizeof(float)), 0) << part;
    EXPECT_EQ(std::memcmp(got.added.data(), first.added.data(), got.added.size() * sizeof(float)), 0) << part;
  });
  first.gradient = to_vector(in_place ? student : gradient);
  return first;
}

// Values by definition, and central differences of them at some columns.
void expect_defined(const Problem& p, const Kind& kind, const ops::DistillationOptions& o, const Result& got,
                    double rounding = 0) {
  for (int64_t r = 0; r < p.rows; ++r) {
    SCOPED_TRACE(fmt::format("{}, row {}", kind.name, r));
    const double weight = p.weights.empty() ? 1.0 : double{p.weights[r]};
    if (p.targets[r] == ops::kIgnoredTarget || weight == 0) {
      EXPECT_EQ(got.loss[r], 0);
      EXPECT_EQ(got.added[r], 0);
      for (int64_t i = 0; i < p.v; ++i) ASSERT_EQ(got.gradient[r * p.v + i], 0) << i;
      continue;
    }
    Values x(p.student.begin() + r * p.v, p.student.begin() + (r + 1) * p.v);
    const RowValue value = defined(p, r, kind, o, x);
    const double size = std::max({1.0, std::abs(value.entropy), std::abs(value.minimised)}) * weight;
    EXPECT_NEAR(got.loss[r], weight * value.entropy, 2e-6 * size);
    EXPECT_NEAR(got.loss[r] + got.added[r], weight * value.minimised, 4e-6 * size);
    const int64_t step = std::max<int64_t>(1, p.v / 24);
    for (int64_t i = 0; i < p.v; ++i) {
      const bool looks = i % step == 0 || i == p.targets[r] || i + 1 == p.v ||
                         std::ranges::count(p.ids, static_cast<int32_t>(i)) > 0;
      if (!looks) continue;
      constexpr double kStep = 1e-4;
      const double at = x[i];
      x[i] = at + kStep;
      const double above = defined(p, r, kind, o, x).minimised;
      x[i] = at - kStep;
      const double below = defined(p, r, kind, o, x).minimised;
      x[i] = at;
      const double expected = double{o.entropy.gradient_scale} * weight * (above - below) / (2 * kStep);
      ASSERT_NEAR(got.gradient[r * p.v + i], expected,
                  3e-6 * std::max(1.0, weight) + rounding * std::abs(expected))
          << "column " << i;
    }
  }
}

std::vector<float> drawn(int64_t n, uint64_t seed, float scale) {
  std::vector<float> values;
  for (int64_t i = 0; i < n; ++i)
    values.push_back(scale * philox_normal4(seed, static_cast<uint64_t>(i) / 4, 0)[i % 4]);
  return values;
}

Problem of_all_tokens(int64_t rows, int64_t v) {
  Problem p{.rows = rows, .v = v, .student = drawn(rows * v, 3, 3), .teacher = drawn(rows * v, 4, 3)};
  for (int64_t r = 0; r < rows; ++r) {
    p.targets.push_back(r % 4 == 2 ? ops::kIgnoredTarget : static_cast<int32_t>((r * 7919 + 3) % v));
    p.weights.push_back(r % 5 == 3 ? 0.0f : 0.5f + 0.25f * static_cast<float>(r % 3));
    // The teacher's vocabulary ends earlier, and has a hole.
    for (int64_t i = v - v / 8; i < v; ++i) p.teacher[r * v + i] = kNone;
    if (v > 3) p.teacher[r * v + 1] = kNone;
  }
  return p;
}

// From a distribution of its own; the last row has a token fewer.
Problem of_few_tokens(int64_t rows, int64_t v, int64_t k, bool has_rest) {
  Problem p = of_all_tokens(rows, v);
  p.teacher.clear();
  p.has_rest = has_rest;
  for (int64_t r = 0; r < rows; ++r) {
    double sum = has_rest ? 0.4 * static_cast<double>(k) : 0;
    std::vector<float> shares;
    for (int64_t i = 0; i < k; ++i) shares.push_back(0.2f + static_cast<float>((i * 5 + r) % 7));
    const bool is_short = r + 1 == rows && k > 1;
    if (is_short) shares.back() = 0;
    for (const float share : shares) sum += share;
    for (int64_t i = 0; i < k; ++i) {
      p.ids.push_back(is_short && i + 1 == k ? -1 : static_cast<int32_t>(((k - i) * (v / k) + r) % v));
      p.probabilities.push_back(static_cast<float>(shares[i] / sum));
    }
  }
  return p;
}

ops::DistillationOptions options_of(const Kind& kind, float weight, float temperature, float cap = 0) {
  return {.entropy = {.gradient_scale = 0.5f, .soft_cap = cap, .z_loss = 0.01f, .label_smoothing = 0.1f},
          .divergence = kind.divergence,
          .weight = weight,
          .temperature = temperature};
}

TEST(Distillation, EveryDivergenceIsWhatItsPaperSays) {
  Context one(test::test_device()), three(test::test_device(), 3);
  for (const Kind& kind : kKinds) {
    for (const int64_t v : {5, 37, 1031}) {
      Problem p = of_all_tokens(8, v);
      p.teacher_cap = v == 37 ? 4.0f : 0.0f;
      const auto o = options_of(kind, v == 5 ? 1.0f : 0.7f, v == 5 ? 1.0f : 2.0f, v == 37 ? 5.0f : 0.0f);
      const Result got = run(one, p, o, DType::f32);
      expect_defined(p, kind, o, got);
      EXPECT_EQ(run(three, p, o, DType::f32), got) << "three threads";
      EXPECT_EQ(run(one, p, o, DType::f32, {}, DType::f32, false), got) << "apart";
      if (v <= 37) expect_defined(p, kind, o, run(three, p, o, DType::f32, {0, 2, v - v / 8, v - v / 8, v}));
    }
  }
}

TEST(Distillation, FewTokensAreOutcomesBesideAllOthers) {
  Context one(test::test_device()), three(test::test_device(), 3);
  for (const Kind& kind : kKinds) {
    for (const auto& [v, k] : {std::pair<int64_t, int64_t>{5, 1}, {37, 6}, {1031, 40}}) {
      const Problem p = of_few_tokens(7, v, k, true);
      const auto o = options_of(kind, 0.7f, v == 5 ? 1.0f : 2.0f, v == 37 ? 5.0f : 0.0f);
      const Result got = run(one, p, o, DType::f32);
      expect_defined(p, kind, o, got);
      EXPECT_EQ(run(three, p, o, DType::f32), got) << "three threads";
      EXPECT_EQ(run(one, p, o, DType::f32, {}, DType::f32, false), got) << "apart";
      if (v <= 37) expect_defined(p, kind, o, run(one, p, o, DType::f32, {0, 3, 3, v}));
    }
  }
}

TEST(Distillation, SampledTokensEstimateForwardKl) {
  Context one(test::test_device());
  for (const int64_t v : {37, 1031}) {
    const Problem p = of_few_tokens(7, v, 9, false);
    const auto o = options_of(kKinds[0], 0.7f, 2.0f, v == 37 ? 5.0f : 0.0f);
    expect_defined(p, kKinds[0], o, run(one, p, o, DType::f32));
    if (v == 37) expect_defined(p, kKinds[0], o, run(one, p, o, DType::f32, {0, 12, 37}));
  }
  // All of a distribution's tokens: the gradient of forward KL itself.
  Problem all = of_all_tokens(4, 12), few = all;
  few.teacher.clear();
  for (int64_t r = 0; r < 4; ++r) {
    Values t;
    for (int64_t i = 0; i < 12; ++i) t.push_back(double{all.teacher[r * 12 + i]});
    const Values p = softmax(t);
    for (int64_t i = 0; i < 12; ++i) {
      all.teacher[r * 12 + i] = static_cast<float>(std::log(p[i] + 1e-3));
      few.ids.push_back(static_cast<int32_t>(i));
      few.probabilities.push_back(static_cast<float>((p[i] + 1e-3) / 1.012));
    }
  }
  const auto o = options_of(kKinds[0], 1, 1);
  const Result a = run(one, all, o, DType::f32), b = run(one, few, o, DType::f32);
  for (size_t i = 0; i < a.gradient.size(); ++i) EXPECT_NEAR(a.gradient[i], b.gradient[i], 1e-6f) << i;
}

TEST(Distillation, WorksOnEveryType) {
  Context ctx(test::test_device());
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (Problem p : {of_all_tokens(6, 133), of_few_tokens(6, 133, 5, true)}) {
      const auto rounded = [&](std::vector<float> values, DType type) {
        return values.empty() ? values : to_vector(make_tensor(ctx, {std::ssize(values)}, type, values));
      };
      const DType teacher_type = dtype == DType::bf16 ? DType::f16 : DType::bf16;
      p.student = rounded(p.student, dtype);
      p.teacher = rounded(p.teacher, teacher_type);
      const auto o = options_of(kKinds[4], 0.6f, 1.5f);
      expect_defined(p, kKinds[4], o, run(ctx, p, o, dtype, {}, teacher_type),
                     dtype == DType::bf16 ? 0x1p-8 : 0x1p-10);
    }
  }
}

TEST(Distillation, ExtremeLogitsStayFinite) {
  Context ctx(test::test_device());
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.name);
    Problem p{.rows = 4, .v = 40, .student = drawn(160, 5, 1e4f), .teacher = drawn(160, 6, 1e4f)};
    std::copy_n(p.student.begin(), 40, p.teacher.begin());  // the same: nothing to learn
    p.targets = {1, 2, 3, 4};
    const Result got = run(ctx, p, {.divergence = kind.divergence, .weight = 1}, DType::f32);
    EXPECT_NEAR(got.loss[0] + got.added[0], 0, 1e-2f);  // of a loss of about 1e4
    for (int64_t i = 0; i < 40; ++i) EXPECT_NEAR(got.gradient[i], 0, 1e-6f);
    for (const float value : got.added) EXPECT_TRUE(std::isfinite(value));
    for (const float value : got.gradient) EXPECT_TRUE(std::isfinite(value));
    // Few tokens that are all of it, and one that is hopeless for the student.
    Problem few{.rows = 1, .v = 3, .student = {1e4f, -1e4f, 0}, .ids = {0, 1, 2}};
    few.probabilities = {0.5f, 0.5f, 0};
    few.has_rest = true;
    few.targets = {0};
    const Result of_few = run(ctx, few, {.divergence = kind.divergence, .weight = 1}, DType::f32);
    for (const float value : of_few.gradient) EXPECT_TRUE(std::isfinite(value));
    EXPECT_TRUE(std::isfinite(of_few.added[0]));
  }
}

TEST(Distillation, ATeachersLogitThatIsNoNumberReachesTheLoss) {
  Context ctx(test::test_device());
  for (const Kind& kind : kKinds) {
    Problem p = of_all_tokens(1, 40);
    p.teacher[7] = std::nanf("");
    EXPECT_TRUE(std::isnan(run(ctx, p, options_of(kind, 0.5f, 1), DType::f32).added[0])) << kind.name;
  }
}

TEST(Distillation, WithoutWeightItIsCrossEntropy) {
  Context ctx(test::test_device());
  const Problem p = of_all_tokens(6, 133);
  auto o = options_of(kKinds[1], 0, 2, 5);
  const Result got = run(ctx, p, o, DType::f32);
  const Tensor logits = make_tensor(ctx, {6, 133}, DType::f32, p.student),
               loss = Tensor::empty(ctx, {6}, DType::f32), added = Tensor::empty(ctx, {6}, DType::f32);
  ops::cross_entropy(ctx, logits, integers(ctx, {6}, p.targets), o.entropy, loss, logits, added,
                     make_tensor(ctx, {6}, DType::f32, p.weights));
  const auto expected = to_vector(logits), expected_added = to_vector(added), expected_loss = to_vector(loss);
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(got.gradient[i], expected[i], 1e-7f) << i;
  for (size_t r = 0; r < 6; ++r) {
    EXPECT_NEAR(got.loss[r], expected_loss[r], 2e-6f);
    EXPECT_NEAR(got.added[r], expected_added[r], 2e-6f);
  }
}

TEST(Distillation, RefusesWhatItCannotRead) {
  Context ctx(test::test_device());
  const Problem sampled = of_few_tokens(2, 9, 3, false);
  EXPECT_THROW(run(ctx, sampled, options_of(kKinds[1], 0.5f, 1), DType::f32), InternalError);
  Problem outside = of_few_tokens(2, 9, 3, true);
  outside.ids[1] = 9;
  EXPECT_THROW(run(ctx, outside, options_of(kKinds[0], 0.5f, 1), DType::f32), InternalError);
  Problem p = of_all_tokens(2, 9);
  EXPECT_THROW(run(ctx, p, options_of(kKinds[0], 1.5f, 1), DType::f32), InternalError);
  EXPECT_THROW(run(ctx, p, options_of(kKinds[0], 0.5f, 0), DType::f32), InternalError);
  p.targets[0] = 9;
  EXPECT_THROW(run(ctx, p, options_of(kKinds[0], 0.5f, 1), DType::f32), InternalError);
}

}  // namespace
}  // namespace trireme
