// Files of teacher's tokens: the side that reads.
#include "models/distill/teacher_files.h"

#include <cstring>
#include <filesystem>

#include <fmt/ranges.h>

#include "models/distill/teacher_shard_head.h"
#include "runtime/base/error.h"
#include "runtime/io/files/file.h"
#include "runtime/io/json/json_file.h"
#include "runtime/io/json/sealed_json.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

namespace {

namespace fs = std::filesystem;

uint64_t word_at(std::span<const std::byte> bytes, size_t index) {
  uint64_t word = 0;
  std::memcpy(&word, bytes.data() + index * sizeof(word), sizeof(word));
  return word;
}

/// Header and table, where the file is long enough and both are sound; else empty.
std::span<const std::byte> head_of_shard(const TeacherDescription& description, int64_t shard,
                                         std::span<const std::byte> file) {
  const auto count = static_cast<size_t>(description.count_of(shard));
  if (file.size() < sizeof(ShardHead) || (file.size() - sizeof(ShardHead)) / sizeof(uint64_t) < count)
    return {};
  ShardHead head{};
  std::memcpy(&head, file.data(), sizeof(head));
  if (head != shard_head_of(description, shard)) return {};
  const size_t size = sizeof(head) + count * sizeof(uint64_t);
  const std::span<const std::byte> table = file.subspan(sizeof(head), size - sizeof(head));
  uint64_t before = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint64_t end = word_at(table, i);
    if (end < before || end - before < sizeof(uint64_t) || end > file.size() - size) return {};
    before = end;
  }
  if (before != file.size() - size) return {};
  return file.first(size);
}

/// The tokens of a micro-batch's rows, all there.
class ReadRows final : public TeacherRows {
 public:
  ReadRows(Tensor ids, Tensor probabilities, bool has_rest)
      : ids_(std::move(ids)), probabilities_(std::move(probabilities)), has_rest_(has_rest) {}

  RowTeacher rows(Context&, int64_t begin, int64_t end) const override {
    RowTeacher teacher;
    teacher.ids = ids_.slice(begin, end);
    teacher.probabilities = probabilities_.slice(begin, end);
    teacher.has_rest = has_rest_;
    return teacher;
  }

 private:
  Tensor ids_, probabilities_;
  bool has_rest_;
};

/// Leaves out what lies beyond the student's vocabulary. What is drawn is scaled to one again; of the
/// likeliest the rest has it.
void keep_known(const TeacherCode& code, int64_t vocab_size, std::span<int32_t> ids,
                std::span<float> probabilities) {
  if (code.vocab_size <= vocab_size) return;
  const size_t width = static_cast<size_t>(code.width());
  for (size_t row = 0; row < ids.size(); row += width) {
    double sum = 0, known = 0;
    for (size_t i = row; i < row + width; ++i) {
      sum += double{probabilities[i]};
      if (ids[i] >= vocab_size) {
        ids[i] = -1;
        probabilities[i] = 0;
      }
      known += double{probabilities[i]};
    }
    if (code.has_rest() || known == sum || known == 0) continue;
    for (size_t i = row; i < row + width; ++i)
      probabilities[i] = static_cast<float>(double{probabilities[i]} / known);
  }
}

std::string seen_documents(const std::optional<int32_t>& end_of_text) {
  return end_of_text ? fmt::format("kept apart by token {}", *end_of_text) : "not kept apart";
}

}  // namespace

std::optional<ShardSeal> find_shard(const TeacherDescription& description, int64_t shard,
                                    const std::string& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return {};
  const MappedFile file(path);
  const std::span<const std::byte> head = head_of_shard(description, shard, file.bytes());
  if (head.empty()) return {};
  return ShardSeal{static_cast<int64_t>(file.size()), xxh3_128(head)};
}

bool TeacherFiles::are_at(const std::string& path) {
  std::error_code error;
  return fs::is_regular_file(fs::path(path) / kTeacherIndex, error);
}

TeacherFiles::TeacherFiles(const std::string& path) : path_(path) {
  const std::string name = path + "/" + kTeacherIndex;
  nlohmann::json index;
  try {
    index = open_sealed_json(read_text_file(name), name);
  } catch (const UserError& error) {
    throw_bad_input("{}", error.what());
  }
  description_ = teacher_description_of(index, name);
  const nlohmann::json& shards = json_member(index, "shards", name);
  if (!shards.is_array() || std::ssize(shards) != description_.num_shards())
    throw_bad_input("{}: {} shards, where {} samples fall into {}", name, shards.size(),
                    description_.samples.num_samples, description_.num_shards());
  for (int64_t shard = 0; shard < description_.num_shards(); ++shard) {
    const nlohmann::json& entry = shards[static_cast<size_t>(shard)];
    const std::string file_name = path + "/" + shard_name(shard);
    MappedFile file(file_name);
    const int64_t bytes = json_index(json_member(entry, "bytes", name), int64_t{1} << 60, "bytes", name);
    if (static_cast<int64_t>(file.size()) != bytes)
      throw_bad_input("{} has {} bytes, {} says {}: it is cut off, or of other tokens", file_name,
                      file.size(), kTeacherIndex, bytes);
    const std::span<const std::byte> head = head_of_shard(description_, shard, file.bytes());
    if (head.empty() ||
        to_string(xxh3_128(head)) != json_string(json_member(entry, "xxh3", name), "xxh3", name))
      throw_bad_input("{} is damaged, or of other tokens: its head is not the one that {} knows", file_name,
                      kTeacherIndex);
    bytes_ += bytes;
    const std::span<const std::byte> data = file.bytes().subspan(head.size());
    shards_.push_back({std::move(file), head.subspan(sizeof(ShardHead)), data});
  }
}

void TeacherFiles::expect(const StudentData& student) {
  const TeacherSamples &ours = description_.samples, &theirs = student.samples;
  std::vector<std::string> errors;
  const auto differ = [&](std::string_view what, const auto& here, const auto& there,
                          std::string_view advice) {
    if (here != there)
      errors.push_back(fmt::format("{}: {} in the files, {} in this run{}", what, here, there, advice));
  };
  if (!description_.tokenizer.empty() && !student.tokenizer.empty())
    differ("tokenizer", description_.tokenizer, student.tokenizer,
           " (ids would mean other texts: the student needs the teacher's tokenizer)");
  if (!ours.data.empty() && !theirs.data.empty()) differ("data", ours.data, theirs.data, "");
  differ("tokens of the data that are trained on", ours.data_tokens, theirs.data_tokens,
         " (the same --data.* as trireme teacher had)");
  differ("train.seq-len", ours.seq_len, theirs.seq_len, "");
  differ("documents", seen_documents(ours.end_of_text), seen_documents(theirs.end_of_text),
         " (data.separate-documents)");
  differ("distill.temperature", description_.temperature, student.temperature, "");
  if (!errors.empty())
    throw_bad_input(
        "{} was written for another training than this:\n  {}\nwrite it anew (trireme teacher), or "
        "train as it says",
        path_, fmt::join(errors, "\n  "));
  student_ = student;
  order_ = theirs.order("the data");
  is_same_order_ = ours.order_seed == theirs.order_seed;
  const int64_t end = student.first_sample + theirs.num_samples;
  if (is_same_order_ && end <= ours.num_samples) return;
  const SampleOrder order = ours.order("the data");
  places_.clear();
  for (int64_t n = 0; n < ours.num_samples; ++n) places_.emplace_back(order.position(n), n);
  std::ranges::sort(places_);
  for (int64_t n = student.first_sample; n < end; ++n) {
    if (number_of(n) >= 0) continue;
    const std::string_view advice =
        is_same_order_ ? "write more of them (trireme teacher --samples), or train for fewer steps"
                       : "write them with this run's seed (--train.seed)";
    throw_bad_input(
        "{} has {} samples of seed {}; sample {} of this run, of seed {}, is not among them (it needs {}, {} "
        "make an epoch): {}",
        path_, ours.num_samples, ours.order_seed, n, theirs.order_seed, end, order.samples_per_epoch(),
        advice);
  }
}

int64_t TeacherFiles::number_of(int64_t sample) const {
  if (is_same_order_ && sample < description_.samples.num_samples) return sample;
  const int64_t place = order_->position(sample);
  const auto found = std::ranges::lower_bound(places_, std::pair(place, int64_t{0}));
  return found != places_.end() && found->first == place ? found->second : -1;
}

void TeacherFiles::read_sample(int64_t sample, std::span<int32_t> ids, std::span<float> probabilities) const {
  const int64_t shard = sample / description_.samples_a_shard;
  TRIREME_CHECK(sample >= 0 && sample < description_.samples.num_samples, "sample {} of {}", sample,
                description_.samples.num_samples);
  const Shard& at = shards_[static_cast<size_t>(shard)];
  const auto index = static_cast<size_t>(sample - description_.first_of(shard));
  const uint64_t begin = index == 0 ? 0 : word_at(at.table, index - 1), end = word_at(at.table, index);
  const std::span<const std::byte> record = at.data.subspan(begin, end - begin);
  const std::span<const std::byte> bits = record.subspan(sizeof(uint64_t));
  BitReader reader(bits);
  const auto width = static_cast<size_t>(description_.code.width());
  TRIREME_CHECK(ids.size() == width * static_cast<size_t>(description_.samples.seq_len) &&
                    probabilities.size() == ids.size(),
                "{} ids of a sample", ids.size());
  bool is_sound = word_at(record, 0) == xxh3_128(bits).low;
  for (size_t row = 0; is_sound && row < ids.size(); row += width)
    is_sound =
        decode_row(description_.code, reader, ids.subspan(row, width), probabilities.subspan(row, width));
  if (!is_sound || !reader.is_at_end())
    throw_bad_input("{}: sample {} is damaged: its {} bytes do not have the hash beside them", at.file.path(),
                    sample, bits.size());
}

std::shared_ptr<const TeacherRows> TeacherFiles::rows_of(Context& ctx, const TokenBatch& batch,
                                                         const ContextShare& share) const {
  TRIREME_CHECK(order_.has_value(), "a read before expect()");
  const int64_t seq_len = description_.samples.seq_len, width = description_.code.width();
  TRIREME_CHECK(batch.seq_len * share.size == seq_len, "{} rows a sample on each of {} ranks, of {}",
                batch.seq_len, share.size, seq_len);
  std::vector<int32_t> sample_ids(static_cast<size_t>(seq_len * width)), ids;
  std::vector<float> sample_probabilities(sample_ids.size()), probabilities;
  ids.reserve(static_cast<size_t>(batch.rows() * width));
  probabilities.reserve(ids.capacity());
  for (int64_t b = 0; b < batch.batch; ++b) {
    const int64_t number = number_of(batch.first_sample + b);
    if (number < 0) throw_bad_input("{} does not have sample {} of this run", path_, batch.first_sample + b);
    read_sample(number, sample_ids, sample_probabilities);
    keep_known(description_.code, student_.vocab_size, sample_ids, sample_probabilities);
    for (const Part& held : share.tokens(seq_len)) {
      ids.insert(ids.end(), sample_ids.begin() + held.begin * width, sample_ids.begin() + held.end * width);
      probabilities.insert(probabilities.end(), sample_probabilities.begin() + held.begin * width,
                           sample_probabilities.begin() + held.end * width);
    }
  }
  const Shape shape{batch.rows(), width};
  return std::make_shared<ReadRows>(ops::to_device(ctx, ids, shape),
                                    ops::to_device(ctx, probabilities, shape), description_.code.has_rest());
}

}  // namespace trireme
