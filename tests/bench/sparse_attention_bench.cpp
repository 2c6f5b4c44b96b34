// Attention under patterns of keys (docs/sparse-attention.md) by lengths, beside attention to all keys: both
// passes of one sequence, and a token that is decoded behind it over a cache, on one thread. Processor time,
// which other programs on the machine lengthen less than they do wall time, and the most working memory.
//
//   sparse_attention_bench [LONGEST]    lengths from 512 to this, 16384
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <numeric>
#include <vector>

#include <fmt/format.h>

#include "models/config/attention_pattern.h"
#include "runtime/ops/attention/attention.h"
#include "runtime/ops/attention/paged_attention.h"
#include "runtime/ops/host_copy.h"
#include "tests/support/tensors.h"

namespace trireme {
namespace {

constexpr int64_t kHeads = 2, kHeadDim = 64, kWidth = kHeads * kHeadDim, kBlockTokens = 32;
constexpr const char* kPatterns =
    "full; window=256; window=256 sinks=4; window=64 stride=64/16; blocks=64 summary=64 reach=3; "
    "blocks=64 summary=8 reach=8; window=256 globals=0,100";

/// The least milliseconds of a few calls.
template <class F>
double least(int times, F&& f) {
  double best = 0;
  for (int i = 0; i < times; ++i) {
    const std::clock_t begin = std::clock();
    f();
    const double taken = 1e3 * static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    best = i == 0 ? taken : std::min(best, taken);
  }
  return best;
}

double decoding(const AttentionPattern& pattern, int64_t length) {
  constexpr int kTokens = 64;
  Context ctx;
  const int64_t num_blocks = length / kBlockTokens;
  const ops::KeyValueBlocks blocks = ops::make_key_value_blocks(
      ctx, num_blocks, kHeads, kHeadDim, kBlockTokens, DType::f32, ops::CacheType::plain);
  std::vector<int32_t> table(static_cast<size_t>(num_blocks)), rows(static_cast<size_t>(length)),
      places = rows;
  std::iota(table.begin(), table.end(), 0);
  std::iota(places.begin(), places.end(), 0);
  const Tensor qkv = test::random_tensor(ctx, {length, 3 * kWidth}, DType::f32, 1);
  ops::PagedRows all{ops::to_device(ctx, table, {1, num_blocks}),
                     ops::to_device(ctx, rows, {length}),
                     ops::to_device(ctx, places, {length}),
                     {0, static_cast<int32_t>(length)},
                     {static_cast<int32_t>(length)}};
  ops::store_keys_values(ctx, all, {qkv, kWidth, kWidth}, {qkv, 2 * kWidth, kWidth}, blocks);
  const std::vector<int32_t> zero{0}, last{static_cast<int32_t>(length - 1)};
  const ops::PagedRows one{
      all.block_tables, ops::to_device(ctx, zero, {1}), ops::to_device(ctx, last, {1}), {0, 1}, all.lengths};
  const ops::PagedShape shape{kHeads, kHeads, kHeadDim, 0.125f, pattern.window, 0, pattern.keys};
  const Tensor q = qkv.slice(length - 1, length), out = Tensor::empty(ctx, {1, kWidth}, DType::f32);
  return least(5,
               [&] {
                 for (int i = 0; i < kTokens; ++i)
                   ops::paged_attention(ctx, shape, one, {q, 0, kWidth}, blocks, out);
               }) /
         kTokens;
}

void measure(const AttentionPattern& pattern, int64_t length) {
  Context ctx;
  ops::AttentionShape s{1, length, length, kHeads, kHeads, kHeadDim, 0.125f};
  s.window = pattern.window;
  s.pattern = pattern.keys;
  const Tensor qkv = test::random_tensor(ctx, {length, 3 * kWidth}, DType::f32, 1),
               dqkv = Tensor::empty(ctx, qkv.shape(), DType::f32),
               out = Tensor::empty(ctx, {length, kWidth}, DType::f32),
               dout = test::random_tensor(ctx, {length, kWidth}, DType::f32, 2),
               lse = Tensor::empty(ctx, {1, kHeads, length}, DType::f32);
  const auto part = [](const Tensor& t, int64_t n) { return ops::Columns{t, n * kWidth, kWidth}; };
  const int times = length <= 2048 ? 5 : 2;
  const double forward =
      least(times, [&] { ops::attention(ctx, s, part(qkv, 0), part(qkv, 1), part(qkv, 2), out, lse); });
  const double backward = least(times, [&] {
    ops::attention_backward(ctx, s, part(qkv, 0), part(qkv, 1), part(qkv, 2), out, lse, dout, part(dqkv, 0),
                            part(dqkv, 1), part(dqkv, 2));
  });
  const int64_t peak = ctx.allocator().stats().by_category[static_cast<size_t>(MemoryCategory::buffers)].peak;
  fmt::print(" {:.1f} / {:.1f} / {:.3f}; {} |", forward, backward, decoding(pattern, length), peak >> 10);
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) {
  using namespace trireme;
  const int64_t longest = argc > 1 ? std::atol(argv[1]) : 16384;
  fmt::print(
      "ms forward / backward / of a decoded token; KiB of working memory, f32, {} heads of {}\n| pattern |",
      kHeads, kHeadDim);
  for (int64_t length = 512; length <= longest; length *= 2) fmt::print(" {} |", length);
  fmt::print("\n|---|");
  for (int64_t length = 512; length <= longest; length *= 2) fmt::print("---|");
  for (const AttentionPattern& pattern : read_attention_patterns(kPatterns)) {
    fmt::print("\n| {} |", to_text({pattern}));
    for (int64_t length = 512; length <= longest; length *= 2) measure(pattern, length);
  }
  fmt::print("\n");
}
