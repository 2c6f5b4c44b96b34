// From any layout to any layout; every flipped bit; each byte read once.
#include "parallel/checkpoint/load/load_slices.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "parallel/checkpoint/load/load_plan.h"
#include "parallel/checkpoint/save/commit.h"
#include "parallel/checkpoint/snapshot.h"
#include "runtime/base/philox.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/io/files/file.h"
#include "runtime/io/safetensors/sharded_safetensors.h"

#include "tests/support/expect_error.h"
#include "tests/support/state_of_ranks.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tier.h"

namespace trireme {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

struct Layout {
  int ranks, kind;
};

/// Saves the tensors as a layout holds them; the path of the checkpoint.
std::string save(const std::string& directory, const std::vector<test::LogicalTensor>& tensors,
                 const Layout& layout) {
  const auto slices = test::owned_slices(tensors, layout.ranks, layout.kind);
  FileCalls kernel;
  run_thread_ranks(layout.ranks, [&](Communicator& world) {
    Snapshot snapshot;
    snapshot.take(world.rank(), test::sources_of(slices[static_cast<size_t>(world.rank())], 5));
    commit_checkpoint(kernel, world, {directory, {}, {}},
                      [&](const std::string& to) { return snapshot.write(kernel, to); });
  });
  return directory + "/" + checkpoint_name(0);
}

/// Loads as another layout, and compares every byte. What ranks threw.
std::set<std::string> load(const std::string& path, const Manifest& manifest,
                           const std::vector<test::LogicalTensor>& tensors, const Layout& layout) {
  const auto wanted = test::wanted_slices(tensors, layout.ranks, layout.kind);
  std::vector<std::string> failures(static_cast<size_t>(layout.ranks));
  run_thread_ranks(layout.ranks, [&](Communicator& world) {
    const auto& own = wanted[static_cast<size_t>(world.rank())];
    const LoadPlan plan = make_load_plan(manifest.stored.slices, wanted, path);
    std::vector<std::vector<std::byte>> memory(own.size());
    std::vector<SliceTarget> targets;
    for (size_t i = 0; i < own.size(); ++i) {
      memory[i].resize(static_cast<size_t>(own[i].bytes()));
      // Of every other one runs are received where they belong.
      targets.push_back({own[i], into_memory(own[i].box, own[i].dtype, memory[i]),
                         i % 2 == 0 ? memory[i].data() : nullptr});
    }
    try {
      load_slices(world, path, manifest, plan, targets);
      for (size_t i = 0; i < own.size(); ++i)
        EXPECT_EQ(memory[i], test::bytes_of(own[i], 5)) << to_string(own[i]);
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::checkpoint);
      failures[static_cast<size_t>(world.rank())] = error.what();
    }
  });
  return {failures.begin(), failures.end()};
}

TEST(LoadSlices, AnyLayoutLoadsAnyCheckpoint) {
  std::vector<std::pair<Layout, Layout>> pairs;
  for (const int from : {1, 2, 3, 8}) {
    for (const int to : {1, 2, 4, 5}) {
      for (int from_kind = 0; from_kind < 4; ++from_kind) {
        for (int to_kind = 0; to_kind < 5; ++to_kind) pairs.push_back({{from, from_kind}, {to, to_kind}});
      }
    }
  }
  uint64_t number = 0;
  for (const auto& [from, to] : test::sample(pairs, 40)) {
    SCOPED_TRACE(
        fmt::format("{} ranks, kind {} -> {} ranks, kind {}", from.ranks, from.kind, to.ranks, to.kind));
    const test::TemporaryFolder folder;
    const auto tensors = test::logical_tensors(++number);
    const std::string path = save(folder.path(), tensors, from);
    const Manifest manifest = read_manifest(path);
    EXPECT_EQ(manifest.proof, test::proof_of(tensors, 5));
    EXPECT_THAT(load(path, manifest, tensors, to), testing::ElementsAre(""));
  }
}

// Slices of several pieces, some cut in the middle of a row, to several ranks at once.
TEST(LoadSlices, SlicesThatAreLongerThanAPiece) {
  const std::vector<test::LogicalTensor> tensors = {{"w", DType::f32, {3, 700'001}},
                                                    {"v", DType::bf16, {2'500'003}}};
  const test::TemporaryFolder folder;
  const std::string path = save(folder.path(), tensors, {1, 0});
  const Manifest manifest = read_manifest(path);
  EXPECT_THAT(load(path, manifest, tensors, {3, 0}), testing::ElementsAre(""));
  EXPECT_THAT(load(path, manifest, tensors, {2, 4}), testing::ElementsAre(""));
  EXPECT_THAT(find_damage(path, true), IsEmpty());
}

TEST(LoadPlan, EachSliceIsReadOnceAndByOneWhoWantsIt) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const auto tensors = test::logical_tensors(seed);
    std::vector<StoredSlice> stored;
    for (const auto& slices : test::owned_slices(tensors, 6, static_cast<int>(seed % 4))) {
      for (const Slice& slice : slices) stored.push_back({slice, 0, 0, {}});
    }
    const auto wanted = test::wanted_slices(tensors, 4, static_cast<int>(seed % 5));
    const LoadPlan plan = make_load_plan(stored, wanted, "path");
    std::set<size_t> seen;
    std::vector<int64_t> got(plan.wanted_by.size()), bytes_of(4);
    for (const PlannedRead& read : plan.reads) {
      EXPECT_TRUE(seen.insert(read.slice).second);
      bytes_of[static_cast<size_t>(read.reader)] += stored[read.slice].slice.bytes();
      bool wants = false;
      for (const Delivery& delivery : read.deliveries) {
        got[delivery.wanted] += delivery.part.numel();
        wants = wants || std::ranges::count(plan.wanted_by[delivery.wanted], read.reader) > 0;
      }
      EXPECT_TRUE(wants);
    }
    EXPECT_EQ(seen.size(), stored.size());
    for (size_t rank = 0; rank < wanted.size(); ++rank) {
      for (size_t i = 0; i < wanted[rank].size(); ++i)
        EXPECT_EQ(got[plan.box_of[rank][i]], wanted[rank][i].box.numel());
    }
    if (seed % 5 == 4) {  // replicas: all could read anything
      int64_t total = 0, longest = 0;
      for (const StoredSlice& s : stored)
        total += s.slice.bytes(), longest = std::max(longest, s.slice.bytes());
      for (const int64_t bytes : bytes_of) EXPECT_LE(bytes, total / 4 + longest);
    }
  }
}

// One that begins before others may end behind them.
TEST(LoadPlan, LongSlicesAreFoundBehindShortOnes) {
  std::vector<StoredSlice> stored;
  for (const Box& box : {Box{{0, 0}, {10, 5}}, Box{{0, 5}, {5, 5}}, Box{{5, 5}, {5, 5}}})
    stored.push_back({{"w", DType::f32, {10, 10}, box}, 0, 0, {}});
  for (int64_t row = 0; row < 10; ++row) {
    const LoadPlan plan =
        make_load_plan(stored, {{{"w", DType::f32, {10, 10}, {{row, 0}, {1, 10}}}}}, "path");
    int64_t elements = 0;
    for (const PlannedRead& read : plan.reads) {
      for (const Delivery& delivery : read.deliveries) elements += delivery.part.numel();
    }
    EXPECT_EQ(elements, 10) << "row " << row;
  }
}

TEST(LoadPlan, WhatTheCheckpointDoesNotHaveIsNamed) {
  const std::vector<StoredSlice> stored = {{whole_slice("a", DType::f32, {4}), 0, 0, {}},
                                           {whole_slice("b", DType::f32, {4}), 0, 0, {}}};
  test::expect_error(ExitCode::checkpoint,
                     {"the/path does not fit this run", "c is missing", "a is [4], expected [5]",
                      "b is of f32, expected bf16"},
                     [&] {
                       make_load_plan(
                           stored,
                           {{whole_slice("c", DType::f32, {4})},
                            {whole_slice("a", DType::f32, {5}), whole_slice("b", DType::bf16, {4})}},
                           "the/path");
                     });
}

// Each flip and truncation is found, by verifying and by loading, and names the file.
TEST(LoadSlices, EveryDamageIsFoundAndNamed) {
  const auto tensors = test::logical_tensors(3);
  const test::TemporaryFolder folder;
  const std::string path = save(folder.path(), tensors, {2, 0});
  const Manifest manifest = read_manifest(path);
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(path)) files.push_back(entry.path().string());
  std::ranges::sort(files);
  EXPECT_GE(files.size(), 3u);
  struct Damage {
    size_t file;
    size_t bit;  // of the file; beyond its end: cut there, counted from the beginning again
  };
  std::vector<Damage> all;
  for (uint64_t i = 0; i < 2200; ++i)
    all.push_back({i % files.size(), static_cast<size_t>(philox4x32(11, i, 0)[0]) * (i % 10 == 0 ? 2 : 1)});
  for (const Damage& damage : test::sample(all, 150)) {
    const std::string& file = files[damage.file];
    const std::string good = read_text_file(file);
    std::string bad = good;
    const size_t at = damage.bit % (good.size() * 8);
    const bool is_cut = damage.bit % 11 == 0;
    if (is_cut) {
      bad.resize(at / 8);
    } else {
      bad[at / 8] = static_cast<char>(bad[at / 8] ^ (1 << at % 8));
    }
    std::ofstream(file, std::ios::binary) << bad;
    const auto found = find_damage(path, false);
    ASSERT_FALSE(found.empty()) << file << " bit " << at;
    EXPECT_THAT(found.front(), HasSubstr(file));
    if (!is_cut && !file.ends_with(".json")) {
      // The manifest is right: it is the data that lie.
      const auto said = load(path, manifest, tensors, {3, 1});
      ASSERT_EQ(said.size(), 1u) << "ranks do not say the same";
      EXPECT_THAT(*said.begin(), testing::AllOf(HasSubstr(file), HasSubstr("is damaged")));
      for (const StoredSlice& s : manifest.stored.slices) {
        const auto byte = static_cast<int64_t>(at / 8);
        const std::string name = path + "/" + manifest.stored.files[s.file].name;
        if (name == file && byte >= s.begin && byte < s.begin + s.slice.bytes()) {
          EXPECT_THAT(found.front(), HasSubstr(to_string(s.slice)));
        }
      }
    }
    std::ofstream(file, std::ios::binary) << good;
  }
  for (const std::string& file : files) {  // more than there was
    const auto size = std::filesystem::file_size(file);
    std::filesystem::resize_file(file, size + 1);
    EXPECT_THAT(find_damage(path, false), testing::ElementsAre(HasSubstr(file)));
    std::filesystem::resize_file(file, size);
  }
  EXPECT_THAT(find_damage(path, true), IsEmpty());
}

TEST(LoadSlices, ASinkThatThrowsEndsTheLoadOnAllRanks) {
  const std::vector<test::LogicalTensor> tensors = {{"w", DType::f32, {8, 4}}};
  const test::TemporaryFolder folder;
  const std::string path = save(folder.path(), tensors, {1, 1});
  const Manifest manifest = read_manifest(path);
  const auto wanted = test::wanted_slices(tensors, 2, 4);
  run_thread_ranks(2, [&](Communicator& world) {
    const LoadPlan plan = make_load_plan(manifest.stored.slices, wanted, path);
    const std::vector<SliceTarget> targets = {
        {wanted[0][0], [&](const Box&, const Box&, std::span<const std::byte>) {
           if (world.rank() == 1) throw_environment("no memory");
         }}};
    test::expect_error(ExitCode::checkpoint, {"rank 1: no memory"},
                       [&] { load_slices(world, path, manifest, plan, targets); });
  });
}

// The files alone say where their parts belong: what PyTorch's reader goes by. It wants aligned elements.
TEST(Snapshot, FilesHaveAtMostOnePartOfATensorAndSayWhereItBegins) {
  const auto tensors = test::logical_tensors(4);
  const test::TemporaryFolder folder;
  const std::string path = save(folder.path(), tensors, {3, 0});
  const Manifest manifest = read_manifest(path);
  for (const StoredSlice& stored : manifest.stored.slices)
    EXPECT_EQ(stored.begin % static_cast<int64_t>(size_of(stored.slice.dtype)), 0);
  std::map<std::string, int64_t> elements;
  std::set<std::string> names;
  for (const StoredFile& file : manifest.stored.files) {
    names.insert(file.name);
    const SafetensorsReader reader(path + "/" + file.name);
    const auto offsets = sharding_offsets(reader);
    for (const auto& [name, tensor] : reader.tensors()) {
      const auto of = std::ranges::find(tensors, name, &test::LogicalTensor::name);
      ASSERT_NE(of, tensors.end());
      const Slice slice{name, tensor.dtype, of->shape, {offsets.at(name), tensor.shape}};
      EXPECT_EQ(std::vector<std::byte>(tensor.bytes.begin(), tensor.bytes.end()), test::bytes_of(slice, 5));
      elements[name] += slice.box.numel();
    }
  }
  for (const auto& t : tensors) EXPECT_EQ(elements[t.name], t.shape.numel());
  EXPECT_TRUE(names.contains("rank-00001.safetensors"));
  EXPECT_TRUE(names.contains("rank-00001-part1.safetensors"));
}

}  // namespace
}  // namespace trireme
