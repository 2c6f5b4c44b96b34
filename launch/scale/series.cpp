#include "launch/scale/series.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

constexpr int kMostScaleRanks = 1 << 20;
constexpr size_t kMostPoints = 10000;

/// Parts between `separator`s; empty ones too.
std::vector<std::string> parts_of(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

/// Every combination of the values, the last sweep running fastest.
std::vector<std::vector<std::pair<std::string, std::string>>> combinations(const std::vector<Sweep>& sweeps) {
  std::vector<std::vector<std::pair<std::string, std::string>>> all(1);
  for (const Sweep& sweep : sweeps) {
    decltype(all) longer;
    for (const auto& begun : all) {
      for (const std::string& value : sweep.values) {
        longer.push_back(begun);
        longer.back().emplace_back(sweep.key, value);
      }
    }
    if (longer.size() > kMostPoints) throw_usage("--sweep: more than {} points", kMostPoints);
    all = std::move(longer);
  }
  return all;
}

/// An error of the parser in one line, without what it says about help and about other layouts, which the
/// series has as well.
std::string in_one_line(std::string text) {
  for (const char* rest : {"\nall options: ", "\n     nearest layouts"})
    text = text.substr(0, text.find(rest));
  std::string line;
  for (const char c : text) {
    const bool is_blank = c == '\n' || c == ' ';
    if (c == '\n' && !line.ends_with(':')) line += ';';
    if (!is_blank) {
      line += c;
    } else if (!line.ends_with(' ')) {
      line += ' ';
    }
  }
  return line;
}

/// What the options come to, or why they do not fit.
std::optional<PointFacts> facts_at(const CheckOptions& check, const std::vector<std::string>& options,
                                   int ranks, std::string& why) {
  try {
    return check(options, ranks);
  } catch (const UserError& error) {
    why = in_one_line(error.what());
    return std::nullopt;
  }
}

/// The global batch of a group at the rank count where it is found.
struct GroupBatch {
  int ranks = 0;
  int64_t batch = 0;
};

class BatchRule {
 public:
  explicit BatchRule(ScaleMode mode) : mode_(mode) {}

  /// Rank counts come in ascending order.
  void see(const Point& point) {
    GroupBatch& group = groups_[point.group()];
    const bool counts = mode_ == ScaleMode::strong || group.ranks == 0 || group.ranks == point.ranks;
    if (!counts) return;
    group.ranks = point.ranks;
    group.batch = std::max(group.batch, point.facts.global_batch);
  }

  /// 0: it is no whole number, and `why` says so.
  int64_t batch_of(const Point& point, std::string& why) const {
    const auto found = groups_.find(point.group());
    if (found == groups_.end() || found->second.ranks == 0) return 0;
    const GroupBatch& group = found->second;
    if (mode_ == ScaleMode::strong) return group.batch;
    if (group.batch * point.ranks % group.ranks != 0) {
      why = fmt::format(
          "the global batch {} at {} ranks would be {:g} at {}: give --train.global-batch a multiple of {}",
          group.batch, group.ranks,
          static_cast<double>(group.batch) * point.ranks / static_cast<double>(group.ranks), point.ranks,
          group.ranks);
      return 0;
    }
    return group.batch * point.ranks / group.ranks;
  }

 private:
  ScaleMode mode_;
  std::map<std::string, GroupBatch> groups_;
};

std::string values_text(const Point& point, bool with_layout) {
  std::string text;
  for (const auto& [key, value] : point.values) {
    if (!with_layout && key.starts_with("parallel.")) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", key.substr(key.find('.') + 1), value);
  }
  return text;
}

}  // namespace

std::string to_string(ScaleMode mode) { return mode == ScaleMode::weak ? "weak" : "strong"; }

std::vector<int> parse_rank_counts(const std::string& list) {
  std::vector<int> counts;
  for (const std::string& part : parts_of(list, ',')) {
    int count = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), count);
    if (error != std::errc() || end != part.data() + part.size() || count < 1 || count > kMostScaleRanks)
      throw_usage("--ranks '{}': '{}' is no number of ranks; as 1,2,4,8", list, part);
    counts.push_back(count);
  }
  std::ranges::sort(counts);
  const auto twice = std::ranges::adjacent_find(counts);
  if (twice != counts.end()) throw_usage("--ranks '{}': {} is there twice", list, *twice);
  return counts;
}

Sweep parse_sweep(const std::string& text) {
  const size_t equals = text.find('=');
  Sweep sweep{text.substr(0, equals), {}};
  if (equals == std::string::npos || equals == 0)
    throw_usage("--sweep '{}' is not OPTION=VALUE,VALUE,..., as parallel.tensor=1,2,4", text);
  if (sweep.key.starts_with("--")) sweep.key = sweep.key.substr(2);
  const std::string values = text.substr(equals + 1);
  sweep.values = parts_of(values, values.find(';') == std::string::npos ? ',' : ';');
  for (size_t i = 0; i < sweep.values.size(); ++i) {
    const std::string& value = sweep.values[i];
    if (value.empty()) throw_usage("--sweep '{}': a value is empty", text);
    if (std::find(sweep.values.begin(), sweep.values.begin() + static_cast<std::ptrdiff_t>(i), value) !=
        sweep.values.begin() + static_cast<std::ptrdiff_t>(i))
      throw_usage("--sweep '{}': {} is there twice", text, value);
  }
  return sweep;
}

std::string Point::group() const { return values_text(*this, false); }
std::string Point::line() const { return values_text(*this, true); }

std::vector<Point> plan_points(const SeriesRequest& request, const CheckOptions& check) {
  std::vector<Point> points;
  BatchRule rule(request.mode);
  const auto all = combinations(request.sweeps);
  if (all.size() * request.ranks.size() > kMostPoints)
    throw_usage("{} points: at most {}", all.size() * request.ranks.size(), kMostPoints);
  for (const int ranks : request.ranks) {
    for (const auto& values : all) {
      Point point{ranks, values, request.options, {}, {}};
      for (const auto& [key, value] : values) {
        point.options.push_back("--" + key);
        point.options.push_back(value);
      }
      if (const auto facts = facts_at(check, point.options, ranks, point.left_out)) {
        point.facts = *facts;
        rule.see(point);
      }
      points.push_back(std::move(point));
    }
  }
  for (Point& point : points) {
    std::string why;
    const int64_t batch = rule.batch_of(point, why);
    if (batch == 0) {
      if (point.left_out.empty() || !why.empty()) point.left_out = why;
      continue;
    }
    // With the batch of the mode a point may fit that does not fit with the one given, and the other way
    // round.
    std::vector<std::string> options = point.options;
    options.insert(options.end(), {"--train.global-batch", fmt::to_string(batch)});
    std::string reason;
    const auto facts = facts_at(check, options, point.ranks, reason);
    point.left_out = reason;
    if (!facts) continue;
    point.options = std::move(options);
    point.facts = *facts;
  }
  return points;
}

}  // namespace trireme::launch
