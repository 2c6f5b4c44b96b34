// Decoding from a cache of keys and values on the CPU: GB/s at which paged attention of one token reads them,
// beside the rate of plain reads of the same memory. Calls go through caches of many layers, as a model's do,
// which together are larger than the processor's own caches. Median of many calls, by wall time and, for one
// thread, by processor time.
//
//   paged_attention_bench [MIB [TEXT]]    caches of so many MiB together (256); only lines with TEXT
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "runtime/base/parallel_for.h"
#include "runtime/ops/attention/paged_attention.h"
#include "runtime/ops/host_copy.h"
#include "tests/support/tensors.h"

namespace trireme {
namespace {

using ops::CacheType;
using ops::KeyValueBlocks;

struct DecodeCase {
  int64_t heads, kv_heads, head_dim, context, block_tokens;
  DType dtype;
  CacheType type;
};

double seconds_of(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

struct Seconds {
  double wall, processor;
};

Seconds median_of(int calls, const std::function<void(int)>& call) {
  std::vector<double> wall, processor;
  for (int i = 0; i < calls; ++i) {
    const double w = seconds_of(CLOCK_MONOTONIC), p = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    call(i);
    processor.push_back(seconds_of(CLOCK_PROCESS_CPUTIME_ID) - p);
    wall.push_back(seconds_of(CLOCK_MONOTONIC) - w);
  }
  std::ranges::sort(wall);
  std::ranges::sort(processor);
  return {wall[wall.size() / 2], processor[processor.size() / 2]};
}

// Sums of all words, on as many threads.
uint64_t read_all(const Tensor& t, int threads) {
  const auto* words = static_cast<const uint64_t*>(t.raw());
  std::vector<uint64_t> sums(static_cast<size_t>(threads));
  const int64_t n = t.bytes() / 8;
  parallel_for(threads, threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      uint64_t sum = 0;
      for (int64_t x = n * i / threads; x < n * (i + 1) / threads; ++x) sum += words[x];
      sums[static_cast<size_t>(i)] = sum;
    }
  });
  return std::accumulate(sums.begin(), sums.end(), uint64_t{0});
}

void run(const DecodeCase& c, int threads, int64_t total, const std::string& only) {
  const std::string line =
      fmt::format("{}/{} heads of {}, context {}, blocks of {}, {}, threads={}", c.heads, c.kv_heads,
                  c.head_dim, c.context, c.block_tokens,
                  c.type == CacheType::int8 ? "int8" : std::string(to_string(c.dtype)), threads);
  if (line.find(only) == std::string::npos) return;
  Context ctx(Device{}, threads);
  const int64_t num_blocks = (c.context + c.block_tokens - 1) / c.block_tokens;
  const int64_t bytes =
      num_blocks * ops::key_value_block_bytes(c.kv_heads, c.head_dim, c.block_tokens, c.dtype, c.type);
  std::vector<KeyValueBlocks> layers;
  for (int64_t used = 0; used < total; used += bytes) {
    layers.push_back(
        ops::make_key_value_blocks(ctx, num_blocks, c.kv_heads, c.head_dim, c.block_tokens, c.dtype, c.type));
    for (const Tensor& t : {layers.back().keys, layers.back().values})
      std::fill_n(static_cast<std::byte*>(t.raw()), t.bytes(), std::byte{0x11});
    for (const Tensor& t : {layers.back().key_scales, layers.back().value_scales}) {
      if (t) ops::fill(ctx, t, 0.01f);
    }
  }
  std::vector<int32_t> table(static_cast<size_t>(num_blocks));
  std::iota(table.begin(), table.end(), 0);
  std::shuffle(table.begin(), table.end(), std::mt19937_64(1));
  ops::PagedRows rows;
  rows.block_tables = ops::to_device(ctx, table, {1, num_blocks});
  rows.sequences = ops::to_device(ctx, std::vector<int32_t>{0}, {1});
  rows.places = ops::to_device(ctx, std::vector<int32_t>{static_cast<int32_t>(c.context - 1)}, {1});
  rows.starts = {0, 1};
  rows.lengths = {static_cast<int32_t>(c.context)};
  const ops::PagedShape shape{c.heads, c.kv_heads, c.head_dim, 0.125f};
  const Tensor q = test::random_tensor(ctx, {1, c.heads * c.head_dim}, c.dtype, 1),
               out = Tensor::empty(ctx, q.shape(), c.dtype);
  const auto layer = [&](int i) -> const KeyValueBlocks& {
    return layers[static_cast<size_t>(i) % layers.size()];
  };
  const int calls = static_cast<int>(std::max<size_t>(3 * layers.size(), 30));
  const Seconds attention =
      median_of(calls, [&](int i) { ops::paged_attention(ctx, shape, rows, q, layer(i), out); });
  uint64_t sum = 0;
  const Seconds plain = median_of(
      calls, [&](int i) { sum += read_all(layer(i).keys, threads) + read_all(layer(i).values, threads); });
  const double read = static_cast<double>(bytes) * 1e-9;
  fmt::print("{}: {:.1f} us, {:.1f} GB/s of {:.1f} ({:.0f} %)", line, 1e6 * attention.wall,
             read / attention.wall, read / plain.wall, 100 * plain.wall / attention.wall);
  if (threads == 1) {
    fmt::print(", processor time {:.1f} GB/s of {:.1f} ({:.0f} %)", read / attention.processor,
               read / plain.processor, 100 * plain.processor / attention.processor);
  }
  fmt::print("{}\n", sum == 1 ? " " : "");
  std::fflush(stdout);
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) {
  using trireme::DType;
  using trireme::ops::CacheType;
  const int64_t total = (argc > 1 ? std::atoll(argv[1]) : 256) << 20;
  for (const auto& [heads, kv_heads] : {std::pair<int64_t, int64_t>{32, 8}, {9, 3}}) {
    for (const int64_t context : {512, 4096}) {
      for (const int64_t block_tokens : {16, 64}) {
        for (const auto& [dtype, type] : {std::pair{DType::f32, CacheType::plain},
                                          {DType::bf16, CacheType::plain},
                                          {DType::f16, CacheType::plain},
                                          {DType::bf16, CacheType::int8}}) {
          for (const int threads : {1, 2}) {
            trireme::run({heads, kv_heads, 64, context, block_tokens, dtype, type}, threads, total,
                         argc > 2 ? argv[2] : "");
          }
        }
      }
    }
  }
}
