// Attention under a sliding window, and over packed documents that do not attend to each other, beside
// attention over all keys: both passes of one sequence on one thread, by lengths. Processor time, which other
// programs on the machine lengthen less than they do wall time, and the most working memory.
//
//   windowed_attention_bench [WINDOW [LONGEST]]    windows and documents of so many tokens (512); 16384
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "runtime/ops/attention/attention.h"
#include "runtime/ops/host_copy.h"
#include "tests/support/tensors.h"

namespace trireme {
namespace {

using ops::AttentionShape;
using ops::Columns;

constexpr int64_t kHeads = 4, kKvHeads = 2, kHeadDim = 64;

struct Cost {
  double milliseconds = 0, mib = 0;  // least of a few times; of buffers
};

enum class BlockView : uint8_t { all, window, documents };

Cost measure(DType dtype, int64_t length, BlockView view, int64_t limit) {
  Context ctx;
  AttentionShape s{1, length, length, kHeads, kKvHeads, kHeadDim, 1.0f / std::sqrt(float{kHeadDim})};
  if (view == BlockView::window) s.window = limit;
  if (view == BlockView::documents) {
    std::vector<int32_t> first_keys(static_cast<size_t>(length));
    for (size_t i = 0; i < first_keys.size(); ++i) {
      const auto place = static_cast<int64_t>(i);
      first_keys[i] = static_cast<int32_t>(place - place % limit);
    }
    s.first_key = ops::to_device(ctx, first_keys, {1, length});
  }
  const int64_t q = kHeads * kHeadDim, kv = kKvHeads * kHeadDim;
  const Tensor qkv = test::random_tensor(ctx, {length, q + 2 * kv}, dtype, 1),
               dqkv = Tensor::empty(ctx, qkv.shape(), dtype), out = Tensor::empty(ctx, {length, q}, dtype),
               dout = test::random_tensor(ctx, {length, q}, dtype, 2),
               lse = Tensor::empty(ctx, {1, kHeads, length}, DType::f32);
  const auto both_passes = [&] {
    const auto columns = [&](const Tensor& t, int64_t begin, int64_t count) {
      return Columns{t, begin, count};
    };
    ops::attention(ctx, s, columns(qkv, 0, q), columns(qkv, q, kv), columns(qkv, q + kv, kv), out, lse);
    ops::attention_backward(ctx, s, columns(qkv, 0, q), columns(qkv, q, kv), columns(qkv, q + kv, kv), out,
                            lse, dout, columns(dqkv, 0, q), columns(dqkv, q, kv), columns(dqkv, q + kv, kv));
  };
  Cost cost;
  const int64_t keys = view == BlockView::all ? length / 2 : limit;
  const int repeats = static_cast<int>(std::clamp<int64_t>((int64_t{1} << 24) / (length * keys), 2, 8));
  for (int i = 0; i < repeats; ++i) {
    const std::clock_t begin = std::clock();
    both_passes();
    const double taken = 1e3 * static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    cost.milliseconds = i == 0 ? taken : std::min(cost.milliseconds, taken);
  }
  const MemoryStats stats = ctx.allocator().stats();
  const int64_t peak = stats.by_category[static_cast<size_t>(MemoryCategory::buffers)].peak;
  cost.mib = static_cast<double>(peak) / (1 << 20);
  return cost;
}

void compare(DType dtype, int64_t limit, int64_t longest) {
  fmt::print("\n{}, window and documents of {}: ms (us a token), MiB of working memory\n", to_string(dtype),
             limit);
  fmt::print("| length | window | documents | all keys |\n|---|---|---|---|\n");
  for (int64_t length = 512; length <= longest; length *= 2) {
    fmt::print("| {}", length);
    for (const BlockView view : {BlockView::window, BlockView::documents, BlockView::all}) {
      const Cost cost = measure(dtype, length, view, limit);
      fmt::print(" | {:.1f} ({:.2f}), {:.1f}", cost.milliseconds,
                 1e3 * cost.milliseconds / static_cast<double>(length), cost.mib);
    }
    fmt::print(" |\n");
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) {
  const int64_t window = argc > 1 ? std::atoll(argv[1]) : 512,
                longest = argc > 2 ? std::atoll(argv[2]) : 16384;
  if (argc > 3 || window < 1 || longest < 512) {
    fmt::print(stderr, "usage: windowed_attention_bench [WINDOW [LONGEST]]\n");
    return 2;
  }
  for (const trireme::DType dtype : {trireme::DType::f32, trireme::DType::bf16})
    trireme::compare(dtype, window, longest);
}
