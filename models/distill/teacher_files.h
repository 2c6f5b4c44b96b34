// Files of teacher's tokens: what a teacher says of the samples of a training, written once and read by any
// student of that data.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "models/config/distill_config.h"
#include "models/distill/teacher_codes.h"
#include "parallel/context_parallel/context_parallel.h"
#include "parallel/module/micro_batch.h"
#include "parallel/module/teacher_rows.h"
#include "runtime/data/sample_order.h"
#include "runtime/device/context.h"
#include "runtime/io/digest/xxh3.h"
#include "runtime/io/files/mapped_file.h"

namespace trireme {

/// Which samples: windows of a token stream in the order of SampleOrder::shuffled(). A student finds a sample
/// by its place in the token stream.
struct TeacherSamples {
  std::string data;         ///< what the whole data is (to_string(FileDigest)); empty: not known
  int64_t data_tokens = 0;  ///< of the part that is trained on
  int64_t seq_len = 0;
  uint64_t order_seed = 0;
  std::optional<int32_t> end_of_text = {};  ///< where documents are kept apart
  int64_t num_samples = 0;                  ///< the first ones of the order

  SampleOrder order(const std::string& name) const {
    return SampleOrder::shuffled(order_seed, data_tokens, seq_len, name);
  }
};

struct TeacherDescription {
  std::string teacher;    ///< where the teacher was, for people
  std::string tokenizer;  ///< fingerprint, 16 digits; empty: not known
  TeacherCode code;       ///< vocab_size is the teacher's
  double temperature = 1;
  uint64_t draw_seed = 0;
  TeacherSamples samples;
  int64_t samples_a_shard = 1;

  int64_t num_shards() const { return (samples.num_samples + samples_a_shard - 1) / samples_a_shard; }
  int64_t first_of(int64_t shard) const { return shard * samples_a_shard; }
  int64_t count_of(int64_t shard) const {
    return std::min(samples_a_shard, samples.num_samples - first_of(shard));
  }
  /// Of all that is here: equal descriptions make equal files.
  Hash128 hash() const;
};

nlohmann::ordered_json json_of(const TeacherDescription& description);
/// UserError (bad_input) naming `name` and the member for what describes no files.
TeacherDescription teacher_description_of(const nlohmann::json& json, const std::string& name);

/// "tokens-00007.bin".
std::string shard_name(int64_t shard);
/// What a shard's header says; it is written last into the index.
struct ShardSeal {
  int64_t bytes = 0;
  Hash128 head;  ///< of header and table, which has the places of the samples, each with a hash of its own
};

/// Puts a shard's samples together in memory, in their order.
class TeacherShard {
 public:
  TeacherShard(const TeacherDescription& description, int64_t shard);

  /// The next sample: ids and probabilities [seq_len, width] as few_tokens() makes them. UserError (numerics)
  /// where a probability is NaN.
  void add(std::span<const int32_t> ids, std::span<const float> probabilities);
  bool is_full() const { return std::ssize(ends_) == description_.count_of(shard_); }
  int64_t bytes() const { return static_cast<int64_t>(data_.size()); }
  /// A file that is whole or not there, with all samples of the shard (CHECK).
  ShardSeal write(const std::string& path) const;

 private:
  const TeacherDescription& description_;
  int64_t shard_;
  std::vector<uint64_t> ends_;
  std::vector<std::byte> data_;
};

/// The seal of a shard that lies in a file; nothing where there is none of this description, or a damaged
/// head.
std::optional<ShardSeal> find_shard(const TeacherDescription& description, int64_t shard,
                                    const std::string& path);

inline constexpr const char* kTeacherIndex = "teacher.json";
/// Writes DIRECTORY/teacher.json, by which the files are there.
void write_teacher_index(const TeacherDescription& description, std::span<const ShardSeal> seals,
                         const std::string& directory);

/// What a student reads.
struct StudentData {
  int64_t vocab_size = 0;  ///< rows of its token table
  std::string tokenizer;   ///< as TeacherDescription's
  /// Of its run; num_samples: that are trained on, from first_sample on.
  TeacherSamples samples;
  int64_t first_sample = 0;
  double temperature = 1;
};

/// Immutable; reads are safe from several threads at once.
class TeacherFiles {
 public:
  /// Whether `path` is a directory with such an index.
  static bool are_at(const std::string& path);
  /// Maps the files. UserError (bad_input) naming file and value where index or heads are damaged, or a file
  /// is missing or has another length.
  explicit TeacherFiles(const std::string& path);

  const TeacherDescription& description() const { return description_; }
  int64_t bytes() const { return bytes_; }

  /// Before the first read: takes the student's order, and refuses what does not fit: UserError (bad_input)
  /// with all that differs, each by name with both values and what would work; samples of the run that are
  /// not there by the number of the first.
  void expect(const StudentData& student);
  /// Of a micro-batch, of whose samples this rank has its share of each. All rows are decoded at once, on the
  /// calling thread; tokens that the student does not have are left out. UserError (bad_input) naming file
  /// and sample where one is damaged or is not there.
  std::shared_ptr<const TeacherRows> rows_of(Context& ctx, const TokenBatch& batch,
                                             const ContextShare& share) const;
  /// A sample of the files by its number in their order: ids and probabilities [seq_len, width], as
  /// decode_row().
  void read_sample(int64_t sample, std::span<int32_t> ids, std::span<float> probabilities) const;

 private:
  struct Shard {
    MappedFile file;
    std::span<const std::byte> table;  // ends of the samples, u64
    std::span<const std::byte> data;
  };
  /// The number in the files of the sample with this number of the student's order; -1: none.
  int64_t number_of(int64_t sample) const;
  std::string path_;
  TeacherDescription description_;
  std::vector<Shard> shards_;
  int64_t bytes_ = 0;
  StudentData student_;
  std::optional<SampleOrder> order_;  // the student's
  bool is_same_order_ = false;
  std::vector<std::pair<int64_t, int64_t>>
      places_;  // where samples begin and their numbers, if it is another
};

}  // namespace trireme
