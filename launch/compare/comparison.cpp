#include "launch/compare/comparison.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "launch/cli/options/option_table.h"

namespace trireme::launch {

namespace {

using Values = std::map<std::string, std::string>;

Values defaults() {
  Values all;
  const RunConfig config;
  for (const Option& option : all_options()) all.emplace(option.key(), option.value.get(config));
  return all;
}

/// Where the run is, and not what.
bool is_place(const std::string& key) { return key == "run.dir" || key == "run.resume"; }

std::vector<std::string> values_of(const std::vector<ComparedRun>& runs, const std::string& key,
                                   const Values& defaults) {
  std::set<std::string> values;
  for (const ComparedRun& run : runs) {
    const auto found = run.options.find(key);
    const auto otherwise = defaults.find(key);
    values.insert(found != run.options.end()    ? found->second
                  : otherwise != defaults.end() ? otherwise->second
                                                : "");
  }
  return {values.begin(), values.end()};
}

}  // namespace

std::vector<OptionDifference> differing_options(const std::vector<ComparedRun>& a,
                                                const std::vector<ComparedRun>& b, int64_t& num_options) {
  std::set<std::string> keys;
  for (const auto* side : {&a, &b}) {
    for (const ComparedRun& run : *side) {
      for (const auto& [key, value] : run.options) keys.insert(key);
    }
  }
  std::erase_if(keys, is_place);
  num_options = static_cast<int64_t>(keys.size());
  const Values otherwise = defaults();
  std::vector<OptionDifference> differences;
  for (const std::string& key : keys) {
    OptionDifference difference{key, values_of(a, key, otherwise), values_of(b, key, otherwise)};
    if (difference.a != difference.b || difference.a.size() > 1) differences.push_back(std::move(difference));
  }
  return differences;
}

Comparison compare_runs(std::vector<ComparedRun> a, std::vector<ComparedRun> b,
                        const CompareOptions& options) {
  Comparison comparison;
  comparison.a = std::move(a);
  comparison.b = std::move(b);
  comparison.options = differing_options(comparison.a, comparison.b, comparison.num_options);
  comparison.speed = compare_speed(comparison.a, comparison.b, options);
  compare_losses(comparison, options);
  return comparison;
}

}  // namespace trireme::launch
