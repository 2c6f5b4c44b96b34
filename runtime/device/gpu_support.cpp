#include "runtime/device/gpu_support.h"

#include <link.h>

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace trireme {

namespace {

struct Architecture {
  int number = 0;          // 10 * major + minor
  std::string_view scope;  // "a", "f" or nothing
  bool is_real = true, is_virtual = true;
};

/// False for what is no number.
bool parse(std::string_view text, Architecture& architecture) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), architecture.number);
  if (error != std::errc()) return false;
  std::string_view rest = text.substr(static_cast<size_t>(end - text.data()));
  if (rest.starts_with('a') || rest.starts_with('f')) {
    architecture.scope = rest.substr(0, 1);
    rest.remove_prefix(1);
  }
  architecture.is_real = rest != "-virtual";
  architecture.is_virtual = rest != "-real";
  return rest.empty() || rest == "-real" || rest == "-virtual";
}

bool serves(const Architecture& architecture, int capability) {
  if (architecture.scope == "a") return capability == architecture.number;
  const bool is_of_major = capability / 10 == architecture.number / 10 && capability >= architecture.number;
  if (architecture.scope == "f") return is_of_major;
  return (architecture.is_real && is_of_major) ||
         (architecture.is_virtual && capability >= architecture.number);
}

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

/// The first driver for a major version of CUDA (NVIDIA's release notes, "CUDA Driver for Minor Version
/// Compatibility"); 0: not known here.
int first_driver(int runtime_version) {
  switch (runtime_version / 1000) {
    case 11:
      return 450;
    case 12:
      return 525;
    case 13:
      return 580;
    default:
      return 0;
  }
}

/// "libnccl" of "/usr/lib/libnccl.so.2".
std::string_view kind_of(std::string_view path) {
  const std::string_view file = path.substr(path.rfind('/') + 1);
  return file.substr(0, file.find(".so"));
}

}  // namespace

bool has_code_for(std::string_view architectures, int major, int minor) {
  while (!architectures.empty()) {
    const size_t end = std::min(architectures.find(','), architectures.size());
    Architecture architecture;
    if (!parse(architectures.substr(0, end), architecture)) return true;
    if (serves(architecture, 10 * major + minor)) return true;
    architectures.remove_prefix(std::min(end + 1, architectures.size()));
  }
  return false;
}

std::string why_no_gpu(const GpuSearch& search) {
  const std::string status = search.status.empty() ? "" : fmt::format(" ({})", search.status);
  if (search.driver_version == 0) return "there is no NVIDIA driver" + status;
  if (search.driver_version / 1000 < search.runtime_version / 1000) {
    const int first = first_driver(search.runtime_version);
    return fmt::format(
        "the NVIDIA driver is too old: it supports CUDA up to {}, this program is built with CUDA {}{}{}",
        version_text(search.driver_version), version_text(search.runtime_version),
        first > 0 ? fmt::format(", which needs driver {} or newer", first) : "", status);
  }
  if (search.visible_devices != nullptr) {
    return fmt::format(
        "CUDA_VISIBLE_DEVICES='{}' hides all GPUs: unset it, or set it to numbers that nvidia-smi shows{}",
        search.visible_devices, status);
  }
  return "the driver shows no GPU" + status;
}

std::vector<std::string> duplicate_libraries(const std::vector<std::string>& paths) {
  std::vector<std::string> doubled;
  for (const std::string_view kind :
       {"libcudart", "libcublas", "libcublasLt", "libcudnn", "libnccl", "libcuda"}) {
    std::string found;
    int count = 0;
    for (const std::string& path : paths) {
      if (kind_of(path) != kind) continue;
      found += (count++ > 0 ? " and " : "") + path;
    }
    if (count > 1) doubled.push_back(fmt::format("{}: {}", kind, found));
  }
  return doubled;
}

std::vector<std::string> loaded_libraries() {
  std::vector<std::string> paths;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* all) {
        if (info->dlpi_name != nullptr && *info->dlpi_name != '\0') {
          static_cast<std::vector<std::string>*>(all)->emplace_back(info->dlpi_name);
        }
        return 0;
      },
      &paths);
  return paths;
}

bool is_gpu_slice(std::string_view device_name) {
  return device_name.find(" MIG ") != std::string_view::npos;
}

}  // namespace trireme
