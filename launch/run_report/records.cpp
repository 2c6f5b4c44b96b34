#include "launch/run_report/records.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "launch/run_report/thin.h"

namespace trireme::launch {

namespace {

constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();

}  // namespace

double json_number(const nlohmann::json& value) {
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  return value.is_number() ? value.get<double>() : kNoNumber;
}

double number_at(const nlohmann::json& object, const char* key) {
  return object.is_object() && object.contains(key) ? json_number(object[key]) : kNoNumber;
}

int64_t whole_at(const nlohmann::json& object, const char* key) {
  const double number = number_at(object, key);
  return std::isfinite(number) && std::abs(number) < 9e18 ? static_cast<int64_t>(number) : 0;
}

std::string text_at(const nlohmann::json& object, const char* key) {
  return object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "";
}

Position RecordClock::position_of(const nlohmann::json& record, int64_t step) {
  const double time = number_at(record, "time"), tokens = number_at(record, "tokens");
  if (begin_ == 0 && std::isfinite(time)) begin_ = time;
  Position at = last_;
  at.step = static_cast<double>(step);
  if (std::isfinite(tokens)) at.tokens = std::max(at.tokens, tokens);
  if (std::isfinite(time)) at.hours = std::max(at.hours, (time - begin_) / 3600);
  return last_ = at;
}

void append_position(Positions& positions, const Position& at) {
  positions.step.push_back(at.step);
  positions.tokens.push_back(at.tokens);
  positions.hours.push_back(at.hours);
}

Positions thinned(const Positions& positions, size_t per_point) {
  return {ends_of_points(positions.step, per_point), ends_of_points(positions.tokens, per_point),
          ends_of_points(positions.hours, per_point)};
}

void RecordBuilder::begin(const Position& at) { append_position(columns_.at, at); }

void RecordBuilder::set(const std::string& key, double value) {
  auto [found, is_new] = columns_.values.try_emplace(key);
  if (is_new) columns_.order.push_back(key);
  found->second.resize(size(), kNoNumber);
  found->second.back() = value;
}

RecordTable RecordBuilder::take() && {
  for (auto& [key, values] : columns_.values) values.resize(size(), kNoNumber);
  return std::move(columns_);
}

void tell_damage(const std::string& file, const JsonLines& lines, std::vector<std::string>& problems) {
  if (lines.num_damaged() > 0)
    problems.push_back(fmt::format("{}: {} damaged line{} left out", file, lines.num_damaged(),
                                   lines.num_damaged() == 1 ? " was" : "s were"));
  if (lines.is_cut())
    problems.push_back(fmt::format("{}: ends within a line, which was left out or is not yet whole", file));
  if (lines.num_taken_back() > 0)
    problems.push_back(fmt::format("{}: {} records of steps that were done again later were left out", file,
                                   lines.num_taken_back()));
}

}  // namespace trireme::launch
