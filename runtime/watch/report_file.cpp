#include "runtime/watch/report_file.h"

#include <filesystem>
#include <fstream>
#include <limits>

namespace trireme::watch {

namespace {

std::string_view name_of(Presence presence) {
  constexpr std::string_view kNames[] = {"answered", "silent", "gone", "ended"};
  return kNames[static_cast<size_t>(presence)];
}

}  // namespace

bool write_report_file(const std::string& directory, const std::string& name, const RankReport& report,
                       const std::string& error) noexcept {
  if (directory.empty()) return false;
  try {
    namespace fs = std::filesystem;
    const fs::path path = fs::path(directory) / name;
    std::error_code failed;
    if (path.parent_path() != fs::path(directory)) fs::create_directory(path.parent_path(), failed);
    nlohmann::json json = to_json(report, std::numeric_limits<size_t>::max());
    json["presence"] = name_of(report.presence);
    if (!error.empty()) json["error"] = error;
    std::ofstream file(path);
    file << json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
    file.close();
    return static_cast<bool>(file);
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace trireme::watch
