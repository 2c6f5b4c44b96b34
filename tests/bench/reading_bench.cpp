// What reading costs a step: the same steps from memory, from a mapped file and from storage whose every read
// takes a share of a step, each with and without reading in advance, in turns.
//   reading_bench [STEPS-A-ROUND [ROUNDS]]
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "launch/run/batch_schedule.h"
#include "models/families/presets.h"
#include "models/session/training_session.h"
#include "runtime/base/philox.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/data/tokens/token_file.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme::launch {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int64_t kTokens = int64_t{1} << 22, kSeqLen = 128, kMicroBatch = 2, kGlobalBatch = 8;

/// Another source, behind storage that answers late. A sample is read in two calls, of which the long one
/// waits.
class SlowTokens final : public TokenSource {
 public:
  SlowTokens(std::shared_ptr<const TokenSource> from, double seconds_a_sample)
      : from_(std::move(from)), delay_(seconds_a_sample) {}
  int64_t num_tokens() const override { return from_->num_tokens(); }
  const std::string& name() const override { return from_->name(); }
  void read(int64_t begin, int64_t count, int32_t* out) const override {
    if (count > 1) std::this_thread::sleep_for(std::chrono::duration<double>(delay_));
    from_->read(begin, count, out);
  }

 private:
  std::shared_ptr<const TokenSource> from_;
  double delay_;
};

class Steps {
 public:
  static ModelConfig config() {
    ModelConfig c = find_preset("gpt2-3m")->config;
    if (c.vocab_size == 0) c.vocab_size = 512;
    return c;
  }

  /// Milliseconds of each step, and in all of them what reading was waited for.
  std::vector<double> run(const std::shared_ptr<const TokenSource>& source, int64_t prefetch,
                          int64_t num_steps, double& waited) {
    constexpr int64_t kAccumulation = kGlobalBatch / kMicroBatch;
    const BatchReader reader(source, SampleOrder::shuffled(1, source->num_tokens(), kSeqLen, source->name()),
                             config().vocab_size);
    BatchPrefetcher batches(ctx_, reader, {}, training_samples({}, num_steps + 1, kGlobalBatch, kMicroBatch),
                            prefetch > 0 ? (prefetch + 1) * kAccumulation : 0);
    std::vector<double> ms;
    double before = 0;
    for (int64_t i = 0; i <= num_steps; ++i) {
      const auto begin = Clock::now();
      {
        std::vector<MicroBatch> micro_batches = batches.next(kAccumulation);
        (void)session_.step().apply(session_.step().forward_backward(micro_batches), 1e-4);
      }
      if (i == 0) before = batches.seconds_waited();  // nothing was there to read it beside
      if (i > 0) ms.push_back(std::chrono::duration<double>(Clock::now() - begin).count() * 1e3);
    }
    waited = 1e3 * (batches.seconds_waited() - before) / static_cast<double>(num_steps);
    return ms;
  }

 private:
  Context ctx_{{}, 1};
  std::unique_ptr<Communicator> self_ = make_self_communicator();
  TrainingSession session_{ctx_, *self_, {}, config(), {.max_seq_len = kSeqLen, .seed = 1}};
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

struct Case {
  std::string name;
  std::shared_ptr<const TokenSource> source;
  std::vector<double> ms[2] = {};  // without and with reading in advance
  std::vector<double> waited[2] = {};
};

void run_all(int64_t num_steps, int64_t num_rounds) {
  std::vector<int32_t> ids(static_cast<size_t>(kTokens));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(philox4x32(1, i, 0)[0] % 256);
  const std::string path = (std::filesystem::temp_directory_path() / "reading_bench.tok").string();
  TokenFileWriter writer(path, 256, 0);
  writer.write(ids);
  writer.finish();
  const auto memory = std::make_shared<TokenVector>(std::move(ids), "memory");
  const auto file = TokenFile::open(path, TokenFormat::trireme);
  std::filesystem::remove(path);  // it stays mapped
  Steps steps;
  double waited = 0;
  const double plain_ms = median(steps.run(memory, 0, num_steps, waited));
  std::vector<Case> cases = {{"memory", memory}, {"mapped file", file}};
  for (const double share : {0.5, 0.9, 1.5}) {
    cases.push_back({fmt::format("storage of {:.0f} % of a step", 100 * share),
                     std::make_shared<SlowTokens>(memory, share * plain_ms * 1e-3 / kGlobalBatch)});
  }
  for (int64_t round = 0; round < num_rounds; ++round) {
    for (Case& c : cases) {
      for (const int k : {0, 1}) {
        const auto ms = steps.run(c.source, 2 * k, num_steps, waited);
        c.ms[k].insert(c.ms[k].end(), ms.begin(), ms.end());
        c.waited[k].push_back(waited);
      }
    }
  }
  fmt::print(
      "{}, one thread and that which reads, {} cores; gpt2-3m, {} x {} tokens a step; medians of {} steps\n",
      cpu::processor_name(), cpu::num_available_cores(), kGlobalBatch, kSeqLen, num_steps * num_rounds);
  fmt::print("{:<28} {:>12} {:>10} {:>14} {:>10} {:>16}\n", "ms a step (waited)", "--prefetch 0", "",
             "--prefetch 2", "", "to memory, read 0");
  const double least = median(cases[0].ms[0]);
  for (const Case& c : cases) {
    fmt::print("{:<28} {:>12.2f} {:>10} {:>14.2f} {:>10} {:>16.3f}\n", c.name, median(c.ms[0]),
               fmt::format("({:.3f})", median(c.waited[0])), median(c.ms[1]),
               fmt::format("({:.3f})", median(c.waited[1])), median(c.ms[1]) / least);
  }
}

}  // namespace
}  // namespace trireme::launch

int main(int argc, char** argv) {
  try {
    trireme::launch::run_all(argc > 1 ? std::atoll(argv[1]) : 30, argc > 2 ? std::atoll(argv[2]) : 3);
    return 0;
  } catch (const trireme::Error& error) {
    fmt::print(stderr, "reading_bench: {}\n", error.what());
    return static_cast<int>(error.code());
  }
}
