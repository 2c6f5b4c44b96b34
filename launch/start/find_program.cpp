#include "launch/start/find_program.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include <unistd.h>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

}  // namespace

std::string own_program() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) throw_environment("cannot read /proc/self/exe: {}", error.message());
  return program.string();
}

bool is_in_path(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string file = (fs::path(folder) / name).string();
    if (::access(file.c_str(), X_OK) == 0) return true;
  }
  return false;
}

bool has_slurm() {
  if (!is_in_path("sbatch")) return false;
  if (std::getenv("SLURM_CONF") != nullptr) return true;
  for (const char* file : {"/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf",
                           "/run/slurm/conf/slurm.conf", "/usr/local/etc/slurm.conf"}) {
    if (::access(file, R_OK) == 0) return true;
  }
  return false;
}

bool srun_has_pmix() {
  std::FILE* pipe = ::popen("srun --mpi=list 2>&1", "r");
  if (pipe == nullptr) return false;
  std::string text;
  std::array<char, 1024> buffer;
  for (size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) text.append(buffer.data(), n);
  ::pclose(pipe);
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (word == "pmix" || word.starts_with("pmix_v")) return true;
  }
  return false;
}

std::string find_batch_script(const std::string& program) {
  const fs::path folder = fs::path(program).parent_path();
  const fs::path places[] = {folder / "../cluster/slurm/train.sbatch",
                             folder / "../share/trireme/slurm/train.sbatch", "cluster/slurm/train.sbatch"};
  for (const fs::path& place : places) {
    std::error_code error;
    if (fs::is_regular_file(place, error)) return fs::canonical(place).string();
  }
  throw_usage("train.sbatch is neither in {}, {} nor {}: submit from the folder of the sources",
              places[0].string(), places[1].string(), places[2].string());
}

}  // namespace trireme::launch
