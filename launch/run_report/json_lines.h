// Files of one JSON object a line, whole or damaged: as far as they can be read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace trireme::launch {

/// The lines of a file that have a step. Bad lines are counted, and are no error: a run that was killed
/// leaves half a line at the end, one that is still written may too.
class JsonLines {
 public:
  enum class Order : uint8_t { as_written, ascending };

  /// `ascending`: a line takes those before it of its step and later ones back, as a run does that resumes
  /// from an earlier step; a file has each step once. Line ends may be those of Windows.
  JsonLines(std::string text, Order order);

  size_t size() const { return lines_.size(); }
  int64_t step(size_t i) const { return steps_[i]; }
  /// An object; one that cannot be parsed after all is counted and empty. NaN and Infinity, which are no
  /// JSON, are null.
  nlohmann::json parse(size_t i);

  /// Lines without a step, and those that were no object.
  int64_t num_damaged() const { return num_damaged_; }
  /// The last line has no end, or is none: it is not counted as damaged.
  bool is_cut() const { return is_cut_; }
  int64_t num_taken_back() const { return num_taken_back_; }

 private:
  void take(std::string_view line, Order order, bool is_last);

  std::string text_;
  std::vector<std::string_view> lines_;
  std::vector<int64_t> steps_;
  int64_t num_damaged_ = 0, num_taken_back_ = 0;
  bool is_cut_ = false;
};

}  // namespace trireme::launch
