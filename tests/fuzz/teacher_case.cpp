#include "tests/fuzz/teacher_case.h"

#include <cstdlib>

#include "models/distill/teacher_files.h"
#include "runtime/base/error.h"
#include "runtime/io/json/json_file.h"

namespace trireme::test {

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

bool read_description(std::string_view input) {
  try {
    const TeacherDescription d = teacher_description_of(parse_json(input, "input"), "input");
    require(d.num_shards() > 0 && d.count_of(d.num_shards() - 1) > 0 && d.code.width() > 0);
    return true;
  } catch (const UserError&) {
    return false;
  }
}

TeacherCode code_of(std::string_view input) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(input[i]); };
  return {at(0) % 2 == 0 ? TeacherTokens::top_k : TeacherTokens::sampled, 1 + at(1) % 70,
          1 + at(2) * (at(0) / 2)};
}

}  // namespace

bool read_teacher(std::string_view input) {
  if (input.starts_with('{')) return read_description(input);
  if (input.size() < 3) return false;
  const TeacherCode code = code_of(input);
  BitReader reader(std::as_bytes(std::span(input.substr(3))));
  std::vector<int32_t> ids(static_cast<size_t>(code.width()));
  std::vector<float> probabilities(ids.size());
  bool is_any = false;
  while (!reader.is_at_end() && decode_row(code, reader, ids, probabilities)) {
    is_any = true;
    int32_t before = -1;
    for (size_t i = 0; i < ids.size() && ids[i] >= 0; ++i) {
      require(ids[i] > before && ids[i] < code.vocab_size && probabilities[i] >= 0 &&
              probabilities[i] < 1.001f);
      before = ids[i];
    }
    BitWriter again;
    encode_row(code, ids, probabilities, again);
  }
  return is_any;
}

std::vector<std::string> teacher_seeds() {
  TeacherDescription d;
  d.code = {TeacherTokens::sampled, 12, 300};
  d.samples = {"1 byte", 100, 8, 1, {}, 9};
  std::string good = json_of(d).dump();
  std::vector<std::string> seeds = {good, "{}", "{\"format\":1}", good.substr(0, good.size() / 2)};
  for (const TeacherCode& code :
       {TeacherCode{TeacherTokens::top_k, 3, 301}, TeacherCode{TeacherTokens::sampled, 3, 301}}) {
    BitWriter bits;
    for (int row = 0; row < 3; ++row)
      encode_row(code, std::vector<int32_t>{7, 300 - row, 0},
                 std::vector<float>{1.0f / 3, 1.0f / 3, row == 1 ? 1.0f / 3 : 0.25f}, bits);
    std::string seed = {static_cast<char>(code.kind == TeacherTokens::top_k ? 12 : 13), 2, 50};
    for (const std::byte byte : bits.take()) seed += static_cast<char>(byte);
    seeds.push_back(seed);
  }
  return seeds;
}

}  // namespace trireme::test
