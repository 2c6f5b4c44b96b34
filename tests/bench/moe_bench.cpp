// What a mixture of experts costs beside the arithmetic of its experts: routing and permutation as a share of
// a training step, grouped products against one dense product of the same FLOPs, and how much of the way of
// rows to their experts and back is hidden. Times that are compared are taken in turns.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <optional>

#include <fmt/format.h>

#include "models/families/family.h"
#include "models/layers/moe_feed_forward.h"
#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/gemm/gemm.h"
#include "runtime/ops/gemm/grouped_gemm.h"
#include "tests/bench/link_communicator.h"
#include "tests/support/layers_of.h"
#include "tests/support/tensors.h"

namespace trireme {
namespace {

using Clock = std::chrono::steady_clock;
using test::random_tensor;

constexpr int64_t kSequences = 4, kSeqLen = 512, kTokens = kSequences * kSeqLen;

double seconds_of(const std::function<void()>& work) {
  const auto begin = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// The time that other programs on the machine have lengthened least.
double least(const std::vector<double>& values) { return std::ranges::min(values); }

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// Mixtral's proportions, at a width that a CPU trains.
ModelConfig mixture(int64_t hidden, int64_t shared = 0) {
  ModelConfig c;
  apply_family(c, ModelFamily::llama);
  c.vocab_size = 8192;
  c.num_layers = 4;
  c.hidden_size = hidden;
  c.num_heads = c.num_kv_heads = hidden / 64;
  c.ffn_size = hidden * 7 / 2;
  c.max_positions = kSeqLen;
  c.moe.num_experts = 8;
  c.moe.experts_per_token = 2;
  c.moe.shared_ffn_size = shared;
  return c;
}

MicroBatch micro_batch(Context& ctx, int64_t vocab) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i <= kTokens; ++i)
    ids.push_back(
        static_cast<int32_t>(philox4x32(1, static_cast<uint64_t>(i), 0)[0] % static_cast<uint32_t>(vocab)));
  const std::span all(ids);
  return make_micro_batch(ctx, kSequences, kSeqLen, all.first(kTokens), all.last(kTokens));
}

MoeFeedForward layer_of(const ModelConfig& config, Communicator& self, const ExpertParallel& experts) {
  test::LayersOf layers(config, self);
  layers.experts = experts;
  return layers.mixture();
}

/// The feed-forward part of one block, alone, on random rows.
class Block {
 public:
  Block(Context& ctx, const ModelConfig& config, DType dtype, const ExpertParallel& experts)
      : self_(make_self_communicator()),
        layer_(layer_of(config, *self_, experts)),
        x_(random_tensor(ctx, {kTokens, config.hidden_size}, dtype, 1)),
        dy_(random_tensor(ctx, x_.shape(), dtype, 2)),
        loss_sum_(Tensor::empty(ctx, {1}, DType::f64)),
        mb_(micro_batch(ctx, config.vocab_size)) {
    std::vector<ParameterBlock*> blocks;
    layer_.collect(blocks);
    storage_.emplace(ctx, blocks, dtype);
    storage_->initialize(ctx, 1);
    mb_.loss_sum = loss_sum_;
  }

  void run(Context& ctx) {
    Saved saved;
    layer_.forward(ctx, mb_, x_, saved);
    layer_.backward_input(ctx, dy_, saved);
    layer_.backward_weight(ctx, saved);
  }
  Stopwatch& expert_time() { return layer_.balance().expert_time; }

 private:
  std::unique_ptr<Communicator> self_;
  MoeFeedForward layer_;
  std::optional<ParameterStorage> storage_;
  Tensor x_, dy_, loss_sum_;
  MicroBatch mb_;
};

void routing_share(int num_threads, int repeats) {
  fmt::print(
      "routing and permutation, {} tokens, 8 experts, 2 a token, 4 blocks, {} thread(s)\n"
      "{:>6} {:>6} {:>10} {:>12} {:>12} {:>8}\n",
      kTokens, num_threads, "hidden", "type", "step, ms", "experts, ms", "rest, ms", "share");
  for (const int64_t hidden : {512, 768}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      Context ctx({}, num_threads);
      const ModelConfig config = mixture(hidden);
      const auto self = make_self_communicator();
      TrainingSession session(ctx, *self, {}, config,
                              {.max_seq_len = kSeqLen, .precision = dtype, .seed = 1});
      TrainingStep& step = session.step();
      MicroBatch mb = micro_batch(ctx, config.vocab_size);
      Block block(ctx, config, dtype, ExpertParallel(*self, *self));
      const auto train = [&] { step.apply(step.forward_backward({&mb, 1}), 1e-4); };
      train();  // memory and kernels are found on the first pass
      block.run(ctx);
      // Sums, so that what else the machine does slows all of them down alike.
      double in_steps = 0, in_experts = 0, in_rest = 0;
      for (int i = 0; i < repeats; ++i) {
        in_steps += seconds_of(train);
        block.expert_time().clear();
        const double seconds = seconds_of([&] { block.run(ctx); });
        const double of_experts = block.expert_time().seconds();
        in_experts += of_experts;
        in_rest += seconds - of_experts;
      }
      const double ms = 1e3 / repeats;
      fmt::print("{:>6} {:>6} {:>10.0f} {:>12.1f} {:>12.2f} {:>6.2f} %\n", hidden, to_string(dtype),
                 ms * in_steps, ms * in_experts, ms * in_rest,
                 100 * static_cast<double>(config.num_layers) * in_rest / in_steps);
      std::fflush(stdout);
    }
  }
}

void grouped_share(int num_threads, int repeats) {
  constexpr int64_t kExperts = 8, kRows = 512;
  const std::vector<int64_t> counts(kExperts, kRows);
  fmt::print(
      "\ngrouped product of 8 experts with 512 rows each, speed against one dense product of 4096 rows\n"
      "{:>6} {:>12} {:>10} {:>16} {:>17}\n",
      "type", "in x out", "forward", "input gradient", "weight gradient");
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const auto& [in, out] : {std::pair<int64_t, int64_t>{512, 3584}, {1792, 512}, {768, 3072}}) {
      Context ctx({}, num_threads);
      const Tensor x = random_tensor(ctx, {kExperts * kRows, in}, dtype, 1),
                   y = random_tensor(ctx, {kExperts * kRows, out}, dtype, 2),
                   w = random_tensor(ctx, {kExperts * out, in}, dtype, 3), one = w.slice(0, out),
                   dw = random_tensor(ctx, w.shape(), DType::f32, 4), done = dw.slice(0, out);
      const auto ratio = [&](const std::function<void()>& grouped, const std::function<void()>& dense) {
        grouped(), dense();
        std::vector<double> of_grouped, of_dense;
        for (int i = 0; i < repeats; ++i) {
          of_dense.push_back(seconds_of(dense));
          of_grouped.push_back(seconds_of(grouped));
        }
        return 100 * least(of_dense) / least(of_grouped);
      };
      const double forward =
          ratio([&] { ops::grouped_linear(ctx, x, counts, w, y); }, [&] { ops::linear(ctx, x, one, {}, y); });
      const double input = ratio([&] { ops::grouped_linear_backward_input(ctx, y, counts, w, x); },
                                 [&] { ops::linear_backward_input(ctx, y, one, x); });
      const double weight = ratio([&] { ops::grouped_linear_backward_weight(ctx, y, x, counts, dw); },
                                  [&] { ops::linear_backward_weight(ctx, y, x, done, {}); });
      fmt::print("{:>6} {:>12} {:>8.0f} % {:>14.0f} % {:>15.0f} %\n", to_string(dtype),
                 fmt::format("{} x {}", in, out), forward, input, weight);
      std::fflush(stdout);
    }
  }
}

ModelConfig padded_mixture(int64_t shared) {
  ModelConfig config = mixture(512, shared);
  config.moe.capacity = CapacityMode::pad;  // equal work and messages for both ranks
  config.moe.capacity_factor = 1;
  return config;
}

// Two ranks, each with half of the experts and one thread.
double expert_seconds(int repeats) {
  double seconds = 0;
  run_thread_ranks(2, [&](Communicator& world) {
    Context ctx;
    const auto self = make_self_communicator();
    Block block(ctx, padded_mixture(0), DType::f32, ExpertParallel(world, *self));
    block.run(ctx);
    std::vector<double> times;
    for (int i = 0; i < repeats; ++i) {
      block.expert_time().clear();
      block.run(ctx);
      times.push_back(block.expert_time().seconds());
    }
    if (world.rank() == 0) seconds = least(times);
  });
  return seconds;
}

double hidden_share(int chunks, int64_t shared, double link_seconds, int repeats) {
  // Half of the two rows of a token leave the rank, and as many go back, both twice.
  Link link(4.0 * kTokens * 512 * 4 / link_seconds);
  double hidden = 0;
  run_thread_ranks(2, [&](Communicator& world) {
    Context ctx;
    const auto self = make_self_communicator();
    LinkCommunicator ranks(world, link);
    Block block(ctx, padded_mixture(shared), DType::f32, ExpertParallel(ranks, *self, chunks));
    block.run(ctx);
    std::vector<double> shares;
    for (int i = 0; i < repeats; ++i) {
      ranks.clear();
      block.run(ctx);
      shares.push_back(1 - ranks.seconds_exposed() / ranks.seconds_used());
    }
    if (world.rank() == 0) hidden = median(shares);
  });
  return 100 * hidden;
}

void overlap(int repeats) {
  fmt::print(
      "\nhidden share of the all-to-all, 2 expert ranks, hidden 512, fp32; link: its time over that of the\n"
      "experts' forward and input-gradient passes\n{:>6} {:>14}",
      "link", "shared expert");
  for (const int chunks : {1, 2, 4}) fmt::print(" {:>10}", fmt::format("{} chunk(s)", chunks));
  fmt::print("\n");
  // The experts' weight gradients, a third of their time, come when nothing travels.
  const double seconds = expert_seconds(repeats) * 2 / 3;
  for (const double relative : {0.1, 0.5, 1.0}) {
    for (const int64_t shared : {0, 1792}) {
      fmt::print("{:>6} {:>14}", relative, shared > 0 ? "yes" : "no");
      for (const int chunks : {1, 2, 4}) {
        fmt::print(" {:>8.0f} %", hidden_share(chunks, shared, relative * seconds, repeats));
        std::fflush(stdout);
      }
      fmt::print("\n");
    }
  }
}

}  // namespace
}  // namespace trireme

// Usage: moe_bench [THREADS [REPEATS]]; 1 and 5 unless given. The last table always has two ranks of a
// thread.
int main(int argc, char** argv) {
  const int num_threads = argc > 1 ? std::atoi(argv[1]) : 1, repeats = argc > 2 ? std::atoi(argv[2]) : 5;
  trireme::routing_share(num_threads, repeats);
  trireme::grouped_share(num_threads, 5 * repeats);  // single products: short
  trireme::overlap(repeats);
  return 0;
}
