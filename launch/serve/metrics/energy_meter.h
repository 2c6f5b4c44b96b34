// EnergyMeter: the energy that this host's processors count themselves.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace trireme::launch {

/// Intel's and AMD's running average power limit (RAPL), by Linux' powercap folder: every processor package,
/// and memory where it is counted apart. It is what the whole host uses, whoever uses it. Not safe for
/// several threads at once.
class EnergyMeter {
 public:
  explicit EnergyMeter(const std::filesystem::path& powercap = "/sys/class/powercap");

  /// Joules since it was made; nothing where the machine does not tell, or not to this user. Counters wrap
  /// around after minutes or hours: to be called every minute or so.
  std::optional<double> joules();

 private:
  struct Zone {
    std::filesystem::path counter;  ///< of microjoules
    double range = 0;               ///< after which it begins at 0 again
    double last = 0;
  };

  std::vector<Zone> zones_;
  double microjoules_ = 0;
};

}  // namespace trireme::launch
