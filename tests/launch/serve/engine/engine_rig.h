// A small model behind a ServingEngine whose passes run on a thread of their own, and clients that listen.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "launch/serve/engine/serving_engine.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/data/tokenizer/byte_tokenizer.h"
#include "tests/support/inference_models.h"

namespace trireme::test {

constexpr int64_t kLongest = 96;

/// What a client got.
struct Heard {
  std::vector<int32_t> tokens;
  std::vector<uint32_t> log_probabilities;  // their bits
  std::string text;
  int64_t prompt_scores = 0;
  FinishReason finish = FinishReason::none;
  bool is_finished_empty = false;
  std::optional<launch::TextFailure> failure;
  std::string message;

  bool is_over() const { return finish != FinishReason::none || is_finished_empty || failure; }
  friend bool operator==(const Heard&, const Heard&) = default;
};
inline void PrintTo(const Heard& heard, std::ostream* out) {
  *out << heard.tokens.size() << " tokens '" << heard.text << "', finish " << static_cast<int>(heard.finish)
       << (heard.failure ? ", failure: " + heard.message : "");
}

/// A client's ears. Fails the test where it hears anything after the end.
class Ears final : public launch::TextSink {
 public:
  void on_prompt_scores(std::span<const ScoredToken> scores) override {
    change([&](Heard& h) { h.prompt_scores += std::ssize(scores); });
  }
  void on_token(launch::TextEvent event) override {
    change([&](Heard& h) {
      h.tokens.push_back(event.token.token);
      h.log_probabilities.push_back(std::bit_cast<uint32_t>(event.token.log_probability));
      h.text += event.text;
      h.finish = event.finish;
    });
  }
  void on_finished() override {
    change([](Heard& h) { h.is_finished_empty = true; });
  }
  void on_failed(launch::TextFailure failure, const std::string& message) override {
    change([&](Heard& h) {
      h.failure = failure;
      h.message = message;
    });
  }
  /// Until `is_enough`.
  Heard wait(const std::function<bool(const Heard&)>& is_enough = &Heard::is_over) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return is_enough(heard_); });
    return heard_;
  }

 private:
  template <class Change>
  void change(Change&& change) {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(heard_.is_over());
    change(heard_);
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Heard heard_;
};

/// Holds the model up where a text is at its token number `at`, until it is opened.
class Gate final : public TokenFilter {
 public:
  Gate(int64_t vocab_size, int64_t at) : words_(static_cast<size_t>(vocab_size + 63) / 64, ~0ULL), at_(at) {}
  std::span<const uint64_t> allowed() override {
    std::unique_lock lock(mutex_);
    if (count_++ == at_) {
      is_reached_ = true;
      changed_.notify_all();
      changed_.wait(lock, [this] { return is_open_; });
    }
    return words_;
  }
  void accept(int32_t) override {}
  void wait_until_reached() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return is_reached_; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    is_open_ = true;
    changed_.notify_all();
  }

 private:
  std::vector<uint64_t> words_;
  int64_t at_, count_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_reached_ = false, is_open_ = false;
};

struct RigOptions {
  GeneratorOptions generator = {};
  CacheOptions cache = {.num_blocks = 64, .block_tokens = 16};
  launch::EngineOptions engine = {};
};

class EngineRig {
 public:
  explicit EngineRig(const ModelConfig& config, const std::string& weights = "", RigOptions options = {})
      : rank(*self_, {.data = 1}, config, weights, options.cache),
        generator_(rank.ctx, rank.session.parallel(), rank.cached, options.generator),
        engine(rank.ctx, *self_, generator_, &tokenizer_, metrics_, completed(config, std::move(options))) {}
  ~EngineRig() {
    if (!thread_.joinable()) return;
    engine.stop();
    join();
  }

  void start() {
    thread_ = std::thread([this] {
      try {
        engine.run();
      } catch (const std::exception& error) {
        error_ = error.what();
      }
    });
  }
  /// Until the engine has ended; what it threw.
  std::string join() {
    thread_.join();
    return error_;
  }
  std::shared_ptr<Ears> ask(launch::ServedText text) {
    auto ears = std::make_shared<Ears>();
    text.sink = ears;
    std::vector<launch::ServedText> texts;
    texts.push_back(std::move(text));
    last = engine.submit(std::move(texts));
    return ears;
  }
  std::shared_ptr<Ears> ask(GenerationRequest request) {
    return ask(launch::ServedText{.generation = std::move(request)});
  }

 private:
  static launch::EngineOptions completed(const ModelConfig& config, RigOptions options) {
    options.engine.max_seq_len = config.max_positions;
    options.engine.num_blocks = options.cache.num_blocks;
    options.engine.block_tokens = options.cache.block_tokens;
    return std::move(options.engine);
  }

  std::unique_ptr<Communicator> self_ = make_self_communicator();

 public:
  CachedRank rank;

 private:
  Generator generator_;
  ByteTokenizer tokenizer_;
  launch::ServingMetrics metrics_{"model"};

 public:
  launch::ServingEngine engine;
  launch::Submission last;  ///< of ask()

 private:
  std::thread thread_;
  std::string error_;
};

inline ModelConfig small_config() { return inference_models(kLongest).front().config; }

inline GenerationRequest short_request(int64_t max_tokens = 20) {
  return {.prompt = {3, 1, 4}, .max_tokens = max_tokens};
}

/// So long as nothing else says otherwise.
template <class Condition>
void wait_until(Condition&& condition) {
  while (!condition()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace trireme::test
