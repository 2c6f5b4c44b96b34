#include "launch/serve/serve.h"

#include <chrono>
#include <cstdio>
#include <ctime>
#include <optional>

#include "launch/checkpoint/agreed.h"
#include "launch/preflight/choose_device.h"
#include "launch/process/stop_request.h"
#include "launch/serve/engine/serving_engine.h"
#include "launch/serve/front_door.h"
#include "launch/serve/protocol/token_texts.h"
#include "launch/serve/serve_banner.h"
#include "launch/serve/serving_model.h"
#include "runtime/base/error.h"
#include "runtime/comm/record/recorder.h"

namespace trireme::launch {

namespace {

void say_line(const std::string& line) {
  const std::time_t now = std::time(nullptr);
  std::tm local = {};
  ::localtime_r(&now, &local);
  char time[16];
  (void)std::strftime(time, sizeof time, "%H:%M:%S", &local);
  const std::string text = fmt::format("{} {}\n", time, line);  // one call: several threads speak
  std::fputs(text.c_str(), stderr);
}

/// Null, after a warning, where texts of tokens are not known.
std::shared_ptr<const TokenMasks> masks_of(const ServedFiles& served) {
  try {
    return std::make_shared<TokenMasks>(token_texts(*served.tokenizer, served.vocab_size));
  } catch (const UserError& error) {
    say_line(fmt::format("warning: no response_format: {}", error.what()));
    return nullptr;
  }
}

ServedModel served_model(const ServeArguments& arguments, const ServedFiles& served,
                         const ServingModel& model) {
  ServedModel out;
  out.name = arguments.name;
  out.tokenizer = served.tokenizer.get();
  out.chat = served.chat.get();
  out.chat_trouble = served.chat_trouble;
  out.masks = masks_of(served);
  out.end_tokens = served.end_tokens;
  out.vocab_size = served.vocab_size;
  out.max_seq_len = model.max_seq_len();
  out.created = std::time(nullptr);
  return out;
}

EngineOptions engine_options(const ServeArguments& arguments, const ServingModel& model) {
  EngineOptions options;
  options.max_texts = std::min(arguments.max_sequences, arguments.model.batch_tokens) + arguments.max_waiting;
  options.max_seq_len = model.max_seq_len();
  options.num_blocks = model.cached().options().num_blocks;
  options.block_tokens = model.cached().options().block_tokens;
  options.stuck_seconds = arguments.stuck_seconds;
  options.stop_seconds = arguments.stop_seconds;
  options.status_seconds = arguments.status_seconds;
  options.logs_texts = arguments.logs_requests;
  options.log = say_line;
  options.signal = [] { return int64_t{StopRequest::signal()}; };
  return options;
}

/// Ends all that comes over HTTP before what it asks for.
class ClosedAtEnd {
 public:
  explicit ClosedAtEnd(std::optional<FrontDoor>& door) : door_(door) {}
  ~ClosedAtEnd() {
    if (door_) door_->close();
  }
  ClosedAtEnd(const ClosedAtEnd&) = delete;
  ClosedAtEnd& operator=(const ClosedAtEnd&) = delete;

 private:
  std::optional<FrontDoor>& door_;
};

void announce(const ServeArguments& arguments, const ServedFiles& served, uint16_t port) {
  for (const std::string& warning :
       {served.keys.warning, address_warning(arguments, !served.keys.keys.empty())}) {
    if (!warning.empty()) say_line("warning: " + warning);
  }
  fmt::print("listening on {}\n", url_of(arguments.address, port));
  std::fflush(stdout);
}

}  // namespace

void serve(Context& ctx, Communicator& world, const ServeArguments& arguments, int local_ranks) {
  const ServedFiles served = read_served_files(world, arguments);
  std::optional<FrontDoor> door;  // on rank 0
  together(world, [&] {
    if (world.rank() == 0) door.emplace(arguments, say_line);
  });
  ServingModel model(ctx, world, served, arguments, local_ranks);
  const WarmUp warm = model.warm_up(ctx);
  ServingMetrics metrics(arguments.name);
  ServingEngine engine(ctx, world, model.generator(), served.tokenizer.get(), metrics,
                       engine_options(arguments, model));
  const ClosedAtEnd closed(door);
  if (door) {
    const ServedPlace place{device_text(ctx.device()), world.size(), ctx.num_threads()};
    fmt::print("{}", serve_banner(arguments, served, model, warm, place));
    std::fflush(stdout);
  }
  together(world, [&] {
    if (door) door->open(served_model(arguments, served, model), served.keys.keys, engine, metrics);
  });
  StopRequest::defer();
  if (door) announce(arguments, served, door->port());
  const ScopedPhase phase(ctx.recorder(), Phase::sample);
  engine.run();
  if (door) say_line("stopped: all texts have ended");
}

}  // namespace trireme::launch
