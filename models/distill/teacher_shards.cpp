// Files of teacher's tokens: descriptions, and the side that writes.
//
// A shard: Head, the places at which its samples end as u64, then of each sample the low half of the XXH3-128
// of its bits, and the bits.
#include <bit>
#include <cmath>
#include <cstring>

#include "models/distill/teacher_files.h"
#include "models/distill/teacher_shard_head.h"
#include "runtime/base/error.h"
#include "runtime/io/files/atomic_file.h"
#include "runtime/io/json/json_file.h"
#include "runtime/io/json/sealed_json.h"
#include "runtime/ops/training/few_tokens.h"

namespace trireme {

namespace {

constexpr const char* kFormat = "trireme teacher tokens 1";
constexpr const char *kTopK = "top-k", *kSample = "sample";

int64_t number(const nlohmann::json& json, const char* key, int64_t limit, const std::string& name) {
  return json_index(json_member(json, key, name), limit, key, name);
}

uint64_t seed(const nlohmann::json& json, const char* key, const std::string& name) {
  const nlohmann::json& value = json_member(json, key, name);
  if (!value.is_number_unsigned()) throw_bad_input("{}: {} is no whole number", name, key);
  return value.get<uint64_t>();
}

std::string text(const nlohmann::json& json, const char* key, const std::string& name) {
  return json_string(json_member(json, key, name), key, name);
}

/// What is no UTF-8 (a path) is replaced, as the index has it.
std::string text_of(const TeacherDescription& description) {
  return json_of(description).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

template <class T>
void append(std::vector<std::byte>& to, const T* values, size_t count) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(values, count));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace

static_assert(std::endian::native == std::endian::little, "shards are written as they lie in memory");

nlohmann::ordered_json json_of(const TeacherDescription& d) {
  nlohmann::ordered_json json = {{"format", kFormat},
                                 {"teacher", d.teacher},
                                 {"tokenizer", d.tokenizer},
                                 {"vocab_size", d.code.vocab_size},
                                 {"tokens", d.code.kind == TeacherTokens::top_k ? kTopK : kSample},
                                 {"num_tokens", d.code.num_tokens},
                                 {"temperature", d.temperature},
                                 {"draw_seed", d.draw_seed},
                                 {"data", d.samples.data},
                                 {"data_tokens", d.samples.data_tokens},
                                 {"seq_len", d.samples.seq_len},
                                 {"order_seed", d.samples.order_seed}};
  json["end_of_text"] = d.samples.end_of_text ? nlohmann::ordered_json(*d.samples.end_of_text) : nullptr;
  json["samples"] = d.samples.num_samples;
  json["samples_a_shard"] = d.samples_a_shard;
  return json;
}

TeacherDescription teacher_description_of(const nlohmann::json& json, const std::string& name) {
  constexpr int64_t kMost = int64_t{1} << 48, kMostVocab = int64_t{1} << 31;
  if (text(json, "format", name) != kFormat)
    throw_bad_input("{}: format \"{}\"; this program reads \"{}\"", name, text(json, "format", name),
                    kFormat);
  TeacherDescription d;
  d.teacher = text(json, "teacher", name);
  d.tokenizer = text(json, "tokenizer", name);
  d.code.vocab_size = number(json, "vocab_size", kMostVocab, name);
  const std::string kind = text(json, "tokens", name);
  if (kind != kTopK && kind != kSample) throw_bad_input("{}: tokens \"{}\"", name, kind);
  d.code.kind = kind == kTopK ? TeacherTokens::top_k : TeacherTokens::sampled;
  d.code.num_tokens = number(json, "num_tokens", ops::kMostFewTokens + 1, name);
  const nlohmann::json& temperature = json_member(json, "temperature", name);
  if (!temperature.is_number()) throw_bad_input("{}: temperature is no number", name);
  d.temperature = temperature.get<double>();
  d.draw_seed = seed(json, "draw_seed", name);
  d.samples.data = text(json, "data", name);
  d.samples.data_tokens = number(json, "data_tokens", kMost, name);
  d.samples.seq_len = number(json, "seq_len", kMostVocab, name);
  d.samples.order_seed = seed(json, "order_seed", name);
  const nlohmann::json& end = json_member(json, "end_of_text", name);
  if (!end.is_null())
    d.samples.end_of_text = static_cast<int32_t>(json_index(end, kMostVocab, "end_of_text", name));
  d.samples.num_samples = number(json, "samples", kMost, name);
  d.samples_a_shard = number(json, "samples_a_shard", kMost, name);
  const bool is_sound = d.code.vocab_size > 0 && d.code.num_tokens > 0 && d.temperature > 0 &&
                        std::isfinite(d.temperature) && d.samples.seq_len > 0 &&
                        d.samples.data_tokens > d.samples.seq_len && d.samples.num_samples > 0 &&
                        d.samples_a_shard > 0;
  if (!is_sound) throw_bad_input("{} describes no samples: {}", name, text_of(d));
  return d;
}

Hash128 TeacherDescription::hash() const { return xxh3_128(text_of(*this)); }

std::string shard_name(int64_t shard) { return fmt::format("tokens-{:05}.bin", shard); }

ShardHead shard_head_of(const TeacherDescription& description, int64_t shard) {
  const Hash128 hash = description.hash();
  return {kShardMagic, static_cast<uint64_t>(description.first_of(shard)),
          static_cast<uint64_t>(description.count_of(shard)), hash.high, hash.low};
}

TeacherShard::TeacherShard(const TeacherDescription& description, int64_t shard)
    : description_(description), shard_(shard) {
  TRIREME_CHECK(shard >= 0 && shard < description.num_shards(), "shard {} of {}", shard,
                description.num_shards());
}

void TeacherShard::add(std::span<const int32_t> ids, std::span<const float> probabilities) {
  const TeacherCode& code = description_.code;
  const auto rows = static_cast<size_t>(description_.samples.seq_len),
             width = static_cast<size_t>(code.width());
  TRIREME_CHECK(!is_full() && ids.size() == rows * width && probabilities.size() == ids.size(),
                "{} ids and {} probabilities of {} rows of {}", ids.size(), probabilities.size(), rows,
                width);
  BitWriter bits;
  for (size_t row = 0; row < rows; ++row) {
    const std::span<const float> p = probabilities.subspan(row * width, width);
    if (std::isnan(p.front()))
      throw_user(ExitCode::numerics,
                 "sample {}, token {}: a logit of the teacher is not a number, or infinite; its weights are "
                 "damaged, or too large for the type that it computes in (--precision)",
                 description_.first_of(shard_) + std::ssize(ends_), row);
    encode_row(code, ids.subspan(row * width, width), p, bits);
  }
  const std::vector<std::byte> bytes = bits.take();
  const uint64_t hash = xxh3_128(bytes).low;
  append(data_, &hash, 1);
  append(data_, bytes.data(), bytes.size());
  ends_.push_back(data_.size());
}

ShardSeal TeacherShard::write(const std::string& path) const {
  TRIREME_CHECK(is_full(), "{} samples of shard {}", ends_.size(), shard_);
  const ShardHead head = shard_head_of(description_, shard_);
  std::vector<std::byte> begin;
  append(begin, &head, 1);
  append(begin, ends_.data(), ends_.size());
  AtomicFileWriter file(path);
  file.write(begin);
  file.write(data_);
  file.commit();
  return {static_cast<int64_t>(begin.size() + data_.size()), xxh3_128(begin)};
}

void write_teacher_index(const TeacherDescription& description, std::span<const ShardSeal> seals,
                         const std::string& directory) {
  nlohmann::json index = nlohmann::json::parse(text_of(description));
  for (const ShardSeal& seal : seals) {
    index["shards"].push_back({{"file", shard_name(static_cast<int64_t>(index["shards"].size()))},
                               {"bytes", seal.bytes},
                               {"xxh3", to_string(seal.head)}});
  }
  write_file_atomically(directory + "/" + kTeacherIndex, seal_json(index));
}

}  // namespace trireme
