// Boxes, flat ranges as boxes, and who writes what of slices that many hold.
#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include "parallel/checkpoint/format/cut_range.h"
#include "parallel/checkpoint/format/slice.h"
#include "parallel/checkpoint/save/share_slices.h"
#include "parallel/checkpoint/slice_source.h"
#include "runtime/base/philox.h"

#include "tests/support/state_of_ranks.h"

namespace trireme {
namespace {

int64_t draw(uint64_t number, uint64_t salt, int64_t limit) {
  return static_cast<int64_t>(philox4x32(77, number, salt)[0] % static_cast<uint64_t>(limit));
}

/// The indices in the whole tensor of a box's elements, row-major.
std::vector<int64_t> indices_of(const Box& box, const Shape& shape) {
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < box.numel(); ++i) {
    int64_t index = 0, stride = 1, rest = i;
    for (int d = shape.rank() - 1; d >= 0; --d) {
      index += (box.offset[d] + rest % box.extent[d]) * stride;
      rest /= box.extent[d];
      stride *= shape[d];
    }
    indices.push_back(index);
  }
  return indices;
}

struct Drawn {
  Shape shape;
  Box block;
};

Drawn draw_block(uint64_t number) {
  const auto rank = static_cast<size_t>(1 + draw(number, 0, 4));
  std::vector<int64_t> shape(rank), offset(rank), extent(rank);
  for (size_t d = 0; d < rank; ++d) {
    shape[d] = 1 + draw(number, 1 + 3 * d, 5);
    extent[d] = 1 + draw(number, 2 + 3 * d, shape[d]);
    offset[d] = draw(number, 3 + 3 * d, shape[d] - extent[d] + 1);
  }
  return {Shape(shape), {Shape(offset), Shape(extent)}};
}

/// The fewest boxes that are pieces of the run [begin, end) of the block and together the run.
int fewest(const Box& block, int64_t begin, int64_t end) {
  const auto is_box = [&](int64_t from, int64_t to) {
    // A run of elements is a box when it has as many as the box around it.
    int64_t count = 1;
    for (int64_t d = block.extent.rank() - 1, stride = 1; d >= 0; --d) {
      const int64_t extent = block.extent[static_cast<int>(d)];
      std::set<int64_t> seen;
      for (int64_t i = from; i < to; ++i) seen.insert(i / stride % extent);
      count *= static_cast<int64_t>(seen.size());
      stride *= extent;
    }
    return count == to - from;
  };
  std::vector<int> best(static_cast<size_t>(end - begin) + 1, 1 << 20);
  best[0] = 0;
  for (int64_t to = begin + 1; to <= end; ++to) {
    for (int64_t from = begin; from < to; ++from) {
      int& here = best[static_cast<size_t>(to - begin)];
      if (best[static_cast<size_t>(from - begin)] + 1 < here && is_box(from, to))
        here = best[static_cast<size_t>(from - begin)] + 1;
    }
  }
  return best.back();
}

TEST(CutRange, BoxesAreTheRunInOrderAndAsFewAsCanBe) {
  for (uint64_t number = 0; number < 300; ++number) {
    const auto [shape, block] = draw_block(number);
    const std::vector<int64_t> all = indices_of(block, shape);
    const int64_t begin = draw(number, 20, block.numel() + 1),
                  end = begin + draw(number, 21, block.numel() - begin + 1);
    const auto boxes = cut_range(block, begin, end);
    std::vector<int64_t> found;
    for (const BoxOfRun& part : boxes) {
      EXPECT_EQ(part.begin, std::ssize(found));
      EXPECT_TRUE(fits(part.box, shape));
      std::ranges::copy(indices_of(part.box, shape), std::back_inserter(found));
    }
    EXPECT_EQ(found, std::vector<int64_t>(all.begin() + begin, all.begin() + end)) << number;
    EXPECT_LE(std::ssize(boxes), 2 * shape.rank() - 1);
    if (end - begin <= 60) {
      EXPECT_EQ(std::ssize(boxes), fewest(block, begin, end)) << number;
    }
  }
}

TEST(CutRange, ScalarsAndNothing) {
  EXPECT_EQ(cut_range({{}, {}}, 0, 1).size(), 1u);
  EXPECT_TRUE(cut_range({{}, {}}, 0, 0).empty());
  EXPECT_TRUE(cut_range({{0, 0}, {0, 4}}, 0, 0).empty());
}

TEST(CutRange, SlicesOfALocalRange) {
  Parameter p = Parameter::part_of("w", {6, 4}, 0, {2, 6}, 0, 1);  // rows 2 to 5
  const LocalRange range{&p, 0, 100, 109, 3};                      // elements 3 to 11 of 16, at 100
  const auto slices = slices_of(range, "adam.m/w", DType::bf16);
  ASSERT_EQ(slices.size(), 2u);
  EXPECT_EQ(to_string(slices[0].slice), "adam.m/w[2:3, 3:4]");
  EXPECT_EQ(slices[0].begin, 100);
  EXPECT_EQ(to_string(slices[1].slice), "adam.m/w[3:5, 0:4]");
  EXPECT_EQ(slices[1].begin, 101);
  EXPECT_EQ(slices[1].slice.bytes(), 16);
}

TEST(Slice, RunsAreTheBoxInOrder) {
  for (uint64_t number = 0; number < 300; ++number) {
    const auto [shape, block] = draw_block(number);
    std::vector<int64_t> found;
    for_each_run(block, shape, [&](int64_t index, int64_t place, int64_t count) {
      EXPECT_EQ(place, std::ssize(found));
      for (int64_t i = 0; i < count; ++i) found.push_back(index + i);
    });
    EXPECT_EQ(found, indices_of(block, shape)) << number;
  }
}

TEST(Slice, PartsThatAreNeighboursInABoxAreKnown) {
  int num_runs = 0, num_others = 0;
  for (uint64_t number = 0; number < 600; ++number) {
    const auto [shape, box] = draw_block(number);
    const auto other = draw_block(number + 1000).block;
    if (other.extent.rank() != shape.rank()) continue;
    const auto part = intersection(box, other);
    if (!part) continue;
    const auto of_box = indices_of(box, shape), of_part = indices_of(*part, shape);
    const auto found = std::ranges::search(of_box, of_part);
    const auto place = place_of_run(*part, box);
    ASSERT_EQ(place.has_value(), !found.empty()) << number;
    EXPECT_EQ(place.value_or(-1), found.empty() ? -1 : found.begin() - of_box.begin()) << number;
    ++(place ? num_runs : num_others);
  }
  EXPECT_GT(num_runs, 50);
  EXPECT_GT(num_others, 10);
}

TEST(SliceSource, TheProofHashIsThatOfTheTensorsWhateverTheNumberOfThreads) {
  auto tensors = test::logical_tensors(3);
  tensors.push_back({"of.several.chunks", DType::f32, {601, 257}});
  const ProofHash expected = test::proof_of(tensors, 8);
  for (const int num_threads : {1, 2, 3, 7}) {
    Context ctx({}, num_threads);
    ProofHash in_place, of_copies;
    for (const auto& of_rank : test::owned_slices(tensors, 2, 0)) {
      std::vector<SliceSource> sources = test::sources_of(of_rank, 8);
      in_place += proof_of(ctx, sources);
      for (SliceSource& source : sources) source.memory = nullptr;
      of_copies += proof_of(ctx, sources);
    }
    EXPECT_EQ(in_place, expected) << num_threads;
    EXPECT_EQ(of_copies, expected) << num_threads;
  }
  Context ctx({}, 3);
  EXPECT_EQ(proof_of(ctx, {}), ProofHash());
}

TEST(SliceSource, TheProofHashIsOfNamesAndPlacesToo) {
  const auto proof = [](const std::string& name, const std::vector<float>& values) {
    ProofHash hash;
    hash.add(whole_slice(name, DType::f32, {2}), 0, std::as_bytes(std::span(values)));
    return hash;
  };
  EXPECT_EQ(proof("a", {1, 2}), proof("a", {1, 2}));
  EXPECT_NE(proof("a", {1, 2}), proof("b", {1, 2}));
  EXPECT_NE(proof("a", {1, 2}), proof("a", {2, 1}));
}

TEST(Slice, BoxesAreCopiedElementByElement) {
  for (uint64_t number = 0; number < 300; ++number) {
    const auto [shape, a] = draw_block(number);
    // Another box of the same tensor.
    std::vector<int64_t> offset, extent;
    for (int d = 0; d < shape.rank(); ++d) {
      extent.push_back(1 + draw(number, 40 + static_cast<uint64_t>(d), shape[d]));
      offset.push_back(draw(number, 50 + static_cast<uint64_t>(d), shape[d] - extent.back() + 1));
    }
    const Box b{Shape(offset), Shape(extent)};
    const auto from_indices = indices_of(a, shape), to_indices = indices_of(b, shape);
    std::vector<int64_t> from(from_indices), to(to_indices.size(), -1), expected(to_indices.size(), -1);
    for (size_t i = 0; i < to.size(); ++i) {
      if (std::ranges::count(from_indices, to_indices[i]) > 0) expected[i] = to_indices[i];
    }
    if (const auto both = intersection(a, b)) {
      copy_box(*both, sizeof(int64_t), a, reinterpret_cast<const std::byte*>(from.data()), b,
               reinterpret_cast<std::byte*>(to.data()));
    }
    EXPECT_EQ(to, expected) << number;
  }
}

TEST(Slice, FitsIsSafeForAnyNumbers) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  EXPECT_TRUE(fits({{1, 2}, {3, 2}}, {4, 4}));
  EXPECT_FALSE(fits({{1, 2}, {4, 2}}, {4, 4}));
  EXPECT_FALSE(fits({{kMost, 0}, {kMost, 1}}, {4, 4}));
  EXPECT_FALSE(fits({{1, 0}, {kMost, 1}}, {4, 4}));
  EXPECT_FALSE(fits({{1}, {1}}, {4, 4}));
}

TEST(ShareSlices, DisjointCompleteAndEven) {
  for (uint64_t number = 0; number < 200; ++number) {
    const int holders = static_cast<int>(1 + draw(number, 100, 7));
    std::vector<Slice> slices;
    int64_t total = 0;
    for (int64_t i = draw(number, 101, 12); i >= 0; --i) {
      const auto [shape, block] = draw_block(number * 16 + static_cast<uint64_t>(i));
      slices.push_back({"t" + std::to_string(i), i % 2 == 0 ? DType::f32 : DType::bf16, shape, block});
      total += slices.back().bytes();
    }
    std::vector<int64_t> before(static_cast<size_t>(holders));
    for (size_t h = 0; h < before.size(); ++h)
      before[h] = draw(number, 200 + h, 2) * draw(number, 300 + h, 200);
    std::vector<std::vector<int64_t>> seen(slices.size());
    std::vector<int64_t> sums = before;
    for (int holder = 0; holder < holders; ++holder) {
      std::set<size_t> own;
      for (const SharedPart& part : share_slices(slices, holder, holders, before)) {
        EXPECT_TRUE(own.insert(part.slice).second) << "two parts of one slice";
        const Slice& slice = slices[part.slice];
        const auto whole = indices_of(slice.box, slice.shape), here = indices_of(part.box, slice.shape);
        EXPECT_TRUE(std::equal(here.begin(), here.end(), whole.begin() + part.begin));
        std::ranges::copy(here, std::back_inserter(seen[part.slice]));
        sums[static_cast<size_t>(holder)] += part.box.numel() * static_cast<int64_t>(size_of(slice.dtype));
      }
    }
    for (size_t i = 0; i < slices.size(); ++i)
      EXPECT_EQ(seen[i], indices_of(slices[i].box, slices[i].shape)) << number;
    EXPECT_EQ(std::accumulate(sums.begin(), sums.end(), int64_t{0}) -
                  std::accumulate(before.begin(), before.end(), int64_t{0}),
              total);
  }
}

TEST(ShareSlices, TheFullestIsARowOffAtMost) {
  const std::vector<Slice> slices = {whole_slice("embedding", DType::f32, {50257, 64}),
                                     whole_slice("norm", DType::f32, {64}),
                                     whole_slice("head", DType::bf16, {64, 1000})};
  const std::vector<int64_t> before = {0, 3'000'000, 0, 99'000'000};
  int64_t total = 0;
  for (const Slice& slice : slices) total += slice.bytes();
  std::vector<int64_t> sums = before;
  for (int holder = 0; holder < 4; ++holder) {
    for (const SharedPart& part : share_slices(slices, holder, 4, before))
      sums[static_cast<size_t>(holder)] +=
          part.box.numel() * static_cast<int64_t>(size_of(slices[part.slice].dtype));
  }
  EXPECT_EQ(sums[3], before[3]);  // it has more than its share already
  const int64_t even = (total + 3'000'000) / 3;
  for (int holder = 0; holder < 3; ++holder)
    EXPECT_NEAR(static_cast<double>(sums[static_cast<size_t>(holder)]), static_cast<double>(even), 2000);
}

}  // namespace
}  // namespace trireme
