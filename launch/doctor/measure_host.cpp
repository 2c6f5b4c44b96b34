#include "launch/doctor/measure_host.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include <fmt/format.h>
#include <gnu/libc-version.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "launch/doctor/stale_segments.h"
#include "launch/preflight/available_memory.h"
#include "runtime/device/cpu/cpu_device.h"
#include "runtime/device/gpu_support.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

int64_t limit_of(int resource) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return kUnlimited;
  return static_cast<int64_t>(limit.rlim_cur);
}

bool is_set(const char* variable) {
  const char* text = std::getenv(variable);
  return text != nullptr && *text != '\0' && std::string_view(text) != "0";
}

bool begins_with_any(std::string_view name, std::initializer_list<std::string_view> begins) {
  return std::ranges::any_of(begins, [&](std::string_view begin) { return name.starts_with(begin); });
}

/// What mpirun and Slurm tell each rank for themselves.
bool is_of_launcher(std::string_view name) {
  return begins_with_any(
      name, {"OMPI_MCA_orte_", "OMPI_MCA_ess", "OMPI_MCA_pmix", "OMPI_MCA_shmem_", "OMPI_MCA_plm",
             "OMPI_MCA_routed", "OMPI_MCA_initial_wdir", "OMPI_MCA_mpi_oversubscribe", "OMPI_MCA_hwloc_",
             "OMPI_MCA_rmaps", "OMPI_MCA_hnp_"});
}

}  // namespace

ShmFacts measure_shm(const fs::path& root) {
  constexpr long kTmpfs = 0x01021994;
  ShmFacts facts;
  const fs::path folder = root / "dev/shm";
  struct statfs kind {};
  struct statvfs room {};
  facts.is_there = ::statfs(folder.c_str(), &kind) == 0 && static_cast<long>(kind.f_type) == kTmpfs;
  if (::statvfs(folder.c_str(), &room) == 0) {
    facts.bytes = static_cast<int64_t>(room.f_blocks * room.f_frsize);
    facts.free_bytes = static_cast<int64_t>(room.f_bavail * room.f_frsize);
  }
  facts.stale = stale_segments(folder, root / "proc");
  return facts;
}

LimitFacts measure_limits() {
  LimitFacts facts;
  facts.memlock = limit_of(RLIMIT_MEMLOCK);
  facts.nofile = limit_of(RLIMIT_NOFILE);
  facts.nproc = limit_of(RLIMIT_NPROC);
  facts.core = limit_of(RLIMIT_CORE);
  facts.file_size = limit_of(RLIMIT_FSIZE);
  facts.stack = limit_of(RLIMIT_STACK);
  facts.address_space = limit_of(RLIMIT_AS);
  std::error_code error;
  facts.has_infiniband =
      fs::exists("/sys/class/infiniband", error) && !fs::is_empty("/sys/class/infiniband", error);
  return facts;
}

MemoryFacts measure_memory() {
  const AvailableMemory memory = available_host_memory();
  return {memory.bytes, memory.of};
}

RootFacts measure_root() {
  return {::geteuid() == 0, is_set("OMPI_ALLOW_RUN_AS_ROOT") && is_set("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")};
}

TextByName measure_machine() {
  TextByName texts;
  utsname system{};
  if (::uname(&system) == 0) texts["kernel"] = fmt::format("{} {}", system.release, system.machine);
  texts["processor"] = cpu::processor_name();
  texts["instructions"] = cpu::matrix_isa();
  texts["glibc"] = ::gnu_get_libc_version();
  for (const std::string& path : loaded_libraries()) {
    std::error_code error;
    const fs::path real = fs::canonical(path, error);
    const std::string name = fs::path(path).filename().string();
    if (error || !begins_with_any(name, {"libmpi.", "libdnnl.", "libgomp.", "libnccl.", "libcudart.",
                                         "libcublas", "libcudnn"}))
      continue;
    texts[name.substr(0, name.find(".so"))] = real.filename().string();
  }
  return texts;
}

TextByName measure_environment() {
  TextByName texts;
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view name = text.substr(0, equals);
    const bool counts =
        begins_with_any(name, {"ONEDNN_", "DNNL_", "NCCL_", "OMPI_MCA_", "UCX_", "CUDA_", "OMP_", "GOMP_",
                               "KMP_", "CUBLAS_", "CUDNN_", "LD_PRELOAD", "MALLOC_", "TRIREME_"}) &&
        !is_of_launcher(name);
    // Ranks of a host may each be given a GPU, and threads are compared elsewhere.
    if (counts && name != "CUDA_VISIBLE_DEVICES") texts[std::string(name)] = text.substr(equals + 1);
  }
  return texts;
}

void measure_ptrace(RankFacts& facts, const fs::path& root) {
  constexpr int kCapSysPtrace = 19;
  if (int scope = 0; std::ifstream(root / "proc/sys/kernel/yama/ptrace_scope") >> scope)
    facts.ptrace_scope = scope;
  std::ifstream status(root / "proc/self/status");
  for (std::string key; status >> key;) {
    if (uint64_t mask = 0; key == "CapEff:" && status >> std::hex >> mask)
      facts.may_ptrace = (mask >> kCapSysPtrace & 1) != 0;
  }
}

}  // namespace trireme::launch
