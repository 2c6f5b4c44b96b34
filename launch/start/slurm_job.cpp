#include "launch/start/slurm_job.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

constexpr int kMostNodes = 1 << 20;

[[noreturn]] void throw_no_nodes(const std::string& list) {
  throw_usage("'{}' is not a list of Slurm's nodes, as n[1-3,07],login2", list);
}

/// Splits at commas outside of brackets.
std::vector<std::string> split_nodes(const std::string& list) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (const char c : list) {
    depth += c == '[' ? 1 : c == ']' ? -1 : 0;
    if (depth < 0 || depth > 1) throw_no_nodes(list);
    if (c == ',' && depth == 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  if (depth != 0) throw_no_nodes(list);
  return parts;
}

int whole_number(std::string_view text, const std::string& list) {
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) throw_no_nodes(list);
  return value;
}

/// "1-3" and "07" as texts of the width that they are written in.
std::vector<std::string> numbers_of(const std::string& range, const std::string& list) {
  const size_t dash = range.find('-');
  const std::string first = range.substr(0, dash);
  const int begin = whole_number(first, list);
  const int end =
      dash == std::string::npos ? begin : whole_number(std::string_view(range).substr(dash + 1), list);
  if (end < begin || end - begin >= kMostNodes) throw_no_nodes(list);
  std::vector<std::string> numbers;
  for (int number = begin; number <= end; ++number)
    numbers.push_back(fmt::format("{:0{}}", number, first.size()));
  return numbers;
}

/// The names of one part, the first bracket of which gives as many names as it has numbers.
void expand_node(const std::string& part, const std::string& list, std::vector<std::string>& names) {
  const size_t open = part.find('[');
  if (open == std::string::npos) {
    if (part.empty()) throw_no_nodes(list);
    names.push_back(part);
    return;
  }
  const size_t close = part.find(']', open);
  std::string range;
  for (const char c : part.substr(open + 1, close - open - 1) + ",") {
    if (c != ',') {
      range += c;
      continue;
    }
    for (const std::string& number : numbers_of(range, list))
      expand_node(part.substr(0, open) + number + part.substr(close + 1), list, names);
    range.clear();
  }
}

std::string counts_in(const Variables& variables) {
  const std::string of_step = text_of(variables, "SLURM_STEP_TASKS_PER_NODE");
  const std::string of_job = text_of(variables, "SLURM_TASKS_PER_NODE");
  return of_job.empty() ? of_step : of_job;
}

}  // namespace

std::vector<std::string> expand_node_list(const std::string& list) {
  std::vector<std::string> names;
  for (const std::string& part : split_nodes(list)) expand_node(part, list, names);
  return names;
}

std::vector<int> expand_counts(const std::string& counts) {
  std::vector<int> all;
  std::string_view rest = counts;
  const auto fail = [&] {
    throw_usage("'{}' is not what Slurm writes for counts a node, as 4(x2),3", counts);
  };
  const auto number = [&] {
    int value = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    if (error != std::errc() || value < 1 || value > kMostNodes) fail();
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    return value;
  };
  while (true) {
    const int count = number();
    int times = 1;
    if (rest.starts_with("(x")) {
      rest.remove_prefix(2);
      times = number();
      if (!rest.starts_with(")")) fail();
      rest.remove_prefix(1);
    }
    all.insert(all.end(), static_cast<size_t>(times), count);
    if (rest.empty()) return all;
    if (rest.front() != ',') fail();
    rest.remove_prefix(1);
  }
}

int SlurmJob::num_tasks() const {
  int sum = 0;
  for (const HostSlots& host : hosts) sum += host.slots;
  return sum;
}

std::optional<SlurmJob> slurm_job(const Variables& variables) {
  SlurmJob job;
  job.id = text_of(variables, "SLURM_JOB_ID");
  const std::string nodes = text_of(variables, "SLURM_JOB_NODELIST");
  if (job.id.empty() || nodes.empty()) return std::nullopt;
  const std::vector<std::string> names = expand_node_list(nodes);
  job.has_tasks = number_of(variables, "SLURM_NTASKS") > 0;
  job.cpus_per_task = number_of(variables, "SLURM_CPUS_PER_TASK");
  job.gpus_per_host = number_of(variables, "SLURM_GPUS_ON_NODE");
  const std::string counts = counts_in(variables);
  std::vector<int> tasks = counts.empty() ? std::vector<int>(names.size(), 1) : expand_counts(counts);
  if (!job.has_tasks) tasks.assign(names.size(), std::max(1, job.gpus_per_host));
  if (tasks.size() != names.size()) {
    throw_usage(
        "Slurm's variables do not fit: SLURM_JOB_NODELIST={} has {} nodes, SLURM_TASKS_PER_NODE={} {}", nodes,
        names.size(), counts, tasks.size());
  }
  for (size_t i = 0; i < names.size(); ++i) job.hosts.push_back({names[i], tasks[i]});
  const std::string cpus = text_of(variables, "SLURM_JOB_CPUS_PER_NODE");
  if (!cpus.empty()) job.cpus = expand_counts(cpus);
  job.cpus.resize(names.size(), job.cpus.empty() ? 0 : job.cpus.back());
  return job;
}

}  // namespace trireme::launch
