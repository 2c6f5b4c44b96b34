// Attention's forward pass on the CPU, by shapes, types and threads: least wall time and processor time of
// many runs, in ms, one line each, to be compared with another build's in turn.
//
//   attention_forward_bench [SECONDS [TEXT]]    seconds a shape (0.3); only shapes whose line contains TEXT
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#include <fmt/format.h>

#include "runtime/ops/attention/attention.h"
#include "tests/support/tensors.h"

namespace trireme {
namespace {

struct Least {
  double wall = 1e30, processor = 1e30;
};

double seconds_of(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

struct ForwardCase {
  const char* name;
  ops::AttentionShape shape;
};

Least measure(const ops::AttentionShape& s, DType dtype, int threads, double seconds) {
  Context ctx(Device{}, threads);
  const int64_t q = s.num_heads * s.head_dim, kv = s.num_kv_heads * s.head_dim;
  const Tensor qkv = test::random_tensor(ctx, {s.batch * s.q_len, q + 2 * kv}, dtype, 1),
               out = Tensor::empty(ctx, {s.batch * s.q_len, q}, dtype),
               lse = Tensor::empty(ctx, {s.batch, s.num_heads, s.q_len}, DType::f32);
  Least least;
  for (double spent = 0; spent < seconds;) {
    const double wall = seconds_of(CLOCK_MONOTONIC), processor = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    ops::attention(ctx, s, {qkv, 0, q}, {qkv, q, kv}, {qkv, q + kv, kv}, out, lse);
    least.processor = std::min(least.processor, seconds_of(CLOCK_PROCESS_CPUTIME_ID) - processor);
    least.wall = std::min(least.wall, seconds_of(CLOCK_MONOTONIC) - wall);
    spent += seconds_of(CLOCK_MONOTONIC) - wall;
  }
  return least;
}

void run(double seconds, const std::string& only) {
  const ForwardCase cases[] = {{"b4_t256_h12_d64", {4, 256, 256, 12, 12, 64, 0.125f}},
                               {"b4_t1024_h12_d64", {4, 1024, 1024, 12, 12, 64, 0.125f}},
                               {"b1_t1024_h12_d64", {1, 1024, 1024, 12, 12, 64, 0.125f}},
                               {"b1_t1024_h32kv8_d64", {1, 1024, 1024, 32, 8, 64, 0.125f}},
                               {"b1_t512_h9kv3_d64", {1, 512, 512, 9, 3, 64, 0.125f}},
                               {"b2_t1024_h8_d128", {2, 1024, 1024, 8, 8, 128, 0.09f}},
                               {"b1_t2048_h8_d64_window256", {1, 2048, 2048, 8, 8, 64, 0.125f, true, 256}},
                               {"b1_t512_h8_d80", {1, 512, 512, 8, 8, 80, 0.1f}},
                               {"b4_t64_h4_d32", {4, 64, 64, 4, 4, 32, 0.1f}},
                               {"b2_t512_h12_d64_full", {2, 512, 512, 12, 12, 64, 0.125f, false}},
                               {"b4_t256_h12_d64_cap", {4, 256, 256, 12, 12, 64, 0.125f, true, 0, 30.0f}}};
  for (const ForwardCase& c : cases) {
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
      for (const int threads : {1, 2}) {
        const std::string line = fmt::format("{} {} threads={}", c.name, to_string(dtype), threads);
        if (line.find(only) == std::string::npos) continue;
        const Least least = measure(c.shape, dtype, threads, seconds);
        fmt::print("{} {:.4f} {:.4f}\n", line, 1e3 * least.wall, 1e3 * least.processor);
        std::fflush(stdout);
      }
    }
  }
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) {
  trireme::run(argc > 1 ? std::atof(argv[1]) : 0.3, argc > 2 ? argv[2] : "");
}
