// OpenTexts: the texts of a server's first rank, by the generator's numbers.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "launch/serve/engine/open_text.h"
#include "models/inference/generator.h"

namespace trireme::launch {

/// Every call is safe from any thread; sinks are called within them, and may call the queue.
class OpenTexts final : public GenerationListener {
 public:
  using Log = std::function<void(const std::string& line)>;
  /// All outlive it. `tokenizer` may be null; `log` hears of each text that ends, empty: nobody does.
  OpenTexts(TextQueue& queue, ServingMetrics& metrics, const Tokenizer* tokenizer, Log log)
      : queue_(queue), metrics_(metrics), tokenizer_(tokenizer), log_(std::move(log)) {}

  /// One that waits for its number, behind those that wait by now, while other ranks hear of it: all of
  /// `arrival` but its request.
  void expect(Arrival& arrival);
  /// The one that has waited longest has its number. If it has failed by then, take_failed() tells of it.
  void add(int64_t number);
  /// The one that has waited longest never gets a number.
  void refuse(TextFailure failure, const std::string& message);
  /// The same of one that nobody waited for.
  void refuse(Arrival& arrival, TextFailure failure, const std::string& message);
  /// Those whose clients have left, or whose time is over, fail.
  void fail_gone(const std::vector<Ticket>& gone);
  void fail_late(std::chrono::steady_clock::time_point now);
  /// Also those that wait for their numbers.
  void fail_all(TextFailure failure, const std::string& message);
  /// Numbers of those that have failed: the generator does not know yet.
  std::vector<int64_t> take_failed();
  /// The generator has ended it.
  void ended(int64_t number);
  bool is_empty() const;

  bool on_token(const GeneratedToken& token) override;
  void on_begin(int64_t request, int64_t reused_tokens) override;
  void on_prompt_scores(int64_t request, std::span<const ScoredToken> scores) override;
  void on_preempted(int64_t request, int64_t lost_tokens) override;
  void on_failed(int64_t request, const std::exception_ptr& error) override;

  /// Sequences that had to begin again since the last call, and their tokens.
  struct Preempted {
    int64_t sequences = 0, tokens = 0;
  };
  Preempted take_preempted();

 private:
  OpenText* find(int64_t number);
  template <class Call>
  void guarded(OpenText& text, Call&& call);
  template <class Call>
  void hear(int64_t number, Call&& call);
  /// Whether it was not over.
  bool fail(OpenText& text, TextFailure failure, const std::string& message);
  void fail(int64_t number, OpenText& text, TextFailure failure, const std::string& message);
  OpenText::OnEnd accounting();
  void account(const OpenText& text, const char* how);

  TextQueue& queue_;
  ServingMetrics& metrics_;
  const Tokenizer* tokenizer_;
  Log log_;
  mutable std::mutex mutex_;           // of all that follows
  std::map<int64_t, OpenText> texts_;  // by number
  std::deque<OpenText> expected_;      // in the order of their coming
  std::vector<int64_t> failed_;
  Preempted preempted_;
};

}  // namespace trireme::launch
