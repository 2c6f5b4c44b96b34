#include "parallel/checkpoint/load/resume.h"

#include <filesystem>

#include "parallel/checkpoint/vote.h"
#include "runtime/base/error.h"
#include "runtime/device/cpu/cpu_device.h"
#include "runtime/io/digest/xxh3.h"
#include "runtime/io/files/durable_file.h"
#include "runtime/io/files/file.h"

namespace trireme {

namespace {

/// What a step of the ranks failed of, on all of them.
void require_all(Communicator& ranks, const std::string& own) {
  const std::string failure = first_failure(ranks, own);
  if (!failure.empty()) throw UserError(ExitCode::checkpoint, failure);
}

template <class T>
void broadcast_bytes(Communicator& ranks, std::vector<T>& values) {
  const auto stream = cpu::make_compute_stream();
  auto size = static_cast<int64_t>(values.size());
  ranks.broadcast(*stream, Tensor::borrow(&size, {1}, DType::i64), 0);
  values.resize(static_cast<size_t>(size));
  const auto bytes = size * static_cast<int64_t>(sizeof(T));
  if (bytes > 0) ranks.broadcast(*stream, Tensor::borrow(values.data(), {bytes}, DType::u8), 0);
}

/// How many runs resumed from this checkpoint, as the first rank finds it noted; 0 where it is not noted, or
/// the note cannot be read.
int64_t num_resumes(Communicator& ranks, const std::string& directory, int64_t step) {
  std::vector<int64_t> number = {0};
  if (ranks.rank() == 0) {
    failure_of([&] {
      const std::string text = read_text_file(directory + "/" + kResumedName);
      const std::string name = checkpoint_name(step) + " ";
      if (text.starts_with(name)) number[0] = std::stoll(text.substr(name.size()));
    });
  }
  broadcast_bytes(ranks, number);
  return number[0];
}

}  // namespace

std::vector<int64_t> agreed_steps(Communicator& ranks, const std::string& directory) {
  std::vector<int64_t> steps;
  require_all(ranks, failure_of([&] {
                if (ranks.rank() == 0) steps = checkpoint_steps(directory);
              }));
  broadcast_bytes(ranks, steps);
  return steps;
}

Manifest read_manifest_together(Communicator& ranks, const std::string& path) {
  Manifest manifest;
  Hash128 own;
  require_all(ranks, failure_of([&] {
                manifest = read_manifest(path);
                own = xxh3_128(read_text_file(path + "/" + kManifestName));
              }));
  std::vector<Hash128> first = {own};
  broadcast_bytes(ranks, first);
  require_all(ranks, first[0] == own ? ""
                                     : fmt::format("{}/{} differs from what rank 0 reads: is the "
                                                   "directory shared?",
                                                   path, kManifestName));
  return manifest;
}

void note_resumes(FileCalls& calls, const std::string& directory, int64_t step, int64_t number) {
  replace_file(calls, directory + "/" + kResumedName, fmt::format("{} {}\n", checkpoint_name(step), number));
}

std::optional<Resumed> load_newest(Communicator& ranks, const std::string& directory,
                                   const std::vector<int64_t>& steps, const LoadCheckpoint& load,
                                   std::vector<std::string>& warnings) {
  for (size_t i = 0; i < steps.size(); ++i) {
    const std::string path = directory + "/" + checkpoint_name(steps[i]);
    const int64_t before = num_resumes(ranks, directory, steps[i]);
    if (before >= kMostResumes && i + 1 < steps.size()) {
      warnings.push_back(fmt::format(
          "{} is skipped: {} runs resumed from it and none reached its next checkpoint", path, before));
      continue;
    }
    try {
      Resumed resumed{path, read_manifest_together(ranks, path), before};
      load(path, resumed.manifest);
      return resumed;
    } catch (const UserError& error) {
      if (error.code() != ExitCode::checkpoint) throw;
      warnings.push_back(fmt::format("{} is skipped: {}", path, error.what()));
    }
  }
  return std::nullopt;
}

}  // namespace trireme
