#include "launch/start/job_command.h"

#include <algorithm>
#include <cctype>

#include <fmt/ranges.h>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

using Words = std::vector<std::string>;

void append(Words& words, std::span<const std::string> more) {
  words.insert(words.end(), more.begin(), more.end());
}

Words mpirun_words(const JobCommand& job) {
  const Placement& placement = job.placement;
  Words words = {"mpirun"};
  if (job.allows_root) words.emplace_back("--allow-run-as-root");
  append(words, Words{"-n", fmt::to_string(placement.num_ranks())});
  if (job.names_hosts) {
    Words hosts;
    for (const HostPart& host : placement.hosts)
      hosts.push_back(fmt::format("{}:{}", host.offer.name, host.num_ranks));
    append(words, Words{"--host", fmt::format("{}", fmt::join(hosts, ","))});
  }
  if (placement.cores_per_rank > 0) {
    append(words,
           Words{"--map-by", fmt::format("slot:PE={}", placement.cores_per_rank), "--bind-to", "core"});
  } else {
    append(words, Words{"--map-by", "slot", "--bind-to", "none"});
  }
  if (placement.oversubscribed) words.emplace_back("--oversubscribe");
  for (const std::string& variable : job.passed_on) append(words, Words{"-x", variable});
  return words;
}

Words srun_words(const JobCommand& job) {
  const Placement& placement = job.placement;
  Words words = {"srun", "--mpi=pmix", "--kill-on-bad-exit=1", "--distribution=block",
                 fmt::format("--ntasks={}", placement.num_ranks())};
  if (!job.knows_tasks) {
    int most = 0;
    for (const HostPart& host : placement.hosts) most = std::max(most, host.num_ranks);
    words.push_back(fmt::format("--ntasks-per-node={}", most));
  }
  // Since 22.05 a step takes this from its own command line alone.
  if (job.cpus_per_task > 0) words.push_back(fmt::format("--cpus-per-task={}", job.cpus_per_task));
  if (placement.oversubscribed) words.emplace_back("--overcommit");
  return words;
}

bool is_plain(const std::string& word) {
  return !word.empty() && std::ranges::all_of(word, [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("-_=./:,+@%^").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

}  // namespace

std::string starter_name(Starter starter) {
  switch (starter) {
    case Starter::alone:
      return "alone";
    case Starter::mpirun:
      return "mpirun";
    case Starter::srun:
      return "srun";
  }
  return "";
}

Words command_words(const JobCommand& job) {
  Words words;
  if (job.starter == Starter::mpirun) words = mpirun_words(job);
  if (job.starter == Starter::srun) words = srun_words(job);
  append(words, job.extra);
  append(words, job.program);
  return words;
}

Words batch_words(const BatchCommand& batch) {
  Words words = {"sbatch"};
  const auto add = [&](const char* option, int number) {
    if (number > 0) words.push_back(fmt::format("--{}={}", option, number));
  };
  add("ntasks", batch.num_ranks);
  add("ntasks-per-node", batch.ranks_per_node);
  add("cpus-per-task", batch.cores_per_rank);
  add("gpus-per-node", batch.gpus_per_node);
  if (!batch.excluded.empty()) words.push_back(fmt::format("--exclude={}", fmt::join(batch.excluded, ",")));
  append(words, batch.extra);
  words.push_back(batch.script);
  append(words, batch.arguments);
  return words;
}

std::string shell_text(std::span<const std::string> words) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += ' ';
    if (is_plain(word)) {
      text += word;
      continue;
    }
    text += '\'';
    for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
    text += '\'';
  }
  return text;
}

Words split_words(const std::string& text, const std::string& option) {
  Words words;
  char quote = 0;
  bool is_open = false, is_escaped = false;
  for (const char c : text) {
    const bool is_blank = std::isspace(static_cast<unsigned char>(c)) != 0;
    if (!is_open && !(is_blank && quote == 0 && !is_escaped)) {
      words.emplace_back();
      is_open = true;
    }
    if (is_escaped) {
      words.back() += c;
      is_escaped = false;
    } else if (c == '\\' && quote != '\'') {
      is_escaped = true;
    } else if (quote != 0) {
      c == quote ? static_cast<void>(quote = 0) : words.back().push_back(c);
    } else if (c == '\'' || c == '"') {
      quote = c;
    } else if (is_blank) {
      is_open = false;
    } else {
      words.back() += c;
    }
  }
  if (quote != 0 || is_escaped) throw_usage("{} '{}': a quote in it does not end", option, text);
  return words;
}

}  // namespace trireme::launch
