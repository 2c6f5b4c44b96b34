#include "launch/cli/options/nearest_name.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace trireme::launch {

int edit_distance(std::string_view a, std::string_view b) {
  // Optimal string alignment; three rows of the table are enough.
  std::vector<int> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::string nearest_name(std::string_view name, std::span<const std::string> candidates) {
  const auto bare = [](std::string_view text) { return text.substr(text.rfind('.') + 1); };
  std::string best;
  int best_distance = static_cast<int>(name.size()) / 3 + 2;
  for (const std::string& candidate : candidates) {
    // A wrong or forgotten section costs one, so that --train.lr finds optimizer.lr and --layers
    // model.layers.
    const int distance =
        std::min(edit_distance(name, candidate), edit_distance(bare(name), bare(candidate)) + 1);
    if (distance >= best_distance) continue;
    best = candidate;
    best_distance = distance;
  }
  return best;
}

std::string did_you_mean(std::string_view name, std::span<const std::string> candidates,
                         std::string_view prefix) {
  const std::string nearest = nearest_name(name, candidates);
  return nearest.empty() ? "" : fmt::format("; did you mean {}{}?", prefix, nearest);
}

}  // namespace trireme::launch
