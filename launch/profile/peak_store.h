// Stores GEMM rates measured on an idle machine, for runs on a busy one.
#pragma once

#include <optional>
#include <string>

namespace trireme::launch {

/// A small JSON file. Nothing depends on it: a file that cannot be read is empty, one that cannot be written
/// stays as it is. It is replaced as a whole; of two runs that write at once one is remembered.
class PeakStore {
 public:
  /// Empty: keeps nothing.
  explicit PeakStore(std::string path) : path_(std::move(path)) {}

  /// TRIREME_PEAK_FILE, which may be empty to keep nothing; else trireme/gemm-peaks.json in XDG_CACHE_HOME or
  /// ~/.cache; empty where none is set.
  static std::string default_path();

  /// FLOP/s.
  std::optional<double> find(const std::string& key) const noexcept;
  /// Keeps `flops` unless more is kept under that key.
  void keep(const std::string& key, double flops) const noexcept;

 private:
  std::string path_;
};

}  // namespace trireme::launch
