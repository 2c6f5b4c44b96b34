#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <sched.h>

#include "launch/doctor/measure_host.h"
#include "launch/preflight/choose_device.h"
#include "launch/preflight/thread_advice.h"
#include "runtime/device/cuda/cuda_device.h"
#include "runtime/device/cuda/versions.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

std::string word_of(const fs::path& file) {
  std::string word;
  std::ifstream(file) >> word;
  return word;
}

/// "0-3,8" as its numbers.
std::vector<int> numbers_of(const std::string& list) {
  std::vector<int> numbers;
  std::istringstream parts(list);
  for (std::string part; std::getline(parts, part, ',');) {
    int first = 0, last = 0;
    const char* end = part.data() + part.size();
    const auto after = std::from_chars(part.data(), end, first);
    if (after.ec != std::errc()) continue;
    if (after.ptr == end || std::from_chars(after.ptr + 1, end, last).ec != std::errc()) last = first;
    for (int n = first; n <= last; ++n) numbers.push_back(n);
  }
  return numbers;
}

std::vector<int> numa_nodes(const fs::path& root) {
  return numbers_of(word_of(root / "sys/devices/system/node/online"));
}

fs::path folder_of_node(const fs::path& root, int node) {
  return root / "sys/devices/system/node" / fmt::format("node{}", node);
}

/// The bracketed word of "always [madvise] never".
std::string chosen_word(const fs::path& file) {
  std::ifstream in(file);
  for (std::string word; in >> word;) {
    if (word.size() > 2 && word.front() == '[') return word.substr(1, word.size() - 2);
  }
  return "";
}

int threads_by_environment() {
  const char* text = std::getenv("OMP_NUM_THREADS");
  int threads = 0;
  if (text != nullptr) std::from_chars(text, text + std::string_view(text).size(), threads);
  return threads;
}

/// The NUMA distance of the nearest of `cores` to a node, as the firmware tells; 0 where it does not.
int distance_to(int node, const std::vector<int>& cores, const fs::path& root) {
  int nearest = 0;
  for (const int from : numa_nodes(root)) {
    const std::vector<int> of_node = numbers_of(word_of(folder_of_node(root, from) / "cpulist"));
    if (std::ranges::find_first_of(cores, of_node) == cores.end()) continue;
    std::ifstream distances(folder_of_node(root, from) / "distance");
    int distance = 0;
    for (const int to : numa_nodes(root)) {
      if (distances >> distance && to == node && (nearest == 0 || distance < nearest)) nearest = distance;
    }
  }
  return nearest;
}

/// NVIDIA's display controllers and accelerators.
int count_on_bus(const fs::path& root) {
  int num = 0;
  std::error_code error;
  for (fs::directory_iterator it(root / "sys/bus/pci/devices", error), end; !error && it != end;
       it.increment(error)) {
    num += word_of(it->path() / "vendor") == "0x10de" && word_of(it->path() / "class").starts_with("0x03");
  }
  return num;
}

std::string hex_text(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned>(byte));
  return text;
}

}  // namespace

CoreFacts measure_cores(int threads, int local_size, const fs::path& root) {
  CoreFacts facts;
  const CoresGiven given = cores_given();
  facts.machine = given.machine;
  facts.quota = given.quota.cores;
  facts.machine_id = rank_threads(1).host;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int core = 0; core < CPU_SETSIZE; ++core) {
      if (CPU_ISSET(core, &set)) facts.allowed.push_back(core);
    }
  }
  facts.numa_nodes = std::max<int>(1, static_cast<int>(numa_nodes(root).size()));
  const int wanted = threads > 0 ? threads : threads_by_environment();
  facts.threads = wanted > 0 ? wanted : default_threads(given, local_size);
  std::ifstream(root / "proc/loadavg") >> facts.load;
  const fs::path cpus = root / "sys/devices/system/cpu";
  facts.governor = word_of(cpus / "cpu0/cpufreq/scaling_governor");
  facts.turbo_off = word_of(cpus / "intel_pstate/no_turbo") == "1" || word_of(cpus / "cpufreq/boost") == "0";
  facts.huge_pages = chosen_word(root / "sys/kernel/mm/transparent_hugepage/enabled");
  return facts;
}

GpuFacts measure_gpu(bool is_unwanted, int local_rank, const CoreFacts& cores, const fs::path& root) {
  GpuFacts facts;
  facts.is_built = cuda::is_built();
  facts.num_on_bus = count_on_bus(root);
  facts.is_unwanted = is_unwanted;
  if (is_unwanted) return facts;
  const cuda::Versions versions = cuda::versions();
  facts.toolkit = versions.toolkit;
  facts.runtime = versions.runtime;
  facts.driver = versions.driver;
  facts.nccl_built = versions.nccl_built;
  facts.nccl_loaded = versions.nccl_loaded;
  facts.num_visible = cuda::num_devices();
  facts.why_none = cuda::why_no_device();
  if (facts.num_visible == 0) return facts;
  facts.index = device_index(local_rank, facts.num_visible);
  const cuda::DeviceInfo info = cuda::device_info(facts.index);
  facts.name = info.name;
  facts.uuid = hex_text(info.uuid);
  facts.bus_id = cuda::pci_bus_id(facts.index);
  std::ifstream(root / "sys/bus/pci/devices" / facts.bus_id / "numa_node") >> facts.numa_node;
  if (facts.numa_node >= 0) facts.cores_distance = distance_to(facts.numa_node, cores.allowed, root);
  return facts;
}

}  // namespace trireme::launch
