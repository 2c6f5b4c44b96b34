#include "models/distill/teacher_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "runtime/io/files/file.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

TeacherDescription description() {
  TeacherDescription d;
  d.teacher = "runs/teacher";
  d.tokenizer = "0123456789abcdef";
  d.code = {TeacherTokens::top_k, 3, 50};
  d.samples = {"900 bytes, hash 1", 200, 8, 5, 11, 30};  // 24 make an epoch
  d.samples_a_shard = 7;
  return d;
}

StudentData student() {
  const TeacherDescription d = description();
  return {60, d.tokenizer, d.samples, 0, 1};
}

/// What lies in a sample: ids by its number.
std::vector<int32_t> ids_of(const TeacherDescription& d, int64_t sample) {
  std::vector<int32_t> ids;
  for (int64_t row = 0; row < d.samples.seq_len; ++row) {
    const auto first = static_cast<int32_t>((sample * 7 + row) % (d.code.vocab_size - 2));
    ids.insert(ids.end(), {first, first + 1, first + 2});
  }
  return ids;
}

std::vector<float> probabilities_of(const TeacherDescription& d) {
  std::vector<float> all;
  for (int64_t row = 0; row < d.samples.seq_len; ++row) all.insert(all.end(), {0.5f, 0.25f, 0.125f});
  return all;
}

ShardSeal write_shard(const TeacherDescription& d, int64_t number, const std::string& folder) {
  TeacherShard shard(d, number);
  for (int64_t i = 0; i < d.count_of(number); ++i)
    shard.add(ids_of(d, d.first_of(number) + i), probabilities_of(d));
  return shard.write(folder + "/" + shard_name(number));
}

void write_files(const TeacherDescription& d, const std::string& folder, bool is_backwards = false) {
  std::vector<ShardSeal> seals(static_cast<size_t>(d.num_shards()));
  for (int64_t i = 0; i < d.num_shards(); ++i) {
    const int64_t shard = is_backwards ? d.num_shards() - 1 - i : i;
    seals[static_cast<size_t>(shard)] = write_shard(d, shard, folder);
    EXPECT_EQ(find_shard(d, shard, folder + "/" + shard_name(shard))->head,
              seals[static_cast<size_t>(shard)].head);
  }
  write_teacher_index(d, seals, folder);
}

void change_byte(const std::string& path, int64_t place) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(place, place < 0 ? std::ios::end : std::ios::beg);
  const auto at = file.tellg();
  const auto byte = static_cast<char>(file.get());
  file.seekp(at);
  file.put(static_cast<char>(byte ^ 4));
}

MicroBatch batch_of(int64_t first, int64_t count, int64_t seq_len) {
  MicroBatch batch;
  batch.batch = count;
  batch.seq_len = seq_len;
  batch.first_sample = first;
  return batch;
}

TEST(TeacherFiles, RowsOfAMicroBatchInAnyShare) {
  const TemporaryFolder folder;
  const TeacherDescription d = description();
  EXPECT_FALSE(TeacherFiles::are_at(folder.path()));
  write_files(d, folder.path());
  ASSERT_TRUE(TeacherFiles::are_at(folder.path()));
  TeacherFiles files(folder.path());
  EXPECT_EQ(files.description().hash(), d.hash());
  files.expect(student());
  Context ctx;
  for (const int parts : {1, 2}) {
    for (int rank = 0; rank < parts; ++rank) {
      const ContextShare share{rank, parts};
      const auto rows = files.rows_of(ctx, batch_of(5, 3, 8 / parts), share);
      std::vector<int32_t> expected;
      for (int64_t sample = 5; sample < 8; ++sample) {
        const std::vector<int32_t> all = ids_of(d, sample);
        for (const Part& held : share.tokens(8))
          expected.insert(expected.end(), all.begin() + held.begin * 3, all.begin() + held.end * 3);
      }
      const RowTeacher all = rows->rows(ctx, 0, 24 / parts);
      EXPECT_EQ(read<int32_t>(all.ids), expected);
      EXPECT_TRUE(all.has_rest);
      EXPECT_EQ(read<float>(rows->rows(ctx, 1, 2).probabilities), (std::vector<float>{0.5f, 0.25f, 0.125f}));
      EXPECT_EQ(read<int32_t>(rows->rows(ctx, 3, 4).ids).front(), expected[9]);
    }
  }
}

TEST(TeacherFiles, SamplesAreFoundByTheirPlaceInTheData) {
  const TemporaryFolder folder;
  TeacherDescription d = description();
  d.samples.num_samples = 48;
  write_files(d, folder.path());
  TeacherFiles files(folder.path());
  // Another seed whose first epoch begins where the first or second of the files does: other numbers.
  StudentData other = student();
  other.samples.num_samples = 24;
  const SampleOrder ours = d.samples.order("data");
  const auto offset = [](const SampleOrder& order, int64_t epoch) { return order.position(epoch * 24) % 8; };
  do {
    ++other.samples.order_seed;
  } while (offset(other.samples.order("data"), 0) != offset(ours, 0) &&
           offset(other.samples.order("data"), 0) != offset(ours, 1));
  files.expect(other);
  Context ctx;
  const SampleOrder order = other.samples.order("data");
  int64_t moved = 0;
  for (int64_t n = 0; n < 24; ++n) {
    int64_t there = 0;
    while (ours.position(there) != order.position(n)) ++there;
    moved += there != n ? 1 : 0;
    const auto rows = files.rows_of(ctx, batch_of(n, 1, 8), {});
    EXPECT_EQ(read<int32_t>(rows->rows(ctx, 0, 8).ids), ids_of(d, there));
  }
  EXPECT_GT(moved, 10);
}

TEST(TeacherFiles, WhatDoesNotFitIsRefusedByName) {
  const TemporaryFolder folder;
  write_files(description(), folder.path());
  TeacherFiles files(folder.path());
  const auto refuses = [&](StudentData s, std::initializer_list<std::string_view> parts) {
    expect_error(ExitCode::bad_input, parts, [&] { files.expect(s); });
  };
  StudentData s = student();
  s.tokenizer = "ffff";
  s.temperature = 2;
  refuses(s, {"tokenizer", "0123456789abcdef", "ffff", "distill.temperature: 1 in the files, 2"});
  s = student();
  s.samples.data = "901 bytes, hash 2";
  s.samples.data_tokens = 201;
  refuses(s, {"900 bytes", "901 bytes", "200 in the files, 201"});
  s = student();
  s.samples.seq_len = 16;
  s.samples.end_of_text.reset();
  refuses(s, {"train.seq-len: 8 in the files, 16", "token 11", "not kept apart"});
  s = student();
  s.first_sample = 20;
  s.samples.num_samples = 11;
  refuses(s, {"30 samples", "sample 30", "31", "24 make an epoch", "--samples"});
  s.samples.num_samples = 10;
  files.expect(s);
  s = student();
  s.samples.order_seed = 6;
  refuses(s, {"seed 5", "seed 6", "--train.seed"});
  s = student();
  s.tokenizer.clear();  // what is not known is not compared
  s.samples.data.clear();
  files.expect(s);
}

TEST(TeacherFiles, TokensOfASmallerStudent) {
  for (const TeacherTokens kind : {TeacherTokens::top_k, TeacherTokens::sampled}) {
    const TemporaryFolder folder;
    TeacherDescription d = description();
    d.code = {kind, kind == TeacherTokens::top_k ? 3 : 8, 50};
    d.samples.num_samples = d.samples_a_shard = 1;
    TeacherShard shard(d, 0);
    const auto width = static_cast<size_t>(d.code.width());
    std::vector<int32_t> ids(8 * width, -1);
    std::vector<float> probabilities(8 * width);
    for (size_t row = 0; row < 8; ++row) {
      ids[row * width] = 49;
      ids[row * width + 1] = 10;
      probabilities[row * width] = 0.25f;
      probabilities[row * width + 1] = kind == TeacherTokens::top_k ? 0.5f : 0.75f;
    }
    shard.add(ids, probabilities);
    const std::vector<ShardSeal> seals = {shard.write(folder.path(shard_name(0)))};
    write_teacher_index(d, seals, folder.path());
    TeacherFiles files(folder.path());
    StudentData s = student();
    s.samples.num_samples = 1;
    s.vocab_size = 49;
    files.expect(s);
    Context ctx;
    const RowTeacher row = files.rows_of(ctx, batch_of(0, 1, 8), {})->rows(ctx, 7, 8);
    const std::vector<int32_t> read_ids = read<int32_t>(row.ids);
    EXPECT_EQ(read_ids[0], 10);
    EXPECT_EQ(read_ids[1], -1);
    EXPECT_NEAR(read<float>(row.probabilities)[0], kind == TeacherTokens::top_k ? 0.5 : 1, 1e-6);
    EXPECT_EQ(row.has_rest, kind == TeacherTokens::top_k);
  }
}

TEST(TeacherFiles, AnyOrderOfWritersGivesTheSameBytes) {
  const TemporaryFolder one, other;
  write_files(description(), one.path());
  write_files(description(), other.path(), true);
  const std::vector<std::string> names = one.names();
  EXPECT_EQ(names.size(), 6u);
  for (const std::string& name : names)
    EXPECT_EQ(read_text_file(one.path(name)), read_text_file(other.path(name)));
}

TEST(TeacherFiles, DamageIsNamed) {
  const TeacherDescription d = description();
  const auto opens = [&](const char* file, const std::function<void(const std::string&)>& damage,
                         std::initializer_list<std::string_view> parts) {
    const TemporaryFolder folder;
    write_files(d, folder.path());
    damage(folder.path(file));
    expect_error(ExitCode::bad_input, parts, [&] { TeacherFiles files(folder.path()); });
  };
  const auto cut = [](const std::string& path) { std::filesystem::resize_file(path, 100); };
  opens("tokens-00003.bin", cut, {"tokens-00003.bin", "100 bytes"});
  opens("tokens-00001.bin", [](const std::string& path) { change_byte(path, 9); },
        {"tokens-00001.bin", "damaged"});
  opens("tokens-00001.bin", [](const std::string& path) { change_byte(path, 48); },
        {"tokens-00001.bin", "damaged"});
  opens("tokens-00002.bin", [](const std::string& path) { std::filesystem::remove(path); },
        {"tokens-00002.bin"});
  opens("teacher.json", [](const std::string& path) { change_byte(path, 80); }, {"teacher.json"});
  opens("teacher.json", cut, {"teacher.json"});
  opens("tokens-00000.bin",
        [](const std::string& path) {
          std::filesystem::copy_file(path.substr(0, path.size() - 5) + "1.bin", path,
                                     std::filesystem::copy_options::overwrite_existing);
        },
        {"tokens-00000.bin"});

  const TemporaryFolder folder;
  write_files(d, folder.path());
  change_byte(folder.path("tokens-00004.bin"), -3);
  TeacherFiles files(folder.path());
  files.expect(student());
  Context ctx;
  files.rows_of(ctx, batch_of(28, 1, 8), {});
  expect_error(ExitCode::bad_input, {"tokens-00004.bin", "sample 29"},
               [&] { files.rows_of(ctx, batch_of(29, 1, 8), {}); });
}

// A shard of another description, or half of one, is not gone on with.
TEST(TeacherFiles, OnlyShardsOfTheSameDescriptionAreFound) {
  const TemporaryFolder folder;
  const TeacherDescription d = description();
  EXPECT_FALSE(find_shard(d, 0, folder.path(shard_name(0))));
  write_shard(d, 0, folder.path());
  EXPECT_TRUE(find_shard(d, 0, folder.path(shard_name(0))));
  EXPECT_FALSE(find_shard(d, 1, folder.path(shard_name(0))));
  TeacherDescription other = d;
  other.temperature = 1.5;
  EXPECT_FALSE(find_shard(other, 0, folder.path(shard_name(0))));
  std::filesystem::resize_file(folder.path(shard_name(0)), 150);
  EXPECT_FALSE(find_shard(d, 0, folder.path(shard_name(0))));
}

TEST(TeacherFiles, ATeacherWithoutNumbersIsRefused) {
  const TeacherDescription d = description();
  TeacherShard shard(d, 0);
  std::vector<float> p = probabilities_of(d);
  p[9] = std::numeric_limits<float>::quiet_NaN();
  expect_error(ExitCode::numerics, {"sample 0", "token 3"}, [&] { shard.add(ids_of(d, 0), p); });
}

// Index members one by one: what no writer writes is refused by its name.
TEST(TeacherFiles, HostileDescriptions) {
  const nlohmann::json sound = nlohmann::json::parse(json_of(description()).dump());
  EXPECT_EQ(teacher_description_of(sound, "index").hash(), description().hash());
  for (const auto& [key, value] : sound.items()) {
    for (const nlohmann::json& bad :
         {nlohmann::json(-1), nlohmann::json(1e30), nlohmann::json::array(), nlohmann::json(false)}) {
      nlohmann::json changed = sound;
      changed[key] = bad;
      if (key == "temperature" && bad.is_number() && bad.get<double>() > 0) continue;
      expect_error(ExitCode::bad_input, {"index"}, [&] { teacher_description_of(changed, "index"); });
    }
    nlohmann::json without = sound;
    without.erase(key);
    expect_error(ExitCode::bad_input, {"index", key}, [&] { teacher_description_of(without, "index"); });
  }
  for (const char* key :
       {"vocab_size", "num_tokens", "seq_len", "samples", "samples_a_shard", "temperature"}) {
    nlohmann::json changed = sound;
    changed[key] = 0;
    expect_error(ExitCode::bad_input, {"index"}, [&] { teacher_description_of(changed, "index"); });
  }
}

}  // namespace
}  // namespace trireme::test
