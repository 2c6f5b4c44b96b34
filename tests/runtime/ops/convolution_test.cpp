#include "runtime/ops/convolution.h"

#include <random>

#include "runtime/ops/elementwise.h"
#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

using ConvolutionTest = OpTest;
TRIREME_FOR_COMPUTE_TYPES(ConvolutionTest);

using Doubles = std::vector<double>;
using Floats = std::vector<float>;

constexpr ops::ConvolutionShape kCases[] = {{0, 4, 8, 4},  {1, 1, 1, 4},   {2, 3, 5, 4},   {1, 70, 72, 3},
                                            {3, 50, 9, 7}, {2, 33, 16, 1}, {1, 20, 67, 16}};

/// Documents that begin anywhere; those that the first one of a run belongs to begin up to 20 tokens before.
std::vector<int32_t> drawn_positions(const ops::ConvolutionShape& s, bool with_before, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int32_t> positions;
  for (int64_t r = 0; r < s.rows(); ++r) {
    const bool is_first = r % s.length == 0;
    if (is_first) {
      positions.push_back(with_before ? static_cast<int32_t>(random() % 20) : 0);
    } else {
      positions.push_back(random() % 9 == 0 ? 0 : positions.back() + 1);
    }
  }
  return positions;
}

/// Runs with the rows before them in one array, in doubles; gradients by what each product gives its factors.
struct Reference {
  Doubles y, dabx, dw, dbefore;

  Reference(const ops::ConvolutionShape& s, const Floats& u, const Floats& before, const Floats& abx,
            const Floats& w, const std::vector<int32_t>& positions, const Floats& dy, const Floats& dafter)
      : y(u.size()),
        dabx(abx.size()),
        dw(w.size(), 2.0),
        dbefore(static_cast<size_t>(s.rows_before() * s.width)) {
    Doubles du(u.size());
    const auto at = [](int64_t i) { return static_cast<size_t>(i); };
    for (int64_t r = 0; r < s.rows(); ++r) {
      const int64_t run = r / s.length, place = r % s.length;
      for (int64_t c = 0; c < s.width; ++c) {
        const int64_t lead = s.kernel - 1, row = r * s.width + c, gates = r * 3 * s.width + c;
        double sum = 0;
        const double b = abx[at(gates + s.width)], g = dy[at(row)];
        for (int64_t k = 0; k < s.kernel && k <= positions[at(r)]; ++k) {
          const bool is_before = k > place;
          if (is_before && before.empty()) break;
          const int64_t from =
              is_before ? (run * lead + lead - (k - place)) * s.width + c : (r - k) * s.width + c;
          const double value = is_before ? before[at(from)] : u[at(from)], tap = w[at(c * s.kernel + k)];
          sum += tap * value;
          dw[at(c * s.kernel + k)] += b * g * value;
          (is_before ? dbefore : du)[at(from)] += b * g * tap;
        }
        y[at(row)] = b * sum;
        dabx[at(gates + s.width)] = g * sum;
        if (!dafter.empty() && s.length - place <= lead)
          du[at(row)] += dafter[at((run * lead + lead - (s.length - place)) * s.width + c)];
      }
    }
    for (int64_t i = 0; i < s.rows() * s.width; ++i) {
      const int64_t gates = i / s.width * 3 * s.width + i % s.width;
      dabx[at(gates)] = du[at(i)] * abx[at(gates + 2 * s.width)];
      dabx[at(gates + 2 * s.width)] = du[at(i)] * abx[at(gates)];
    }
  }
};

struct Inputs {
  ops::ConvolutionShape s;
  std::vector<int32_t> positions;
  ops::Columns abx, dabx;
  Tensor w, dw, u, y, dy, before, dafter, dbefore, places;

  Inputs(Context& ctx, const ops::ConvolutionShape& shape, DType dtype, bool divided)
      : s(shape),
        positions(drawn_positions(s, divided, 7)),
        abx(widened(ctx, random_tensor(ctx, {s.rows(), 3 * s.width}, dtype, 1, 2.0f), 8, 8)),
        dabx(widened(ctx, random_tensor(ctx, {s.rows(), 3 * s.width}, dtype, 2), 8, 8)),
        w(random_tensor(ctx, {s.width, s.kernel, 1}, DType::f32, 3)),
        dw(full(ctx, {s.width, s.kernel, 1}, DType::f32, 2.0f)),
        u(Tensor::empty(ctx, {s.rows(), s.width}, dtype)),
        y(Tensor::empty(ctx, {s.rows(), s.width}, dtype)),
        dy(random_tensor(ctx, {s.rows(), s.width}, dtype, 4)),
        dbefore(Tensor::empty(ctx, {s.rows_before(), s.width}, DType::f32)),
        places(make_indices(ctx, positions)) {
    if (divided) before = random_tensor(ctx, {s.rows_before(), s.width}, dtype, 5);
    if (divided) dafter = random_tensor(ctx, {s.rows_before(), s.width}, DType::f32, 6);
    ops::gated_inputs(ctx, abx, u);
  }
  void forward(Context& ctx) const { ops::convolution(ctx, s, u, before, abx, w, places, y); }
  void backward(Context& ctx) const {
    ops::convolution_backward(ctx, s, dy, u, before, abx, w, places, dafter, dabx, dw);
  }
  Reference expected() const {
    const auto floats = [](const Tensor& t) { return t ? to_vector(t) : Floats(); };
    return {s,         to_vector(u),  floats(before), to_vector(abx), to_vector(w),
            positions, to_vector(dy), floats(dafter)};
  }
};

TEST_P(ConvolutionTest, ValuesAndGradientsMatchDoubles) {
  for (const ops::ConvolutionShape& s : kCases) {
    for (const bool divided : {false, true}) {
      if (divided && s.length < s.kernel - 1) continue;
      const Inputs in(ctx_, s, dtype(), divided);
      const Reference expected = in.expected();
      const Floats abx = to_vector(in.abx);
      Doubles products;
      for (size_t i = 0; i < static_cast<size_t>(s.rows() * s.width); ++i) {
        const size_t width = static_cast<size_t>(s.width), row = i / width * 3 * width + i % width;
        products.push_back(double{abx[row]} * abx[row + 2 * width]);
      }
      expect_close(to_vector(in.u), products, tolerance());
      in.forward(ctx_);
      expect_close(to_vector(in.y), expected.y, 4 * tolerance());
      in.backward(ctx_);
      expect_close(to_vector(in.dabx), expected.dabx, 4 * tolerance());
      expect_close(to_vector(in.dw), expected.dw, 1e-5, 20.0);
      if (!divided) continue;
      ops::convolution_backward_before(ctx_, s, in.dy, in.abx, in.w, in.places, in.dbefore);
      expect_close(to_vector(in.dbefore), expected.dbefore, 1e-5, 3.0);
    }
  }
}

TEST_P(ConvolutionTest, RunsThatAreCutAreTheWholeOnes) {
  const ops::ConvolutionShape whole{1, 24, 11, 4}, half{2, 12, 11, 4};
  const Inputs all(ctx_, whole, dtype(), false);
  all.forward(ctx_);
  const Inputs cut(ctx_, half, dtype(), true);
  ops::fill(ctx_, cut.before, 0);
  ops::copy(ctx_, all.u.slice(9, 12), cut.before.slice(3, 6));
  ops::convolution(ctx_, half, all.u, cut.before, all.abx, all.w, all.places, cut.y);
  EXPECT_TRUE(same_bits(cut.y, all.y));
}

// Sequences whose tokens come in several passes, from blocks in any order.
TEST_P(ConvolutionTest, CachedRowsAreThoseOfTheWholeSequence) {
  constexpr int64_t kTokens = 16, kWidth = 21, kKernel = 5, kLength = 45;
  const Inputs in(ctx_, {1, kLength, kWidth, kKernel}, dtype(), false);
  std::vector<int32_t> in_order(kLength);
  for (size_t i = 0; i < in_order.size(); ++i) in_order[i] = static_cast<int32_t>(i);
  const Tensor places = make_indices(ctx_, in_order);
  ops::convolution(ctx_, in.s, in.u, Tensor(), in.abx, in.w, places, in.y);
  const Tensor cache = full(ctx_, {5, kTokens, kWidth}, dtype(), NAN);
  const Tensor out = Tensor::empty(ctx_, {kLength, kWidth}, dtype());
  int64_t begin = 0;
  for (const int64_t end : {1, 2, 19, 45}) {
    ops::PagedRows rows;
    rows.block_tables = Tensor::empty(ctx_, {1, 3}, DType::i32);
    write(rows.block_tables, std::vector<int32_t>{3, 0, 2});
    const auto count = static_cast<size_t>(end - begin);
    rows.sequences = make_indices(ctx_, std::vector<int32_t>(count, 0));
    rows.places = make_indices(ctx_, {in_order.begin() + begin, in_order.begin() + end});
    rows.starts = {0, static_cast<int32_t>(count)};
    rows.lengths = {static_cast<int32_t>(end)};
    ops::paged_convolution(ctx_, rows, in.abx.slice(begin, end), in.w, cache, out.slice(begin, end));
    begin = end;
  }
  if (ctx_.device().type == DeviceType::cpu) {
    EXPECT_TRUE(same_bits(out, in.y));
  } else {
    const Floats whole = to_vector(in.y);
    expect_close(to_vector(out), Doubles(whole.begin(), whole.end()), tolerance());
  }
}

TEST_P(ConvolutionTest, RefusesWhatDoesNotFit) {
  const Inputs in(ctx_, {2, 3, 5, 4}, dtype(), true);
  const ops::ConvolutionShape more{2, 3, 5, 5}, shorter{3, 2, 5, 4};
  EXPECT_THROW(ops::convolution(ctx_, more, in.u, in.before, in.abx, in.w, in.places, in.y), InternalError);
  EXPECT_THROW(ops::convolution(ctx_, in.s, in.u, in.u.slice(0, 5), in.abx, in.w, in.places, in.y),
               InternalError);
  EXPECT_THROW(ops::convolution_backward(ctx_, shorter, in.dy, in.u, Tensor(), in.abx, in.w, in.places,
                                         full(ctx_, {9, 5}, DType::f32, 0), in.dabx, in.dw),
               InternalError);
  const Tensor wide = random_tensor(ctx_, {5, 17, 1}, DType::f32, 1);
  EXPECT_THROW(ops::convolution(ctx_, {2, 3, 5, 17}, in.u, Tensor(), in.abx, wide, in.places, in.y),
               InternalError);
}

}  // namespace
}  // namespace trireme::test
