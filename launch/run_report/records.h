// What readers of records share: numbers of any kind of JSON, and columns that grow record by record.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "launch/run_report/json_lines.h"
#include "launch/run_report/run_data.h"

namespace trireme::launch {

/// NaN for what is no number; 1 and 0 for true and false.
double json_number(const nlohmann::json& value);
double number_at(const nlohmann::json& object, const char* key);
int64_t whole_at(const nlohmann::json& object, const char* key);     ///< 0 for what is none
std::string text_at(const nlohmann::json& object, const char* key);  ///< empty for what is none

struct Position {
  double step = 0, tokens = 0, hours = 0;
};

/// Positions of records in succession: none lies before the one before it, whatever clocks did.
class RecordClock {
 public:
  Position position_of(const nlohmann::json& record, int64_t step);

 private:
  double begin_ = 0;
  Position last_;
};

void append_position(Positions& positions, const Position& at);
/// The last position of each point.
Positions thinned(const Positions& positions, size_t per_point);

/// RecordTable whose records come one after another; where a record lacks a key, its value is NaN.
class RecordBuilder {
 public:
  void begin(const Position& at);
  void set(const std::string& key, double value);
  size_t size() const { return columns_.at.size(); }
  RecordTable take() &&;

 private:
  RecordTable columns_;
};

/// A sentence where lines could not be read.
void tell_damage(const std::string& file, const JsonLines& lines, std::vector<std::string>& problems);

}  // namespace trireme::launch
