#include "launch/serve/engine/serving_engine.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "launch/serve/engine/engine_watch.h"
#include "launch/serve/engine/open_texts.h"
#include "launch/serve/engine/pass_news.h"
#include "launch/serve/engine/prompt_pace.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

constexpr double kPreemptionSeconds = 10;  // between lines of these where no status is asked for
const char* const kStopping = "the server is stopping";

/// How long ranks sleep that had nothing to do so many times in a row: equal on all, so that none waits
/// awake for another's news.
std::chrono::microseconds nap_of(int64_t idle_times) {
  constexpr int64_t kFirst = 125, kMost = 50'000;
  return std::chrono::microseconds(idle_times > 9 ? kMost : std::min(kFirst << idle_times, kMost));
}

EngineState fixed_state(const EngineOptions& options) {
  EngineState state;
  state.num_blocks = options.num_blocks;
  state.block_tokens = options.block_tokens;
  state.max_seq_len = options.max_seq_len;
  return state;
}

}  // namespace

class ServingEngine::State {
 public:
  State(Context& context, Communicator& communicator, Generator& of_model, const Tokenizer* tokenizer,
        ServingMetrics& of_server, EngineOptions of_engine)
      : options(std::move(of_engine)),
        queue(options.max_texts, fixed_state(options)),
        ctx(context),
        world(communicator),
        generator(of_model),
        metrics(of_server),
        texts(queue, metrics, tokenizer, options.logs_texts ? options.log : OpenTexts::Log()) {}

  void run();
  void begin_stop();

  const EngineOptions options;
  TextQueue queue;

 private:
  bool is_first() const { return world.rank() == 0; }
  std::string stuck_text() const {
    return fmt::format("the model is stuck: a pass takes more than {:g} s", options.stuck_seconds);
  }

  void nap();
  PassNews next_news();
  void take_arrivals(PassNews& news);
  void apply(PassNews news);
  void step();
  void say_status();

  Context& ctx;
  Communicator& world;
  Generator& generator;
  ServingMetrics& metrics;
  OpenTexts texts;               // on the first rank
  PromptPace pace_;              // on the first rank
  std::vector<int64_t> active_;  // numbers that the generator has, on all ranks
  int64_t idle_times_ = 0;
  int64_t signal_ = 0;                  // of any rank
  std::atomic<bool> is_asked_ = false;  // to stop
  std::optional<double> stop_by_;
  std::atomic<bool> has_news_to_say_ = false;
};

ServingEngine::ServingEngine(Context& ctx, Communicator& world, Generator& generator,
                             const Tokenizer* tokenizer, ServingMetrics& metrics, EngineOptions options)
    : state_(std::make_unique<State>(ctx, world, generator, tokenizer, metrics, std::move(options))) {}

ServingEngine::~ServingEngine() = default;

Submission ServingEngine::submit(std::vector<ServedText> texts) {
  return state_->queue.submit(std::move(texts));
}
void ServingEngine::cancel(Ticket ticket) { state_->queue.cancel(ticket); }
EngineState ServingEngine::state() const { return state_->queue.state(); }
void ServingEngine::stop() { state_->begin_stop(); }
void ServingEngine::run() { state_->run(); }

void ServingEngine::State::begin_stop() {
  queue.begin_trouble(kStopping);
  is_asked_ = true;
  queue.wake();
}

void ServingEngine::State::run() {
  std::optional<EngineWatch> watch;
  if (is_first()) {
    watch.emplace(EngineWatchLinks{
        .stuck_seconds = options.stuck_seconds,
        .on_stuck =
            [this] {
              queue.begin_trouble(stuck_text());
              texts.fail_all(TextFailure::stuck, stuck_text());
              for (Arrival& arrival : queue.take().texts)
                texts.refuse(arrival, TextFailure::stuck, stuck_text());
              options.log(stuck_text() + "; its texts have ended");
            },
        .status_seconds = options.status_seconds > 0 ? options.status_seconds : kPreemptionSeconds,
        .on_status = [this] { say_status(); }});
  }
  while (true) {
    if (generator.num_unfinished() == 0) nap();
    signal_ = std::max(signal_, options.signal());
    if (watch) watch->begin_pass();
    PassNumbers numbers{signal_, is_first() ? pace_.prompt_tokens() : 0};
    PassNews news = exchange(ctx, world, is_first() ? next_news() : PassNews(), numbers);
    signal_ = numbers.signal;
    generator.limit_prompts(numbers.prompt_tokens);
    const bool is_end = news.is_end;
    apply(std::move(news));
    if (is_end) {
      queue.pass_ended(generator.last_pass());
    } else {
      step();
    }
    if (watch) watch->end_pass();
    if (is_first()) queue.end_trouble(stuck_text());
    if (is_end) return;
  }
}

// Whoever stopped being idle begins with short naps again: more often comes soon.
void ServingEngine::State::nap() {
  const auto time = nap_of(idle_times_++);
  if (is_first()) {
    queue.wait_for(time);
  } else {
    std::this_thread::sleep_for(time);
  }
}

PassNews ServingEngine::State::next_news() {
  if (signal_ != 0 && !is_asked_) begin_stop();
  const bool stops = is_asked_;  // then nothing comes any more after what is taken here
  PassNews news;
  take_arrivals(news);
  texts.fail_late(std::chrono::steady_clock::now());
  if (stops) {
    const double now = steady_seconds();
    if (!stop_by_) stop_by_ = now + options.stop_seconds;
    if (now >= *stop_by_)
      texts.fail_all(TextFailure::stopping, fmt::format("{}, and {:g} s for texts to end are over", kStopping,
                                                        options.stop_seconds));
  }
  news.ended = texts.take_failed();
  news.is_end = stops && texts.is_empty() && news.added.empty();
  return news;
}

void ServingEngine::State::take_arrivals(PassNews& news) {
  Arrivals arrivals = queue.take();
  const auto now = std::chrono::steady_clock::now();
  for (Arrival& arrival : arrivals.texts) {
    const auto& deadline = arrival.text.deadline;
    if (std::ranges::count(arrivals.gone, arrival.ticket) > 0) {
      texts.refuse(arrival, TextFailure::cancelled, "the client has left");
    } else if (deadline && *deadline <= now) {
      texts.refuse(arrival, TextFailure::deadline, "the request's time is over");
    } else {
      news.added.push_back(arrival.text.generation);
      texts.expect(arrival);
    }
  }
  texts.fail_gone(arrivals.gone);
}

void ServingEngine::State::apply(PassNews news) {
  for (const int64_t number : news.ended) {
    generator.cancel(number);
    generator.release(number);
    std::erase(active_, number);
  }
  for (GenerationRequest& request : news.added) {
    // All ranks find the same wrong with a request.
    try {
      const int64_t number = generator.add(std::move(request));
      active_.push_back(number);
      if (is_first()) texts.add(number);
    } catch (const UserError& error) {
      if (is_first()) texts.refuse(TextFailure::failed, error.what());
    }
  }
}

void ServingEngine::State::step() {
  bool has_stepped = false;
  try {
    has_stepped = generator.step(texts);
  } catch (const std::exception& error) {
    if (is_first()) {
      queue.begin_trouble("the model has failed");
      texts.fail_all(TextFailure::failed, error.what());
    }
    throw;
  }
  if (has_stepped) idle_times_ = 0;
  std::erase_if(active_, [&](int64_t number) {
    if (generator.finish(number) == FinishReason::none) return false;
    if (is_first()) texts.ended(number);
    generator.release(number);
    return true;
  });
  if (!is_first()) return;
  const PassReport report = generator.last_pass();
  queue.pass_ended(report);
  if (!has_stepped) return;
  pace_.learn(report);
  metrics.pass(report, generator.counts());
  has_news_to_say_ = true;
}

void ServingEngine::State::say_status() {
  const OpenTexts::Preempted preempted = texts.take_preempted();
  if (preempted.sequences > 0)
    options.log(fmt::format("{} text(s) gave their blocks to others and begin again: {} tokens are lost",
                            preempted.sequences, preempted.tokens));
  if (has_news_to_say_.exchange(false) && options.status_seconds > 0)
    options.log(metrics.status_line(queue.state()));
}

}  // namespace trireme::launch
