// Methods against what the papers' equations give in PyTorch (tests/golden/make_compress_golden.py).
#include <cstring>

#include <gmock/gmock.h>

#include "models/compress/input_scales.h"
#include "models/compress/prune_matrix.h"
#include "runtime/io/safetensors/safetensors.h"
#include "tests/models/compress/matrices.h"
#include "tests/support/folders.h"

namespace trireme {
namespace {

using ops::PackedFormat;
using test::statistics_of;

class GoldenMethods : public testing::Test {
 protected:
  template <class T>
  std::vector<T> read(const std::string& name) const {
    const auto bytes = file_.at(name).bytes;
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

  SafetensorsReader file_{test::source_folder() + "/tests/golden/compress.safetensors"};
  std::vector<float> w_ = read<float>("weight"), second_ = read<float>("second");
  static constexpr int64_t kInputs = 80;
  InputStatistics statistics_ = statistics_of(read<float>("x"), kInputs);
  Context ctx_{{}, 2};
};

TEST_F(GoldenMethods, Gptq) {
  struct Case {
    std::string name;
    ops::PackedSpec spec;
    ColumnOrder order;
  };
  for (const Case& c : {Case{"int4_group32", {PackedFormat::int4, 32}, ColumnOrder::as_is},
                        Case{"int4_group32_asymmetric", {PackedFormat::int4, 32, false}, ColumnOrder::as_is},
                        Case{"int4_static", {PackedFormat::int4, 64}, ColumnOrder::static_groups},
                        Case{"int4_groups", {PackedFormat::int4, 32, false}, ColumnOrder::groups},
                        Case{"int4_channel", {PackedFormat::int4, 0}, ColumnOrder::groups},
                        Case{"int8_group128", {PackedFormat::int8, 128, false}, ColumnOrder::as_is}}) {
    SCOPED_TRACE(c.name);
    const RoundedMatrix rounded =
        quantize_matrix(ctx_, w_, std::ssize(w_) / kInputs, kInputs, statistics_,
                        {.spec = c.spec, .method = RoundingMethod::gptq, .order = c.order});
    EXPECT_EQ(rounded.matrix.scales, read<float>("scales/" + c.name));
    EXPECT_EQ(rounded.matrix.codes, read<uint8_t>("codes/" + c.name));
    const auto zeros = c.spec.symmetric ? std::vector<uint8_t>() : read<uint8_t>("zeros/" + c.name);
    EXPECT_EQ(rounded.matrix.zeros, zeros);
  }
}

TEST_F(GoldenMethods, Awq) {
  const RoundingOptions rounding{.spec = {PackedFormat::int4, 32}};
  const ScaledMatrix matrices[] = {{w_, std::ssize(w_) / kInputs, rounding},
                                   {second_, std::ssize(second_) / kInputs, rounding}};
  const InputScales result = input_scales(ctx_, InputScaling::awq, matrices, statistics_);
  EXPECT_THAT(result.scales, testing::Pointwise(testing::FloatEq(), read<float>("awq")));
  const auto errors = read<double>("awq_errors");
  EXPECT_NEAR(result.error, *std::min_element(errors.begin(), errors.end()), 1e-6 * result.error);
  EXPECT_NEAR(result.error_before, errors[0], 1e-9 * errors[0]);
  EXPECT_LT(result.error, 0.7 * result.error_before);
}

TEST_F(GoldenMethods, SmoothQuant) {
  const ScaledMatrix matrices[] = {
      {w_, std::ssize(w_) / kInputs, {.spec = {PackedFormat::int8, 0}}},
      {second_, std::ssize(second_) / kInputs, {.spec = {PackedFormat::int8, 0}}}};
  const InputScales result = input_scales(ctx_, InputScaling::smooth_quant, matrices, statistics_, 0.5);
  EXPECT_THAT(result.scales, testing::Pointwise(testing::FloatEq(), read<float>("smooth_quant")));
  EXPECT_EQ(result.strength, 0.5);
}

TEST_F(GoldenMethods, Pruning) {
  struct Case {
    std::string name;
    PruneOptions options;
  };
  for (const Case& c :
       {Case{"wanda", {PruneMethod::wanda, 0.4}},
        Case{"sparsegpt", {.method = PruneMethod::sparsegpt, .sparsity = 0.6, .block = 32}},
        Case{"sparsegpt_2_4", {.method = PruneMethod::sparsegpt, .zeros = 2, .of = 4, .block = 32}}}) {
    SCOPED_TRACE(c.name);
    const auto expected = read<float>("pruned/" + c.name);
    const auto found =
        prune_matrix(ctx_, w_, std::ssize(w_) / kInputs, kInputs, statistics_, c.options).values;
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i] == 0, expected[i] == 0) << i;
      EXPECT_NEAR(found[i], expected[i], 1e-6) << i;
    }
  }
}

}  // namespace
}  // namespace trireme
