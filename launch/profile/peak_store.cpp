#include "launch/profile/peak_store.h"

#include <cmath>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "runtime/io/files/atomic_file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

nlohmann::ordered_json peaks_in(const std::string& path) {
  constexpr std::uintmax_t kMostBytes = 1 << 20;
  std::error_code error;
  if (!fs::is_regular_file(path, error) || fs::file_size(path, error) > kMostBytes)
    return nlohmann::ordered_json::object();
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  auto json = nlohmann::ordered_json::parse(text.str(), nullptr, false);
  return json.is_object() ? json : nlohmann::ordered_json::object();
}

std::optional<double> peak_of(const nlohmann::ordered_json& peaks, const std::string& key) {
  const auto found = peaks.find(key);
  if (found == peaks.end() || !found->is_number()) return std::nullopt;
  const double flops = found->get<double>();
  if (!std::isfinite(flops) || flops <= 0) return std::nullopt;
  return flops;
}

}  // namespace

std::string PeakStore::default_path() {
  if (const char* file = std::getenv("TRIREME_PEAK_FILE")) return file;
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  fs::path folder;
  if (cache != nullptr && fs::path(cache).is_absolute()) {
    folder = cache;
  } else if (home != nullptr && fs::path(home).is_absolute()) {
    folder = fs::path(home) / ".cache";
  } else {
    return "";
  }
  return (folder / "trireme" / "gemm-peaks.json").string();
}

std::optional<double> PeakStore::find(const std::string& key) const noexcept {
  try {
    if (path_.empty()) return std::nullopt;
    return peak_of(peaks_in(path_), key);
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

void PeakStore::keep(const std::string& key, double flops) const noexcept {
  try {
    if (path_.empty()) return;
    auto peaks = peaks_in(path_);
    if (peak_of(peaks, key).value_or(0) >= flops) return;
    peaks[key] = flops;
    std::error_code ignored;
    fs::create_directories(fs::path(path_).parent_path(), ignored);
    write_file_atomically(path_, peaks.dump(1) + "\n");
  } catch (const std::exception&) {  // a later run will
  }
}

}  // namespace trireme::launch
