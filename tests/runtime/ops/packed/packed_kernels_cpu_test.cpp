// The kernels of every instruction set: equal bits, and of exact products those of the order that they
// promise.
#include "runtime/ops/cpu/packed/integers/integer_linear.h"
#include "tests/runtime/ops/op_test.h"
#include "tests/runtime/ops/packed/packed_cases.h"

namespace trireme::test {
namespace {

using ops::Activations;
using ops::PackedSpec;
using ops::PackedWeight;

class PackedKernelsTest : public SharedContexts {
 protected:
  Context& ctx_ = context();

  std::vector<float> multiply(int num_threads, const std::vector<float>& x, int64_t rows,
                              const PackedWeight& w, Activations activations,
                              const ops::cpu::IntegerKernels& kernels) {
    // Memory of the very size, beside which sanitizers look.
    std::vector<float> y(static_cast<size_t>(rows * w.outputs), -1.0f);
    const Tensor in = Tensor::borrow(const_cast<float*>(x.data()), {rows, w.inputs}, DType::f32);
    const Tensor out = Tensor::borrow(y.data(), {rows, w.outputs}, DType::f32);
    ops::cpu::integers_linear(context(num_threads), in, {&rows, 1}, w, activations, {}, out, kernels);
    return y;
  }
};

std::vector<float> chain(const std::vector<float>& x, int64_t rows, const PackedWeight& w,
                         const std::vector<float>& values) {
  std::vector<float> sums;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < w.outputs; ++o) {
      float sum = 0;
      for (int64_t i = 0; i < w.inputs; ++i) {
        sum = std::fma(values[static_cast<size_t>(o * w.inputs + i)],
                       x[static_cast<size_t>(r * w.inputs + i)], sum);
      }
      sums.push_back(sum);
    }
  }
  return sums;
}

TEST_F(PackedKernelsTest, EveryInstructionSetGivesTheSameBits) {
  Draws draws(11);
  for (const PackedSpec& spec : integer_specs()) {
    for (int i = 0; i < 3; ++i) {
      const int64_t rows = draws.number(0, i == 0 ? 70 : 12), outputs = draws.number(1, i == 1 ? 100 : 30);
      const int64_t inputs = drawn_inputs(spec, i == 2 ? 700 : 100, draws);
      SCOPED_TRACE(fmt::format("{}, {} rows, [{}, {}]", to_string(spec), rows, outputs, inputs));
      PackedWeight w = drawn_weight(ctx_, spec, 1, outputs, inputs, draws);
      if (i == 2 && !is_stored_in_blocks(spec.format)) {  // scales that are no bf16
        const ops::CodedMatrix coded = drawn_codes(spec, outputs, inputs, ScaleBits::f32, false, draws);
        w = ops::pack_coded(ctx_, {&coded, 1});
      }
      std::vector<std::byte> memory = read_bytes(w.data);
      w.data = Tensor::borrow(memory.data(), w.data.shape(), DType::u8);
      std::vector<float> x(static_cast<size_t>(rows * inputs));
      for (float& value : x) value = draws.normal();
      const std::vector<float> exact = chain(x, rows, w, unpacked(ctx_, w));
      const std::vector<float> integers =
          multiply(1, x, rows, w, Activations::int8, ops::cpu::kPlainIntegerKernels);
      for (const ops::cpu::IntegerKernels* kernels : ops::cpu::all_integer_kernels()) {
        SCOPED_TRACE(kernels->instructions);
        const int threads = static_cast<int>(draws.number(1, 3));
        ASSERT_EQ(multiply(threads, x, rows, w, Activations::exact, *kernels), exact);
        ASSERT_EQ(multiply(threads, x, rows, w, Activations::int8, *kernels), integers);
      }
    }
  }
}

// The bound that packed_linear.h states for x as it is quantized; formats with minima have another.
TEST_F(PackedKernelsTest, ProductsOfIntegersKeepTheirBound) {
  Draws draws(16);
  for (const PackedSpec& spec : integer_specs()) {
    if (spec.format == ops::PackedFormat::q4_1 || spec.format == ops::PackedFormat::q4_k) continue;
    if (spec.format == ops::PackedFormat::fp8) continue;  // multiplied exactly
    const int64_t inputs = drawn_inputs(spec, 700, draws), blocks = (inputs + 31) / 32;
    const PackedWeight w = drawn_weight(ctx_, spec, 1, 17, inputs, draws);
    const std::vector<float> values = unpacked(ctx_, w);
    std::vector<float> x(static_cast<size_t>(inputs));
    for (float& value : x) value = draws.normal();
    std::vector<float> padded = x;
    padded.resize(static_cast<size_t>(32 * blocks));
    std::vector<ops::cpu::QuantizedBlock> quantized(static_cast<size_t>(blocks));
    for (const auto activations : {Activations::int8, Activations::int8_rows}) {
      const bool one_scale = activations == Activations::int8_rows;
      (one_scale ? ops::cpu::quantize_whole_row : ops::cpu::quantize_blocks)(padded.data(), blocks,
                                                                             quantized.data());
      const auto y = multiply(1, x, 1, w, activations, ops::cpu::integer_kernels());
      for (size_t o = 0; o < y.size(); ++o) {
        double sum = 0, magnitude = 0;
        for (size_t i = 0; i < x.size(); ++i) {
          const auto& block = quantized[i / 32];
          const double product =
              static_cast<double>(block.scale) * block.q[i % 32] * values[o * x.size() + i];
          sum += product;
          magnitude += std::abs(product);
        }
        ASSERT_LE(std::abs(y[o] - sum), 0x1p-24 * (static_cast<double>(inputs) / 16 + 8) * magnitude)
            << to_string(spec) << ", " << inputs << " inputs";
      }
    }
  }
}

TEST_F(PackedKernelsTest, LargeProductsAreDividedAmongThreadsWithoutATrace) {
  Draws draws(12);
  for (const PackedSpec& spec :
       {PackedSpec{ops::PackedFormat::q4_0}, PackedSpec{ops::PackedFormat::int8, 64}}) {
    const PackedWeight w = drawn_weight(ctx_, spec, 1, 1000, 512, draws);
    std::vector<float> x(3 * 512);
    for (float& value : x) value = draws.normal();
    for (const Activations activations : {Activations::exact, Activations::int8}) {
      for (const int64_t rows : {1, 3}) {
        const auto one = multiply(1, x, rows, w, activations, ops::cpu::integer_kernels());
        for (const int threads : {2, 3}) {
          ASSERT_EQ(multiply(threads, x, rows, w, activations, ops::cpu::integer_kernels()), one);
        }
      }
    }
  }
}

// Codes and x at the ends of their ranges: sums of products of 16 bits would overflow.
TEST_F(PackedKernelsTest, LargestCodesDoNotOverflow) {
  for (const PackedSpec& spec : integer_specs()) {
    Draws draws(13);
    PackedWeight w = drawn_weight(ctx_, spec, 1, 32, 256, draws);
    if (is_stored_in_blocks(spec.format)) {
      auto blocks = drawn_blocks(spec.format, 32, 256, draws, 0.0f);
      const size_t row_bytes = blocks.size() / 32;
      for (auto& byte : blocks) byte = byte == std::byte{0} ? byte : std::byte{0xff};
      // Scales of 1 where the layout has them.
      const auto layout = ops::layout_of(block_type(spec.format));
      for (size_t at = 0; at < blocks.size(); at += static_cast<size_t>(layout.bytes)) {
        const uint16_t one = 0x3c00;
        const size_t scale = at + (spec.format == ops::PackedFormat::q6_k ? 208 : 0);
        std::memcpy(blocks.data() + scale, &one, 2);
        if (spec.format == ops::PackedFormat::q4_1 || spec.format == ops::PackedFormat::q4_k)
          std::memcpy(blocks.data() + scale + 2, &one, 2);
      }
      w = ops::pack_stored(ctx_, spec.format, 1, 32, 256,
                           [&](int64_t row) { return blocks.data() + static_cast<size_t>(row) * row_bytes; });
    } else {
      w = ops::pack_rows(ctx_, spec, 1, 32, 256,
                         [](int64_t, std::span<float> to) { std::ranges::fill(to, 127.0f); });
    }
    const std::vector<float> x(256, 1.0f), values = unpacked(ctx_, w);
    for (const ops::cpu::IntegerKernels* kernels : ops::cpu::all_integer_kernels()) {
      const auto y = multiply(1, x, 1, w, Activations::int8, *kernels);
      for (size_t o = 0; o < y.size(); ++o) {
        double sum = 0;
        for (size_t i = 0; i < 256; ++i) sum += values[o * 256 + i];
        ASSERT_NEAR(y[o], sum, 1e-5 * (1 + std::abs(sum) + 256 * 127))
            << to_string(spec) << kernels->instructions;
      }
    }
  }
}

TEST(QuantizedBlocks, AreTheNearestIntegersOfTheirScale) {
  Draws draws(14);
  for (const float scale : {1.0f, 1e-30f, 1e30f, 1e-37f, 0.0f}) {
    std::vector<float> x(64);
    for (float& value : x) value = scale * draws.normal();
    ops::cpu::QuantizedBlock blocks[2];
    ops::cpu::quantize_blocks(x.data(), 2, blocks);
    for (int b = 0; b < 2; ++b) {
      const auto& block = blocks[b];
      int sums[2] = {};
      float largest = 0;
      for (int i = 0; i < 32; ++i) largest = std::max(largest, std::abs(x[static_cast<size_t>(32 * b + i)]));
      for (int i = 0; i < 32; ++i) {
        sums[i / 16] += block.q[i];
        ASSERT_GE(block.q[i], -127);
        if (largest < 0x1p-120f) {
          ASSERT_EQ(block.q[i], 0);
        } else {
          ASSERT_NEAR(block.scale * block.q[i], x[static_cast<size_t>(32 * b + i)], 0.50001 * largest / 127);
        }
      }
      EXPECT_EQ(block.half_sums[0], sums[0]);
      EXPECT_EQ(block.half_sums[1], sums[1]);
      EXPECT_EQ(block.sum, sums[0] + sums[1]);
      EXPECT_EQ(block.sum_scaled, block.scale * static_cast<float>(block.sum));
    }
  }
}

TEST(QuantizedBlocks, OfARowHaveOneScale) {
  Draws draws(15);
  std::vector<float> x(96);
  for (float& value : x) value = draws.normal();
  x[70] = -9.0f;
  ops::cpu::QuantizedBlock blocks[3], other[3];
  ops::cpu::quantize_whole_row(x.data(), 3, blocks);
  for (size_t i = 0; i < x.size(); ++i) {
    const auto& block = blocks[i / 32];
    ASSERT_EQ(block.scale, 9.0f / 127.0f);
    ASSERT_NEAR(block.scale * block.q[i % 32], x[i], 0.50001 * 9 / 127);
  }
  EXPECT_EQ(blocks[2].q[70 - 64], -127);
  ops::cpu::quantize_blocks(x.data(), 3, other);  // of the block with the largest it is the same
  EXPECT_EQ(std::memcmp(blocks[2].q, other[2].q, sizeof blocks[2].q), 0);
  EXPECT_EQ(blocks[2].sum_scaled, other[2].sum_scaled);
  x[3] = std::nanf("");
  ops::cpu::quantize_whole_row(x.data(), 3, blocks);
  EXPECT_TRUE(std::isnan(blocks[2].scale));
}

}  // namespace
}  // namespace trireme::test
