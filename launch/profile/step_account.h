// The profile of a step: the time of each kind of op, and its roofline time on the device
// (the roofline of Williams et al., CACM 52(4), 2009).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "runtime/profile/device_rates.h"
#include "runtime/profile/op_timeline.h"

namespace trireme::launch {

/// Some ops, or all alike, of one step.
struct AccountLine {
  std::string name;    ///< a kind, or an op
  std::string shapes;  ///< of an op's operands
  int64_t calls = 0;
  double ms = 0;
  double flops = 0, bytes = 0;
  double least_ms = 0;  ///< the sum of the ops' own (DeviceRates::least_seconds)
};

struct StepAccount {
  double ms = 0;  ///< of the step
  ops::DeviceRates rates;
  std::vector<AccountLine> kinds;  ///< products, attention, optimizer, other ops: always these four
  double between_ms = 0;  ///< between ops: communication that is waited for, launches, the host's own work
  /// Of that, what other ranks were waited for, by group.
  std::vector<std::pair<std::string, double>> wait_ms;
  std::vector<AccountLine> ops;  ///< one for each op and its operands' shapes, the longest first

  double busy_ms() const { return ms - between_ms; }
  void add_wait(const std::string& group, double wait);
};

StepAccount account_of(const OpTimes& times, const ops::DeviceRates& rates);

/// "products", "attention", "optimizer" or "other ops".
std::string kind_of(const TimedOp& op);

/// A table: the kinds, what lies between, and the `num_ops` longest ops. No line end after the last line.
std::string account_text(const StepAccount& account, size_t num_ops);

nlohmann::ordered_json to_json(const StepAccount& account);
StepAccount account_from_json(const nlohmann::ordered_json& json);

}  // namespace trireme::launch
