// MPI, CUDA and NCCL.
#include <charconv>

#include <fmt/format.h>

#include "launch/doctor/judge.h"
#include "launch/doctor/judgement.h"

namespace trireme::launch {

namespace {

/// "Open MPI 4.1.4" as its name and numbers.
struct NamedVersion {
  std::string name;
  int major = 0, minor = 0;
};
NamedVersion parse_version(const std::string& text) {
  NamedVersion v;
  const size_t digit = text.find_first_of("0123456789");
  if (digit == std::string::npos) return {text};
  v.name = text.substr(0, digit);
  const char* end = text.data() + text.size();
  const auto after = std::from_chars(text.data() + digit, end, v.major);
  if (after.ptr < end && *after.ptr == '.') std::from_chars(after.ptr + 1, end, v.minor);
  return v;
}

std::string cuda_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }
std::string nccl_text(int version) {
  return fmt::format("{}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
}

void judge_mpi_of(const RankFacts& rank, Judgement& judgement) {
  const MpiFacts& mpi = rank.mpi;
  const NamedVersion built = parse_version(mpi.built), loaded = parse_version(mpi.loaded);
  const std::string both =
      fmt::format("the program was compiled for {} and runs with {}", mpi.built, mpi.loaded);
  if (built.name != loaded.name || built.major != loaded.major) {
    judgement.fail(
        rank.rank, both,
        "put the MPI that it was compiled for first on LD_LIBRARY_PATH, or build it with this one");
  } else if (built.minor != loaded.minor) {
    judgement.warn(rank.rank, both, "build the program with the MPI that it runs with");
  }
  if (!mpi.thread_level.empty() && mpi.thread_level != "multiple") {
    judgement.fail(rank.rank, fmt::format("MPI's thread level is {}, not multiple", mpi.thread_level),
                   "use an MPI that was configured with MPI_THREAD_MULTIPLE");
  }
}

void judge_driver(const RankFacts& rank, Judgement& judgement) {
  const GpuFacts& gpu = rank.gpu;
  if (gpu.driver == 0) return;
  const std::string versions = fmt::format("the driver knows CUDA {}, the program needs {}",
                                           cuda_text(gpu.driver), cuda_text(gpu.runtime));
  if (gpu.driver / 1000 < gpu.runtime / 1000) {
    judgement.fail(
        rank.rank, versions,
        fmt::format("install a driver for CUDA {} or NVIDIA's package cuda-compat-{}, or build with "
                    "an older toolkit",
                    cuda_text(gpu.runtime), gpu.runtime / 1000));
  } else if (gpu.driver < gpu.runtime) {
    judgement.warn(rank.rank, versions + ": of one major version, so it runs, but compiles no PTX",
                   "build for this GPU by -DCMAKE_CUDA_ARCHITECTURES, or install a newer driver");
  }
}

void judge_gpu_libraries(const RankFacts& rank, Judgement& judgement) {
  const GpuFacts& gpu = rank.gpu;
  if (gpu.toolkit / 1000 != gpu.runtime / 1000) {
    judgement.fail(rank.rank,
                   fmt::format("the program was compiled with CUDA {} and loads libcudart {}",
                               cuda_text(gpu.toolkit), cuda_text(gpu.runtime)),
                   "put the toolkit that it was compiled with first on LD_LIBRARY_PATH");
  }
  if (gpu.nccl_loaded < gpu.nccl_built) {
    const bool is_major = gpu.nccl_loaded / 10000 != gpu.nccl_built / 10000;
    const std::string text = fmt::format("the program was compiled for NCCL {} and loads {}",
                                         nccl_text(gpu.nccl_built), nccl_text(gpu.nccl_loaded));
    const std::string remedy = "put the newer NCCL first on LD_LIBRARY_PATH";
    if (is_major) judgement.fail(rank.rank, text, remedy);
    if (!is_major) judgement.warn(rank.rank, text, remedy);
  }
}

void judge_gpus_there(const RankFacts& rank, Judgement& judgement) {
  const GpuFacts& gpu = rank.gpu;
  if (gpu.num_visible > 0 || gpu.num_on_bus == 0) return;
  if (!gpu.is_built) {
    judgement.warn(
        rank.rank,
        fmt::format("this machine has GPUs ({} on the bus), and the program has no CUDA", gpu.num_on_bus),
        "configure with -DTRIREME_CUDA=ON");
  } else {
    judgement.fail(
        rank.rank,
        fmt::format("{} on the bus, none visible: {}",
                    gpu.num_on_bus == 1 ? "a GPU is" : fmt::format("{} GPUs are", gpu.num_on_bus),
                    gpu.why_none),
        "check nvidia-smi, CUDA_VISIBLE_DEVICES and what the scheduler or container grants; to compute "
        "on the CPU, --device cpu");
  }
}

}  // namespace

Findings judge_mpi(AllRanks ranks) {
  Judgement judgement("mpi", ranks);
  for (const RankFacts& rank : ranks) judge_mpi_of(rank, judgement);
  const MpiFacts& mpi = ranks[0].mpi;
  if (mpi.built == "not built")
    return std::move(judgement).done("not built: this program runs as one process");
  return std::move(judgement).done(
      fmt::format("{}, as compiled{}; started by {}{}", mpi.loaded,
                  mpi.thread_level.empty() ? "" : fmt::format("; thread level {}", mpi.thread_level),
                  mpi.launcher == "none" ? "no launcher: one rank" : mpi.launcher,
                  mpi.pmix.empty() ? "" : ", PMIx " + mpi.pmix));
}

Findings judge_cuda(AllRanks ranks) {
  Judgement judgement("cuda", ranks);
  const GpuFacts& first = ranks[0].gpu;
  if (first.is_unwanted) return std::move(judgement).done("not used: --device cpu");
  for (const RankFacts& rank : ranks) {
    judge_gpus_there(rank, judgement);
    if (!rank.gpu.is_built) continue;
    judge_gpu_libraries(rank, judgement);
    judge_driver(rank, judgement);
    if (rank.gpu.num_visible == 0 && first.num_visible > 0) {
      judgement.fail(rank.rank, fmt::format("no GPU, while rank 0 has one: {}", rank.gpu.why_none),
                     "start ranks on hosts with GPUs only, or all with --device cpu");
    }
  }
  if (!first.is_built) return std::move(judgement).done("the program has no CUDA: ranks compute on the CPU");
  const std::string versions =
      fmt::format("CUDA {}, NCCL {}", cuda_text(first.runtime), nccl_text(first.nccl_loaded));
  if (first.num_visible == 0) {
    return std::move(judgement).done(versions + "; no GPU here: ranks compute on the CPU");
  }
  return std::move(judgement).done(fmt::format("{}; the driver knows CUDA {}; {} visible to rank 0: {}",
                                               versions, cuda_text(first.driver), first.num_visible,
                                               first.name));
}

}  // namespace trireme::launch
