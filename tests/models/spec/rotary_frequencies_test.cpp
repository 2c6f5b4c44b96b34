// Scaled RoPE frequencies against transformers and against the formulas written another way.
#include "models/spec/rotary_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace trireme {
namespace {

std::vector<double> line(double first, double step, int count) {
  std::vector<double> values;
  for (int i = 0; i < count; ++i) values.push_back(first + step * i);
  return values;
}

RotarySpec spec_of_kind(RotaryScaling kind, double theta, double factor, int64_t original) {
  return {
      .dims = 16, .theta = theta, .scaling = kind, .scaling_factor = factor, .original_positions = original};
}

struct Published {
  const char* name;
  RotarySpec spec;
  int64_t positions;
  std::vector<double> frequencies;
  double attention;
};

// ROPE_INIT_FUNCTIONS[type](LlamaConfig(head_dim=16, max_position_embeddings=4096, rope_parameters=...),
// "cpu", seq_len=positions) of transformers 5.24, in single precision; of longrope with factors 1 + 0.05 i
// and 1.5 + 2.5 i.
std::vector<Published> published() {
  RotarySpec llama3 = spec_of_kind(RotaryScaling::llama3, 500000, 8, 512);
  llama3.low_freq_factor = 1.5;
  llama3.high_freq_factor = 6;
  RotarySpec yarn = spec_of_kind(RotaryScaling::yarn, 150000, 40, 4096);
  yarn.beta_fast = 24;
  yarn.beta_slow = 2;
  yarn.truncate = false;
  yarn.attention_factor = 1.25;
  RotarySpec longrope = spec_of_kind(RotaryScaling::longrope, 10000, 8, 512);
  longrope.short_factors = line(1, 0.05, 8);
  longrope.long_factors = line(1.5, 2.5, 8);
  return {{"linear",
           spec_of_kind(RotaryScaling::linear, 10000, 4, 8192),
           100,
           {0.25, 0.079056941, 0.0250000004, 0.00790569466, 0.00249999994, 0.000790569466, 0.000250000012,
            7.90569466e-05},
           1},
          {"llama3",
           llama3,
           100,
           {1, 0.193922758, 0.0161401983, 0.000911583134, 0.000176776681, 3.42810235e-05, 6.64786967e-06,
            1.28917316e-06},
           1},
          {"yarn",
           spec_of_kind(RotaryScaling::yarn, 10000, 8, 512),
           100,
           {1, 0.247052938, 0.0562500022, 0.01087033, 0.00124999997, 0.000395284733, 0.000125000006,
            3.95284733e-05},
           1.2079441541679836},
          {"yarn without truncation",
           yarn,
           100,
           {1, 0.225418001, 0.0508132726, 0.00620687613, 6.45497203e-05, 1.45506692e-05, 3.27998259e-06,
            7.39367181e-07},
           1.25},
          {"short longrope",
           longrope,
           512,
           {1, 0.301169306, 0.0909090936, 0.0274980683, 0.00833333284, 0.00252982229, 0.00076923077,
            0.000234242791},
           1.1547005383792515},
          {"long longrope",
           longrope,
           513,
           {0.666666687, 0.079056941, 0.0153846154, 0.00351364189, 0.000869565236, 0.000225876982,
            6.06060603e-05, 1.66435675e-05},
           1.1547005383792515}};
}

TEST(RotaryFrequencies, AreThoseOfTransformers) {
  for (const Published& known : published()) {
    const std::vector<double> ours = rotary_frequencies(known.spec, known.positions);
    ASSERT_EQ(ours.size(), known.frequencies.size());
    for (size_t i = 0; i < ours.size(); ++i)
      EXPECT_NEAR(ours[i] / known.frequencies[i], 1, 3e-7) << known.name << " " << i;
    EXPECT_DOUBLE_EQ(rotary_attention_factor(known.spec), known.attention) << known.name;
  }
}

// YaRN by wavelengths: of pair i the mean of stretched and whole wave numbers, weighed by its place between
// the pairs that turn beta_fast and beta_slow times in the original context.
double yarn_by_hand(const RotarySpec& s, int i) {
  const double pairs_a_factor_of_e = static_cast<double>(s.dims) / 2 / std::log(s.theta);
  const auto place = [&](double turns) {
    const double wave = static_cast<double>(s.original_positions) / turns;
    return pairs_a_factor_of_e * std::log(wave / (2 * std::numbers::pi));
  };
  double from = place(s.beta_fast), to = place(s.beta_slow);
  if (s.truncate) from = std::floor(from), to = std::ceil(to);
  from = std::max(from, 0.0);
  to = std::min(to, static_cast<double>(s.dims) - 1);
  const double weight = i <= from ? 0 : i >= to ? 1 : (i - from) / (to - from);
  const double wave = 2 * std::numbers::pi * std::exp(i / pairs_a_factor_of_e);
  return 2 * std::numbers::pi * (weight / (s.scaling_factor * wave) + (1 - weight) / wave);
}

TEST(RotaryFrequencies, OfYarnAreTheFormulaInDouble) {
  for (const bool truncate : {true, false}) {
    for (const int64_t dims : {4, 64, 128}) {
      RotarySpec spec = spec_of_kind(RotaryScaling::yarn, 10000, 16, 4096);
      spec.dims = dims;
      spec.truncate = truncate;
      const std::vector<double> ours = rotary_frequencies(spec, 65536);
      ASSERT_EQ(ours.size(), static_cast<size_t>(dims / 2));
      for (int i = 0; i < dims / 2; ++i)
        EXPECT_NEAR(ours[static_cast<size_t>(i)] / yarn_by_hand(spec, i), 1, 1e-13) << dims << " " << i;
    }
  }
}

TEST(RotaryFrequencies, WithoutAFactorNoScalingChangesThem) {
  const std::vector<double> plain = rotary_frequencies({.dims = 8, .theta = 100}, 32);
  EXPECT_EQ(plain.size(), 4u);
  for (size_t i = 0; i < plain.size(); ++i)
    EXPECT_DOUBLE_EQ(plain[i], 1 / std::pow(10.0, static_cast<double>(i) / 2));
  for (const auto kind :
       {RotaryScaling::llama3, RotaryScaling::linear, RotaryScaling::yarn, RotaryScaling::longrope}) {
    const RotarySpec spec{.dims = 8, .theta = 100, .scaling = kind, .attention_factor = 2};
    EXPECT_EQ(rotary_frequencies(spec, 32), plain);
    EXPECT_EQ(rotary_attention_factor(spec), 1);
  }
}

TEST(RotaryFrequencies, WhereYarnsBoundsMeetThereIsAStep) {
  RotarySpec spec = spec_of_kind(RotaryScaling::yarn, 10000, 4, 4);  // all turn less than once
  for (const double f : rotary_frequencies(spec, 16)) EXPECT_TRUE(std::isfinite(f) && f > 0);
  EXPECT_DOUBLE_EQ(rotary_frequencies(spec, 16).back(), std::pow(10000, -14.0 / 16) / 4);
}

}  // namespace
}  // namespace trireme
