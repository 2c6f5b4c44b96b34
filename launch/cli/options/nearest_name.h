// "Did you mean ...?"
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace trireme::launch {

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
int edit_distance(std::string_view a, std::string_view b);

/// The candidate nearest to `name`, compared whole and by what follows its last dot; empty when none is near
/// enough to be meant (more than a third of the characters differ).
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

/// "; did you mean X?", or nothing.
std::string did_you_mean(std::string_view name, std::span<const std::string> candidates,
                         std::string_view prefix = "");

}  // namespace trireme::launch
