#include "parallel/checkpoint/save/commit.h"

#include <chrono>
#include <filesystem>
#include <set>

#include <unistd.h>

#include "parallel/checkpoint/vote.h"
#include "runtime/device/cpu/cpu_device.h"
#include "runtime/io/files/durable_file.h"
#include "runtime/io/files/file.h"
#include "runtime/io/json/sealed_json.h"

namespace trireme {

namespace {

/// With its name in its parent, where it is not there.
void make_durable_directory(FileCalls& calls, const std::string& path) {
  if (std::filesystem::exists(path)) return;
  make_directory(calls, path);
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  sync_directory(calls, parent.empty() ? "." : parent.string());
}

std::string part_name(int rank) { return fmt::format("part-{:05}.json", rank); }

void write_durably(FileCalls& calls, const std::string& path, std::string_view text) {
  DurableFile file(calls, path);
  file.write(text);
  file.sync();
  file.close();
}

/// What every rank says of itself, by rank.
std::vector<Hash128> gather_hashes(Communicator& ranks, Hash128 own) {
  const auto stream = cpu::make_compute_stream();
  std::vector<Hash128> all(static_cast<size_t>(ranks.size()));
  constexpr auto kBytes = static_cast<int64_t>(sizeof(Hash128));
  ranks.all_gather(*stream, Tensor::borrow(&own, {kBytes}, DType::u8),
                   Tensor::borrow(all.data(), {kBytes * ranks.size()}, DType::u8));
  return all;
}

class Commit {
 public:
  Commit(FileCalls& calls, Communicator& ranks, const CommitRequest& request)
      : calls_(calls),
        ranks_(ranks),
        request_(request),
        unfinished_(request.directory + "/" + unfinished_name(request.state.step)),
        path_(request.directory + "/" + checkpoint_name(request.state.step)) {}

  Committed run(const std::function<WrittenPart(const std::string&)>& write) {
    together([&] { prepare(); });
    Hash128 part;
    ProofHash proof;
    every_rank([&] { part = write_part(write, proof); });
    const std::vector<Hash128> parts = gather_hashes(ranks_, part);
    Committed committed{path_, sum_over_ranks(ranks_, proof), {}};
    together([&] { write_manifest(parts, committed.proof); });
    together([&] { publish(); });
    if (is_first()) {
      const auto afterwards = [&](auto&& attempt) {
        const std::string failure = failure_of(attempt);
        if (!failure.empty()) committed.warnings.push_back(failure);
      };
      afterwards([&] {
        replace_file(calls_, request_.directory + "/" + kLatestName,
                     checkpoint_name(request_.state.step) + "\n");
      });
      afterwards([&] { remove_file(calls_, request_.directory + "/" + kResumedName); });
      afterwards([&] { remove_old(); });
    }
    return committed;
  }

 private:
  bool is_first() const { return ranks_.rank() == 0; }

  /// A step of all ranks; where one fails, all end here.
  template <class Step>
  void every_rank(Step&& step) {
    const std::string failure = first_failure(ranks_, failure_of(step));
    if (failure.empty()) return;
    // Once the rename was asked for nobody knows which of the two the disk has: both stay.
    if (is_first() && !is_publishing_) failure_of([&] { remove_directory(calls_, unfinished_); });
    throw SaveFailed(
        fmt::format("the checkpoint of step {} was not saved: {}", request_.state.step, failure));
  }
  /// A step of the first rank.
  template <class Step>
  void together(Step&& step) {
    every_rank([&] {
      if (is_first()) step();
    });
  }

  void prepare() {
    make_durable_directory(calls_, request_.directory);
    remove_directory(calls_, unfinished_);  // of an attempt that died
    make_directory(calls_, unfinished_);
  }

  /// Returns the hash of what the part's file says.
  Hash128 write_part(const std::function<WrittenPart(const std::string&)>& write, ProofHash& proof) {
    const WrittenPart part = write(unfinished_);
    proof = part.proof;
    const std::string text = seal_json(to_json(part.stored));
    write_durably(calls_, unfinished_ + "/" + part_name(ranks_.rank()), text);
    // On network file systems each host syncs the names that it made.
    sync_directory(calls_, unfinished_);
    return xxh3_128(text);
  }

  void write_manifest(const std::vector<Hash128>& hashes, const ProofHash& proof) {
    std::vector<StoredFiles> parts;
    for (int rank = 0; rank < ranks_.size(); ++rank) {
      const std::string path = unfinished_ + "/" + part_name(rank);
      const std::string text = read_text_file(path);
      if (xxh3_128(text) != hashes[static_cast<size_t>(rank)])
        throw_environment("{} is not what rank {} wrote: do all ranks see one directory?", path, rank);
      parts.push_back(stored_from_json(open_sealed_json(text, path), path));
    }
    Manifest manifest{request_.state, proof, joined(parts)};
    const std::string path = unfinished_ + "/" + kManifestName;
    check_stored(manifest.stored, path);
    for (const StoredFile& file : manifest.stored.files) {
      const auto bytes = static_cast<int64_t>(std::filesystem::file_size(unfinished_ + "/" + file.name));
      if (bytes != file.bytes)
        throw_environment("{}/{} has {} bytes here, but {} were written", unfinished_, file.name, bytes,
                          file.bytes);
    }
    write_durably(calls_, path, manifest_text(manifest));
    for (int rank = 0; rank < ranks_.size(); ++rank) remove_file(calls_, unfinished_ + "/" + part_name(rank));
    sync_directory(calls_, unfinished_);
  }

  void publish() {
    is_publishing_ = true;
    if (!std::filesystem::exists(path_)) {
      rename_path(calls_, unfinished_, path_);
    } else if (!exchange_paths(calls_, unfinished_, path_)) {
      // In two steps; remove_unfinished() takes the first back where the second does not come.
      const std::string replaced = request_.directory + "/" + replaced_name(request_.state.step);
      rename_path(calls_, path_, replaced);
      rename_path(calls_, unfinished_, path_);
    }
    sync_directory(calls_, request_.directory);
  }

  void remove_old() {
    remove_directory(calls_, unfinished_);  // what was exchanged
    remove_directory(calls_, request_.directory + "/" + replaced_name(request_.state.step));
    for (const int64_t step : steps_to_remove(checkpoint_steps(request_.directory), request_.retention))
      remove_checkpoint(calls_, request_.directory, step);
  }

  FileCalls& calls_;
  Communicator& ranks_;
  const CommitRequest& request_;
  std::string unfinished_, path_;
  bool is_publishing_ = false;
};

}  // namespace

Committed commit_checkpoint(FileCalls& calls, Communicator& ranks, const CommitRequest& request,
                            const std::function<WrittenPart(const std::string& directory)>& write) {
  return Commit(calls, ranks, request).run(write);
}

void check_shared_directory(FileCalls& calls, Communicator& ranks, const std::string& directory) {
  const std::string path = directory + "/.shared-by-all-ranks.tmp";
  const bool is_first = ranks.rank() == 0;
  // Other words each time, so that no file of before is taken for this one.
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  const std::string words = fmt::format("{} {}\n", ::getpid(), now);
  const std::string failure = first_failure(ranks, failure_of([&] {
                                              if (!is_first) return;
                                              make_durable_directory(calls, directory);
                                              replace_file(calls, path, words);
                                            }));
  if (!failure.empty()) throw SaveFailed(fmt::format("checkpoints cannot be written: {}", failure));
  const Hash128 expected = gather_hashes(ranks, xxh3_128(words))[0];
  const std::string unseen =
      first_failure(ranks, failure_of([&] {
                      if (xxh3_128(read_text_file(path)) != expected)
                        throw_bad_input("{} is not what rank 0 has just written", path);
                    }));
  if (is_first) failure_of([&] { remove_file(calls, path); });
  if (unseen.empty()) return;
  throw_usage(
      "not all ranks see the same checkpoint directory {} as rank 0: {}; it must be on a file system "
      "shared by all hosts",
      directory, unseen);
}

}  // namespace trireme
