// What packed documents cost a step: the same tokens as documents that see each other and as ones that do
// not, each step of the one beside one of the other. By the clock, and by the time of all processors, which
// other programs on the machine disturb less; least times disturb least.
//   packed_rows_bench [STEPS [SEQUENCE-LENGTH [TOKENS-A-DOCUMENT [bf16]]]]
// Exit code 1 where separate documents train less than 95 % of the tokens per second of processor time.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "models/families/presets.h"
#include "models/session/training_session.h"
#include "parallel/batches/batch_prefetcher.h"
#include "runtime/base/philox.h"
#include "runtime/comm/self/self_communicator.h"

namespace trireme {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int32_t kEnd = 0;
constexpr int64_t kMicroBatch = 4;

// Of all threads of this program.
double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Seconds {
  double clock, processor;
};

struct Sizes {
  int64_t steps, seq_len, tokens_a_document;
  DType precision;
};

std::shared_ptr<const TokenSource> documents(const Sizes& sizes, int64_t vocab) {
  std::vector<int32_t> ids(static_cast<size_t>((sizes.steps + 2) * kMicroBatch * sizes.seq_len + 1));
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto bits = philox4x32(7, i, 0);
    const bool ends = bits[1] % static_cast<uint32_t>(sizes.tokens_a_document) == 0;
    ids[i] = ends ? kEnd : static_cast<int32_t>(1 + bits[0] % static_cast<uint32_t>(vocab - 1));
  }
  return std::make_shared<TokenVector>(std::move(ids), "documents");
}

/// Trains a model of its own, a step at a time.
class Run {
 public:
  Run(const Sizes& sizes, std::optional<int32_t> end_of_text)
      : self_(make_self_communicator()),
        session_(ctx_, *self_, {}, model(sizes),
                 {.max_seq_len = sizes.seq_len, .precision = sizes.precision, .seed = 1}) {
    const auto source = documents(sizes, model(sizes).vocab_size);
    const auto order = SampleOrder::sequential(source->num_tokens(), sizes.seq_len, source->name());
    batches_ = std::make_unique<BatchPrefetcher>(
        ctx_, BatchReader(source, order, model(sizes).vocab_size, end_of_text), ContextShare(),
        SampleRow{sizes.steps + 1, kMicroBatch,
                  [](int64_t i) {
                    return SampleRun{i * kMicroBatch, kMicroBatch};
                  }},
        3);
  }
  static ModelConfig model(const Sizes& sizes) {
    ModelConfig c = find_preset("gpt2-10m")->config;
    if (c.vocab_size == 0) c.vocab_size = 4096;
    c.max_positions = sizes.seq_len;
    return c;
  }

  Seconds step() {
    const auto begin = Clock::now();
    const double busy = processor_seconds();
    auto batch = batches_->next(1);
    PendingStep pending = session_.step().forward_backward(batch);
    const double loss = pending.totals().mean_loss();
    session_.step().apply(std::move(pending), 1e-4);
    ctx_.stream().synchronize();
    if (!(loss > 0)) fmt::print("a loss of {}\n", loss);
    return {std::chrono::duration<double>(Clock::now() - begin).count(), processor_seconds() - busy};
  }

 private:
  Context ctx_;
  std::unique_ptr<Communicator> self_;
  TrainingSession session_;
  std::unique_ptr<BatchPrefetcher> batches_;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// Tokens a second of separate documents over those of others.
double compare(const char* what, double tokens, const std::vector<double>& attend,
               const std::vector<double>& separate) {
  std::vector<double> ratios;
  for (size_t i = 0; i < attend.size(); ++i) ratios.push_back(attend[i] / separate[i]);
  const double least = std::ranges::min(attend) / std::ranges::min(separate);
  fmt::print(
      "  by {:<16} {:6.0f} tokens/s where documents attend, {:6.0f} where they are separate; ratio of the "
      "least {:.3f}, median of the ratios {:.3f}\n",
      what, tokens / std::ranges::min(attend), tokens / std::ranges::min(separate), least, median(ratios));
  return least;
}

int run(const Sizes& sizes) {
  Run attend(sizes, std::nullopt), separate(sizes, kEnd);
  attend.step();  // memory is found
  separate.step();
  std::vector<double> clock[2], processor[2];
  for (int64_t i = 0; i < sizes.steps; ++i) {
    for (const int which : {static_cast<int>(i % 2), static_cast<int>(1 - i % 2)}) {
      const Seconds seconds = which == 0 ? attend.step() : separate.step();
      clock[which].push_back(seconds.clock);
      processor[which].push_back(seconds.processor);
    }
  }
  const auto tokens = static_cast<double>(kMicroBatch * sizes.seq_len);
  fmt::print("{} steps of {} x {} tokens, {} a document, {}:\n", sizes.steps, kMicroBatch, sizes.seq_len,
             sizes.tokens_a_document, to_string(sizes.precision));
  compare("clock", tokens, clock[0], clock[1]);
  return compare("processor time", tokens, processor[0], processor[1]) < 0.95 ? 1 : 0;
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) {
  const auto number = [&](int i, int64_t otherwise) { return argc > i ? std::atoll(argv[i]) : otherwise; };
  const bool is_bf16 = argc > 4 && std::string_view(argv[4]) == "bf16";
  return trireme::run(
      {number(1, 10), number(2, 512), number(3, 128), is_bf16 ? trireme::DType::bf16 : trireme::DType::f32});
}
