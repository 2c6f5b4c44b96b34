#include "launch/serve/serve_options.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "launch/cli/run_arguments.h"

namespace trireme::launch {

namespace {

// So that a piece of a prompt does not hold up streams for long; on CPUs larger ones read prompts no faster.
constexpr int64_t kServingBatch = 128;

std::function<std::string(const std::string&)> seconds_into(double& field, double least) {
  return [&field, least](const std::string& text) -> std::string {
    constexpr double kMost = 1e6;
    const auto number = option_values::parse_number<double>(text);
    if (!number || !(*number >= least && *number <= kMost))
      return fmt::format("seconds from {:g} to {:g}", least, kMost);
    field = *number;
    return "";
  };
}

std::vector<PlainOption> text_limit_options(ServeArguments& a) {
  return {
      {"max-sequences", "N", "texts that run at once", fmt::to_string(a.max_sequences),
       whole_into(a.max_sequences, 1, 1 << 20)},
      {"max-waiting", "N", "texts that wait; more are refused (429)", fmt::to_string(a.max_waiting),
       whole_into(a.max_waiting, 0, 1 << 24)},
      {"max-choices", "N", "texts of one request: its prompts times n", fmt::to_string(a.api.max_choices),
       whole_into(a.api.max_choices, 1, 1 << 20)},
      {"max-logprobs", "N", "likeliest tokens that a request may ask for at each place",
       fmt::to_string(a.api.max_alternatives), whole_into(a.api.max_alternatives, 0, 1 << 20)},
      {"request-seconds", "X", "time of a request, waiting included; 0: as long as it takes", "0",
       seconds_into(a.api.default_seconds, 0)},
      {"stuck-seconds", "X", "a pass of the model that takes longer ends all texts, and /health is 503", "60",
       seconds_into(a.stuck_seconds, 0.01)},
      {"stop-seconds", "X", "after SIGTERM or SIGINT: time for texts to end", "30",
       seconds_into(a.stop_seconds, 0)},
      {"status-seconds", "X", "between lines of status on standard error; 0: none", "10",
       seconds_into(a.status_seconds, 0)},
      {"log-requests", "", "a line for each request and text: times, tokens, status; never what is in it", "",
       switch_into(a.logs_requests)},
  };
}

std::vector<PlainOption> http_options(ServeArguments& a) {
  return {
      {"max-body", "BYTES", "largest body of a request", fmt::to_string(a.http.body_bytes),
       whole_into(a.http.body_bytes, 1, int64_t{1} << 32)},
      {"max-header", "BYTES", "largest head of a request", fmt::to_string(a.http.header_bytes),
       whole_into(a.http.header_bytes, 256, 1 << 24)},
      {"max-connections", "N", "connections at once", fmt::to_string(a.http.connections),
       whole_into(a.http.connections, 1, 1 << 20)},
      {"header-seconds", "X", "for a request to arrive whole", "10",
       seconds_into(a.http.header_seconds, 0.01)},
      {"idle-seconds", "X", "of a connection between requests", "75",
       seconds_into(a.http.idle_seconds, 0.01)},
      {"write-seconds", "X", "for a client to take what was sent; then it counts as gone", "30",
       seconds_into(a.http.write_seconds, 0.01)},
      {"max-pending", "BYTES", "that a slow reader may leave lying", fmt::to_string(a.http.pending_bytes),
       whole_into(a.http.pending_bytes, 1, int64_t{1} << 32)},
  };
}

std::string last_part(const std::string& path) {
  std::filesystem::path parts(path);
  if (parts.filename().empty()) parts = parts.parent_path();
  return parts.filename().empty() || parts.filename() == "." ? path : parts.filename().string();
}

/// Takes a key out of the arguments; whether one was there.
bool take_key(std::vector<std::string>& args) {
  const auto is_key = [](const std::string& arg) {
    return arg == "--api-key" || arg.starts_with("--api-key=");
  };
  const auto found = std::ranges::find_if(args, is_key);
  if (found == args.end()) return false;
  const bool has_value = *found == "--api-key" && found + 1 != args.end() && !(found + 1)->starts_with("--");
  args.erase(found, found + (has_value ? 2 : 1));
  return true;
}

}  // namespace

std::vector<PlainOption> server_options(ServeArguments& a) {
  std::vector<PlainOption> options = {
      {"port", "N", "TCP port; 0: a free one, which the last line of the start names", "8000",
       whole_into(a.port, 0, 65535)},
      {"address", "ADDRESS", "where to listen: an address of this machine; 0.0.0.0: all", a.address,
       text_into(a.address)},
      {"name", "NAME", "of the model in requests and answers", "the last part of MODEL's path",
       text_into(a.name)},
      {"api-key-file", "FILE", "keys, one a line: clients must send one (Authorization: Bearer KEY)",
       "TRIREME_API_KEY of the environment, or no key", text_into(a.api_key_file)},
      {"no-prefix-cache", "", "prompts that begin alike are computed anew", "",
       [&a](const std::string&) {
         a.reuses_prefixes = false;
         return std::string();
       }},
  };
  for (const auto& more : {text_limit_options(a), http_options(a)})
    options.insert(options.end(), more.begin(), more.end());
  return options;
}

std::vector<PlainOption> serving_model_options(ServeArguments& a) {
  a.model.batch_tokens = kServingBatch;
  std::vector<PlainOption> options = inference_options(a.model);
  for (PlainOption& option : options) {
    if (option.name == "batch-tokens") {
      option.help =
          "tokens of a pass: one of each text that runs, the rest pieces of prompts, which hold up the texts";
      option.shown_default = fmt::to_string(kServingBatch);
    }
    if (option.name == "cache-tokens")
      option.shown_default = "--max-sequences of the longest, up to half of the memory available";
  }
  for (const auto& more : {speculation_options(a.speculation), exit_options(a.model.exit, true)})
    options.insert(options.end(), more.begin(), more.end());
  return options;
}

ServeArguments parse_serve(std::span<const std::string> args, int world_size) {
  ServeArguments a;
  std::vector<PlainOption> options = server_options(a);
  const auto more = serving_model_options(a);
  options.insert(options.end(), more.begin(), more.end());
  std::vector<std::string> errors, given(args.begin(), args.end());
  while (take_key(given)) {
    errors.emplace_back(
        "--api-key: a key among the arguments could be read by every user of this machine (ps): use "
        "--api-key-file FILE, or the variable TRIREME_API_KEY");
  }
  const std::vector<std::string> words = parse_plain_arguments("serve", options, given, errors);
  if (words.size() != 1)
    errors.push_back(
        fmt::format("serve takes one MODEL, given {}: a run directory, a checkpoint, or a "
                    "published model's file",
                    words.size()));
  if (!words.empty()) a.model.path = words.front();
  if (a.address.empty()) errors.emplace_back("--address is empty; 127.0.0.1 is this machine alone");
  if (a.name.empty()) a.name = last_part(a.model.path);
  for (std::string& error : errors_of(a.speculation)) errors.push_back(std::move(error));
  for (std::string& error : errors_of(a.model.exit, a.speculation.is_self(), a.model.model.plan.pipeline))
    errors.push_back(std::move(error));
  complete(a.model, world_size, errors);
  if (!errors.empty()) throw_errors(errors, "serve");
  return a;
}

}  // namespace trireme::launch
