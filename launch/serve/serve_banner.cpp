#include "launch/serve/serve_banner.h"

#include <fmt/format.h>

#include "launch/process/build_info.h"
#include "launch/report/banner.h"
#include "launch/report/number_text.h"

namespace trireme::launch {

namespace {

std::string cache_line(const ServeArguments& arguments, const ServingModel& model) {
  const CacheOptions& cache = model.cached().options();
  const double bytes = static_cast<double>(cache.num_blocks * model.cached().block_bytes());
  return fmt::format("{} blocks of {} tokens, {} per rank ({}); {} prefixes; longest sequence {}",
                     grouped(cache.num_blocks), cache.block_tokens, short_bytes(bytes),
                     arguments.model.cache_tokens > 0
                         ? "--cache-tokens"
                         : "what --max-sequences of the longest need, up to half of the memory available",
                     arguments.reuses_prefixes ? "reuses" : "does not reuse", model.max_seq_len());
}

std::string speed_line(const WarmUp& warm) {
  if (warm.text_per_second <= 0) return "not known: the longest sequence is too short to measure it";
  return fmt::format(
      "prompts {:.0f} tokens/s, one text alone {:.1f} tokens/s (measured by a warm-up of {} and {} tokens)",
      warm.prompt_per_second, warm.text_per_second, warm.prompt_tokens, warm.text_tokens);
}

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address == "::1" || address == "localhost";
}

std::string drafts_text(const ServeArguments& arguments, const ServingModel& model) {
  const SpeculationArguments& drafts = arguments.speculation;
  if (drafts.is_self())
    return fmt::format("the model's first {} blocks",
                       draft_blocks_of(model.model().config(), arguments.model.exit));
  return drafts.draft_model.empty() ? "n-grams of the text" : drafts.draft_model;
}

}  // namespace

std::string serve_banner(const ServeArguments& arguments, const ServedFiles& served,
                         const ServingModel& model, const WarmUp& warm, const ServedPlace& place) {
  const LoadReport& loaded = model.model().loaded();
  const ParallelPlan& plan = arguments.model.model.plan;
  std::string text = build_line() + "\n";
  const auto line = [&](const char* name, const std::string& value) {
    text += fmt::format("{:<8} {}\n", name, value);
  };
  line("model", fmt::format("{}: {}", arguments.name, model_line(model.model().config())));
  line("weights",
       fmt::format("{} per rank of {}; loaded in {:.1f} s",
                   short_bytes(static_cast<double>(loaded.weight_bytes)), loaded.formats, loaded.seconds));
  line("layout",
       fmt::format("{} (tp {}, pp {}, ep {}) on {}, {} thread(s) each", counted(place.num_ranks, "rank"),
                   plan.tensor, plan.pipeline, plan.expert, place.device, place.threads));
  line("cache", cache_line(arguments, model));
  line("limits", fmt::format("{} texts at once, {} wait; {} tokens a pass", arguments.max_sequences,
                             arguments.max_waiting, arguments.model.batch_tokens));
  line("speed", speed_line(warm));
  if (const SpeculationArguments& drafts = arguments.speculation; drafts.tokens > 0)
    line("drafts", fmt::format("up to {} tokens, as far as they help, of {}", drafts.tokens,
                               drafts_text(arguments, model)));
  for (const std::string& warning :
       exit_warnings(model.model().config(), arguments.model.exit, arguments.speculation.is_self()))
    line("exits", warning);
  line("chat", served.chat != nullptr ? "by the model's template"
                                      : "none, /v1/chat/completions answers 400: " + served.chat_trouble);
  line("access", served.keys.keys.empty() ? "whoever reaches the address: no API key is asked for"
                                          : fmt::format("API key ({} known)", served.keys.keys.size()));
  return text;
}

std::string url_of(const std::string& address, uint16_t port) {
  const bool is_v6 = address.find(':') != std::string::npos;
  return fmt::format("http://{}{}{}:{}", is_v6 ? "[" : "", address, is_v6 ? "]" : "", port);
}

std::string address_warning(const ServeArguments& arguments, bool has_keys) {
  if (is_loopback(arguments.address)) return "";
  if (has_keys)
    return fmt::format(
        "--address {}: keys and texts cross the network in the clear; put a proxy with TLS in front",
        arguments.address);
  return fmt::format(
      "--address {}: whoever reaches it can use the model, without a key (--api-key-file) and in the clear "
      "(put a proxy with TLS in front)",
      arguments.address);
}

}  // namespace trireme::launch
