#include "launch/serve/metrics/energy_meter.h"

#include <algorithm>
#include <fstream>
#include <set>

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

std::optional<double> count_in(const fs::path& file) {
  std::ifstream in(file);
  double number = 0;
  if (!(in >> number) || number < 0) return std::nullopt;
  return number;
}

std::string word_in(const fs::path& file) {
  std::ifstream in(file);
  std::string word;
  in >> word;
  return word;
}

/// "intel-rapl:0" is a package or the whole platform, "intel-rapl:0:1" a part of it. What has other names
/// ("intel-rapl-mmio:0") says the same once more.
int depth_of(const std::string& zone) {
  if (!zone.starts_with("intel-rapl:") && !zone.starts_with("amd-rapl:")) return 0;
  return static_cast<int>(std::ranges::count(zone, ':'));
}

/// Cores and built-in graphics are within their package's figure, and packages within the platform's
/// ("psys").
bool is_counted(const std::string& zone, const std::string& name) {
  return depth_of(zone) == 1 ? name.starts_with("package") : depth_of(zone) == 2 && name == "dram";
}

}  // namespace

EnergyMeter::EnergyMeter(const fs::path& powercap) {
  std::error_code error;
  std::set<fs::path> counted;  // in an order of names
  for (fs::directory_iterator it(powercap, error), end; !error && it != end; it.increment(error)) {
    if (is_counted(it->path().filename().string(), word_in(it->path() / "name"))) counted.insert(it->path());
  }
  for (const fs::path& zone : counted) {
    const auto now = count_in(zone / "energy_uj");
    if (!now) {  // a part of the packages would pass for all of them
      zones_.clear();
      return;
    }
    zones_.push_back({zone / "energy_uj", count_in(zone / "max_energy_range_uj").value_or(0), *now});
  }
}

std::optional<double> EnergyMeter::joules() {
  for (Zone& zone : zones_) {
    const auto now = count_in(zone.counter);
    if (!now) {
      zones_.clear();
      break;
    }
    microjoules_ += *now >= zone.last ? *now - zone.last : std::max(0.0, *now + zone.range - zone.last);
    zone.last = *now;
  }
  // Virtual machines may have counters that stand still.
  if (zones_.empty() || microjoules_ == 0) return std::nullopt;
  return microjoules_ * 1e-6;
}

}  // namespace trireme::launch
