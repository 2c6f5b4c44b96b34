#include "launch/commands/bench_serving.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/bench/serving/server_child.h"
#include "launch/bench/serving/serving_bench.h"
#include "launch/cli/plain_arguments.h"
#include "launch/cli/run_arguments.h"
#include "launch/process/build_info.h"
#include "launch/start/find_program.h"
#include "runtime/base/error.h"
#include "runtime/io/files/atomic_file.h"

namespace trireme::launch {

namespace {

constexpr double kStartSeconds = 600, kStopSeconds = 60, kListSeconds = 30;

struct ServeBenchArguments {
  ServingBench bench;
  std::string url, json;
  bool has_clients = false;
  std::optional<std::string> server_model;  ///< MODEL, of a server of its own
  std::vector<std::string> server_options;  ///< what follows "--"
};

/// A `set` for numbers of [least, most] with commas between them.
template <class T>
std::function<std::string(const std::string&)> list_into(std::vector<T>& list, T least, T most,
                                                         bool* is_given = nullptr) {
  return [&list, least, most, is_given](const std::string& text) -> std::string {
    list.clear();
    if (is_given != nullptr) *is_given = true;
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find(',', begin), text.size());
      const auto number = option_values::parse_number<T>(std::string_view(text).substr(begin, end - begin));
      if (!number || !(*number >= least && *number <= most))
        return fmt::format("numbers from {} to {} with commas between them, without blanks", least, most);
      list.push_back(*number);
      begin = end + 1;
    }
    return "";
  };
}

std::function<std::string(const std::string&)> number_into(double& field, double least, double most) {
  return [&field, least, most](const std::string& text) -> std::string {
    const auto number = option_values::parse_number<double>(text);
    if (!number || !(*number >= least && *number <= most))
      return fmt::format("a number from {} to {}", least, most);
    field = *number;
    return "";
  };
}

std::vector<PlainOption> serve_bench_options(ServeBenchArguments& a) {
  ServingBench& b = a.bench;
  constexpr int64_t kMostTokens = 1 << 24;
  return {
      {"url", "URL",
       "without MODEL: a server that runs, of any program with OpenAI's /v1/completions; its key in "
       "TRIREME_API_KEY or OPENAI_API_KEY",
       "none", text_into(a.url)},
      {"model", "NAME", "what requests name as their model", "the first of /v1/models", text_into(b.model)},
      {"clients", "LIST", "requests in flight all the time, a measurement for each number", "1,4,16",
       list_into<int64_t>(b.clients, 1, 4096, &a.has_clients)},
      {"rate", "LIST",
       "instead of --clients: requests a second, at random times (Poisson), however many are in flight",
       "none", list_into<double>(b.rates, 1e-3, 1e5)},
      {"requests", "N", "requests of a measurement", "4 a client, at least 8; 30 s of a rate",
       whole_into(b.requests, 1, 1 << 24)},
      {"prompt-tokens", "N", "length of a prompt, in words or with --prompt-ids in tokens",
       fmt::to_string(b.prompt.tokens), whole_into(b.prompt.tokens, 1, kMostTokens)},
      {"prompt-ids", "",
       "prompts are token ids, which not every server takes; else frequent English words, about a token each",
       "", switch_into(b.prompt.are_ids)},
      {"vocab", "N", "of --prompt-ids: ids are drawn from the upper half of so many",
       fmt::to_string(b.prompt.vocab), whole_into(b.prompt.vocab, 256, 1 << 30)},
      {"shared-prefix", "N",
       "so much of every prompt is alike, for the prefix cache; at least 4 tokens are not",
       fmt::to_string(b.prompt.shared_prefix), whole_into(b.prompt.shared_prefix, 0, kMostTokens)},
      {"max-tokens", "N", "length of a text, whose end token is ignored", fmt::to_string(b.max_tokens),
       whole_into(b.max_tokens, 1, kMostTokens)},
      {"long-prompt", "N",
       "instead: gaps of streams (the first number of --clients) while a prompt of N tokens arrives; texts "
       "have to be long enough to go on meanwhile",
       "none", whole_into(b.long_prompt, 1, kMostTokens)},
      {"overload", "X",
       "afterwards: X times the best request rate of --clients, half of the requests with a lower priority",
       "none", number_into(b.overload, 0.1, 100)},
      {"warmup", "N", "requests before, which do not count", fmt::to_string(b.warmup),
       whole_into(b.warmup, 0, 1 << 20)},
      {"seed", "N", "of prompts and times", fmt::to_string(b.prompt.seed),
       whole_into(b.prompt.seed, 0, INT64_MAX)},
      {"timeout", "SECONDS", "of one request", fmt::format("{:g}", b.timeout),
       number_into(b.timeout, 0.1, 1e6)},
      {"json", "FILE", "also write the results as JSON", "none", text_into(a.json)},
  };
}

void check_server_of(const ServeBenchArguments& a, const std::vector<std::string>& words,
                     std::vector<std::string>& errors) {
  if (words.size() > 1)
    errors.push_back(fmt::format("bench serve takes one MODEL at most, given {}", words.size()));
  if (words.empty() && a.url.empty())
    errors.emplace_back("bench serve needs a MODEL to serve, or --url of a server that runs");
  if (!words.empty() && !a.url.empty())
    errors.emplace_back(
        "--url has no effect with a MODEL, which a server of its own is started for: leave one of them out");
  if (words.empty() && !a.server_options.empty())
    errors.emplace_back("what follows -- is for the server of a MODEL, which is not given");
}

void check_scenario(const ServeBenchArguments& a, std::vector<std::string>& errors) {
  const ServingBench& b = a.bench;
  const auto exclude = [&](bool both, const char* text) {
    if (both) errors.emplace_back(text);
  };
  exclude(a.has_clients && !b.rates.empty(), "--clients has no effect with --rate: leave one of them out");
  exclude(b.long_prompt > 0 && !b.rates.empty(),
          "--rate has no effect with --long-prompt: leave one of them out");
  exclude(b.long_prompt > 0 && b.overload > 0,
          "--overload and --long-prompt are two measurements: leave one of them out");
  exclude(b.overload > 0 && !b.rates.empty(), "--overload finds its rate by --clients: leave --rate out");
  if (b.prompt.shared_prefix > 0 && b.prompt.shared_prefix + 4 > b.prompt.tokens)
    errors.push_back(fmt::format("--shared-prefix {} leaves fewer than 4 of --prompt-tokens {}",
                                 b.prompt.shared_prefix, b.prompt.tokens));
  // Where a run of requests is too short, the rate of all is that of the last.
  if (b.long_prompt > 0 && b.requests > 0)
    errors.emplace_back(
        "--requests has no effect with --long-prompt: --clients says how many streams there are");
}

ServeBenchArguments parse_serve_bench(std::span<const std::string> args) {
  ServeBenchArguments a;
  const auto dashes = std::ranges::find(args, "--");
  if (dashes != args.end()) a.server_options.assign(dashes + 1, args.end());
  std::vector<std::string> errors;
  const auto own = args.first(static_cast<size_t>(dashes - args.begin()));
  const std::vector<std::string> words =
      parse_plain_arguments("bench serve", serve_bench_options(a), own, errors);
  if (!words.empty()) a.server_model = words.front();
  check_server_of(a, words, errors);
  check_scenario(a, errors);
  if (!errors.empty()) throw_errors(errors, "bench");
  return a;
}

std::string key_of_environment() {
  for (const char* name : {"TRIREME_API_KEY", "OPENAI_API_KEY"}) {
    const char* key = std::getenv(name);
    if (key != nullptr && *key != 0) return key;
  }
  return "";
}

std::unique_ptr<ServerChild> start_server(const ServeBenchArguments& a) {
  if (!a.server_model) return nullptr;
  std::vector<std::string> command = {own_program(), "serve", *a.server_model, "--port", "0"};
  command.insert(command.end(), a.server_options.begin(), a.server_options.end());
  return std::make_unique<ServerChild>(std::move(command), kStartSeconds);
}

}  // namespace

std::string bench_serve_help() {
  ServeBenchArguments a;
  return help_plain(serve_bench_options(a));
}

void bench_serve(std::span<const std::string> args, const RankPlace& place) {
  if (place.world_size > 1)
    throw_usage(
        "trireme bench serve is one client: start it without mpirun; a server of many ranks by --url");
  ServeBenchArguments a = parse_serve_bench(args);
  const std::unique_ptr<ServerChild> server = start_server(a);
  a.bench.endpoint = parse_endpoint(server ? server->url() : a.url);
  a.bench.endpoint.api_key = key_of_environment();
  if (a.bench.model.empty()) a.bench.model = first_model(a.bench.endpoint, kListSeconds);
  fmt::print("# {}\n", build_line());
  const nlohmann::ordered_json json = run_serving_bench(a.bench, stdout);
  if (!a.json.empty()) write_file_atomically(a.json, json.dump(2) + "\n");
  const int code = server ? server->stop(kStopSeconds) : 0;
  if (code != 0) throw_environment("the server ended with exit code {} when it was asked to stop", code);
  if (const auto failed = json.at("failed").get<int64_t>(); failed > 0)
    throw_environment("{} requests were not answered as they should be", failed);
}

}  // namespace trireme::launch
