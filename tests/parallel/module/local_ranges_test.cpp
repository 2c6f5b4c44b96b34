// Which elements a rank has: counted one by one in drawn layouts, and written down for a small one.
#include "parallel/module/local_ranges.h"

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <tuple>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "parallel/module/layer.h"
#include "runtime/base/error.h"
#include "tests/support/parameter_blocks.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// Owns blocks, and that is all.
class Owner final : public Layer {
 public:
  Tensor forward(Context&, const MicroBatch&, const Tensor& x, Saved&) override { return x; }
  Tensor backward_input(Context&, const Tensor& dy, Saved&) override { return dy; }
  void backward_weight(Context&, Saved&) override {}
  void collect(std::vector<ParameterBlock*>&) override {}
};

/// The parameters of a rank, and where they are stored.
struct Rank {
  std::deque<ParameterBlock> blocks;
  std::unique_ptr<ParameterStorage> storage;

  void store(Context& ctx, DType compute_type, const ShardingSpec& sharding) {
    std::vector<ParameterBlock*> pointers;
    for (ParameterBlock& block : blocks) pointers.push_back(&block);
    storage = std::make_unique<ParameterStorage>(ctx, pointers, compute_type, sharding);
  }
};

constexpr BufferExtent kExtents[] = {BufferExtent::whole, BufferExtent::sharded};

/// A block as all ranks describe it.
struct DrawnBlock {
  std::vector<int64_t> rows;  ///< of each member
  int64_t columns = 0;        ///< 0: vectors
  int sharded_dim = -1;       ///< that tensor ranks divide; -1: each holds all of it
  int expert = -1;
  size_t layer = 0;
};

/// Blocks from a few elements to several parts of a large bucket, and a sharding.
struct DrawnLayout {
  explicit DrawnLayout(uint64_t seed) : random(static_cast<uint32_t>(seed)) {
    tensor_ranks = static_cast<int>(draw(1, 3));
    sharding.zero_stage = static_cast<int>(draw(0, 3));
    if (sharding.zero_stage > 0) {
      sharding.num_shards = static_cast<int>(draw(1, 8));
      sharding.num_expert_shards = static_cast<int>(draw(1, 8));
    }
    constexpr int64_t kBucketBytes[] = {1, 5000, 20000, 60000, int64_t{25} << 20};
    sharding.bucket_bytes = kBucketBytes[draw(0, 4)];
    sharding.master = draw(0, 1) == 1;
    for (int64_t n = draw(1, 8); n > 0; --n) blocks.push_back(draw_block());
  }

  int64_t draw(int64_t least, int64_t most) {
    return least + static_cast<int64_t>(random() % static_cast<uint32_t>(most - least + 1));
  }

  DrawnBlock draw_block() {
    DrawnBlock block;
    block.layer = blocks.empty() ? 0 : blocks.back().layer + static_cast<size_t>(draw(0, 1));
    block.columns = draw(0, 2) == 0 ? 0 : draw(3, 90);
    const bool is_matrix = block.columns > 0;
    block.sharded_dim = static_cast<int>(draw(-1, is_matrix ? 1 : 0));
    if (is_matrix && draw(0, 2) == 0) block.expert = static_cast<int>(blocks.size());
    for (int64_t n = draw(1, 3); n > 0; --n) block.rows.push_back(draw(3, is_matrix ? 70 : 3000));
    return block;
  }

  Rank rank(Context& ctx, int tensor_rank, int part) {
    Rank rank;
    for (size_t b = 0; b < blocks.size(); ++b) {
      ParameterBlock block;
      block.owner = &owners[blocks[b].layer];
      for (size_t m = 0; m < blocks[b].rows.size(); ++m)
        block.members.push_back(parameter(b, m, tensor_rank));
      rank.blocks.push_back(std::move(block));
    }
    ShardingSpec mine = sharding;
    mine.shard = part % sharding.num_shards;
    mine.expert_shard = part % sharding.num_expert_shards;
    rank.store(ctx, DType::bf16, mine);
    return rank;
  }

  Parameter parameter(size_t b, size_t member, int tensor_rank) const {
    const DrawnBlock& block = blocks[b];
    const int64_t rows = block.rows[member];
    const Shape shape = block.columns == 0 ? Shape{rows} : Shape{rows, block.columns};
    const int dim = std::max(block.sharded_dim, 0);
    const int64_t size = shape[dim];
    const Part part = block.sharded_dim < 0
                          ? Part{0, size}
                          : Part{size * tensor_rank / tensor_ranks, size * (tensor_rank + 1) / tensor_ranks};
    Parameter p = Parameter::part_of(fmt::format("{}.{}", b, member), shape, dim, part, 0, 1);
    p.expert = block.expert;
    if (block.sharded_dim < 0) p.num_copies = tensor_ranks;
    return p;
  }

  std::mt19937 random;
  int tensor_ranks = 1;
  ShardingSpec sharding;
  std::vector<DrawnBlock> blocks;
  std::array<Owner, 9> owners;
};

bool are_equal(const LocalRange& a, const LocalRange& b) {
  return std::tie(a.parameter, a.bucket, a.begin, a.end, a.first) ==
         std::tie(b.parameter, b.bucket, b.begin, b.end, b.first);
}

// Where index `i` of a bucket of the group is: the part that has it, and its index in a divided buffer.
std::pair<int, int64_t> part_and_place(const ParameterGroup& group, const ParameterBucket& bucket,
                                       int64_t i) {
  int64_t before = 0;  // elements of a part in earlier buckets
  for (const ParameterBucket& b : group.buckets) {
    if (b.begin < bucket.begin) before += (b.end - b.begin) / group.num_shards;
  }
  const int64_t size = (bucket.end - bucket.begin) / group.num_shards;
  return {static_cast<int>((i - bucket.begin) / size), before + (i - bucket.begin) % size};
}

// Every element of the parameter's block, one after the other: in the own ranges if and only if it lies in
// this rank's part, where own_range() says.
void expect_elements_where_the_parts_say(const ParameterView& view) {
  const ParameterGroup& group = *view.group;
  const LocalRange whole = own_range(view, BufferExtent::whole),
                   divided = own_range(view, BufferExtent::sharded);
  ASSERT_EQ(whole.size(), divided.size());
  int64_t num_owned = 0, num_misplaced = 0;
  for (int64_t e = 0; e < view.parameter->shape.numel(); ++e) {
    const auto [part, place] = part_and_place(group, group.buckets[view.bucket], view.begin + e);
    if (part != group.shard) continue;
    ++num_owned;
    const int64_t i = e - whole.first;
    const bool is_right = i >= 0 && i < whole.size() && whole.begin + i == view.begin + e &&
                          divided.first == whole.first && divided.begin + i == place;
    if (!is_right) ++num_misplaced;
  }
  EXPECT_EQ(whole.size(), num_owned);
  EXPECT_EQ(num_misplaced, 0);
  EXPECT_EQ(whole.parameter, view.parameter);
  EXPECT_TRUE(are_equal(held_range(view, BufferExtent::sharded), divided));
  EXPECT_TRUE(
      are_equal(held_range(view, BufferExtent::whole),
                {view.parameter, view.bucket, view.begin, view.begin + view.parameter->shape.numel(), 0}));
}

// The ranges of a group are those of its parameters that are not empty, in order.
void expect_all_in_order(const ParameterStorage& storage, const ParameterGroup& group, BufferExtent extent) {
  const std::vector<LocalRange> ranges = own_ranges(group, extent);
  std::vector<LocalRange> expected;
  for (const ParameterView& view : storage.parameters()) {
    if (view.group == &group && !own_range(view, extent).empty()) {
      expected.push_back(own_range(view, extent));
    }
  }
  std::ranges::sort(expected, {}, &LocalRange::begin);
  EXPECT_TRUE(std::ranges::equal(ranges, expected, are_equal));
  int64_t at = 0;
  size_t bucket = 0;
  for (const LocalRange& range : ranges) {
    EXPECT_LE(at, range.begin);
    EXPECT_LT(range.begin, range.end);
    EXPECT_LE(bucket, range.bucket);
    at = range.end;
    bucket = range.bucket;
  }
  EXPECT_LE(at, extent == BufferExtent::whole ? group.numel : group.numel / group.num_shards);
}

// own_shard() of a buffer, which optimizer and reduction go by, has the range where own_place() says.
void expect_own_parts_to_have(const ParameterGroup& group, const Tensor& buffer) {
  for (const LocalRange& range : own_ranges(group, extent_of(group, buffer))) {
    const ParameterBucket& bucket = group.buckets[range.bucket];
    const IndexRange own = own_place(group, bucket, extent_of(group, buffer));
    const Tensor part = group.own_shard(bucket, buffer);
    EXPECT_EQ(part.numel(), own.size());
    EXPECT_EQ(part.slice(range.begin - own.begin, range.end - own.begin).raw(), range.in(buffer).raw());
  }
}

/// How often each element of each tensor is owned, and where the last range of a block ended.
struct Census {
  std::map<std::string, std::vector<int>> owners;

  void count(const LocalRange& range) {
    const Parameter& p = *range.parameter;
    std::vector<int>& of = owners[p.name];
    of.resize(static_cast<size_t>(p.global_shape.numel()));
    std::vector<size_t> whole(static_cast<size_t>(p.shape.numel()));
    for_each_element(p, [&](size_t i, size_t global) { whole[i] = global; });
    for (int64_t i = range.first; i < range.first + range.size(); ++i) {
      const auto global = static_cast<size_t>(global_index(p, i));
      EXPECT_EQ(global, whole[static_cast<size_t>(i)]);
      ++of.at(global);
    }
  }
};

void expect_ranges_of_rank(const Rank& rank, Census& census, std::map<std::string, int64_t>& next,
                           bool counts_experts, bool counts_others) {
  for (const ParameterView& view : rank.storage->parameters()) {
    SCOPED_TRACE(view.parameter->name);
    expect_elements_where_the_parts_say(view);
    if (!(view.group->experts ? counts_experts : counts_others)) continue;  // the same part once more
    const LocalRange range = own_range(view, BufferExtent::whole);
    census.count(range);
    if (range.empty()) continue;
    EXPECT_EQ(range.first, next[view.parameter->name]) << "not in the order of the ranks";
    next[view.parameter->name] = range.first + range.size();
  }
  for (const ParameterGroup& group : rank.storage->groups()) {
    for (const BufferExtent extent : kExtents) expect_all_in_order(*rank.storage, group, extent);
    for (const Tensor& buffer : {group.weights, group.master, group.gradients}) {
      if (buffer) expect_own_parts_to_have(group, buffer);
    }
  }
}

void expect_each_element_once(uint64_t seed) {
  Context ctx;
  DrawnLayout layout(seed);
  const ShardingSpec& d = layout.sharding;
  SCOPED_TRACE(fmt::format("seed {}: ZeRO {}, {} parts, {} of experts, buckets of {} bytes, {} tensor ranks",
                           seed, d.zero_stage, d.num_shards, d.num_expert_shards, d.bucket_bytes,
                           layout.tensor_ranks));
  Census census;
  for (int tensor_rank = 0; tensor_rank < layout.tensor_ranks; ++tensor_rank) {
    std::map<std::string, int64_t> next;  // of each parameter: the first element that nobody had yet
    for (int part = 0; part < std::max(d.num_shards, d.num_expert_shards); ++part) {
      const Rank rank = layout.rank(ctx, tensor_rank, part);
      expect_ranges_of_rank(rank, census, next, part < d.num_expert_shards, part < d.num_shards);
    }
  }
  for (size_t b = 0; b < layout.blocks.size(); ++b) {
    for (size_t m = 0; m < layout.blocks[b].rows.size(); ++m) {
      const Parameter p = layout.parameter(b, m, 0);
      const std::vector<int> each(static_cast<size_t>(p.global_shape.numel()), p.num_copies);
      EXPECT_EQ(census.owners[p.name], each) << p.name;
    }
  }
}

TEST(LocalRanges, EveryElementHasOneOwnerInDrawnLayouts) {
  const uint64_t num_layouts = whole_tier() ? 1000 : is_short_under_sanitizer() ? 20 : 100;
  for (uint64_t i = 0; i < num_layouts && !testing::Test::HasFailure(); ++i) {
    expect_each_element_once(test_seed() + i);
  }
}

using Row = std::tuple<std::string, size_t, int64_t, int64_t, int64_t>;  // name, bucket, begin, end, first

/// Matrices c (5,000 elements) and q, k (1,200 and 600, one block), a vector v and the matrix e of an expert;
/// part `part` of three, or of two.
Rank small_rank(Context& ctx, int64_t bucket_bytes, int part) {
  Rank rank;
  rank.blocks = {single(Parameter::whole("v", {700}, 0, 1)),
                 {},
                 single(Parameter::whole("e", {30, 40}, 0, 1)),
                 single(Parameter::whole("c", {50, 100}, 0, 1))};
  rank.blocks[1].members = {Parameter::whole("q", {20, 60}, 0, 1), Parameter::whole("k", {10, 60}, 0, 1)};
  rank.blocks[2].members[0].expert = 0;
  rank.store(ctx, DType::f32,
             {.zero_stage = 2,
              .num_shards = 3,
              .shard = part,
              .num_expert_shards = 2,
              .expert_shard = part % 2,
              .bucket_bytes = bucket_bytes});
  return rank;
}

std::vector<Row> rows_of(const Rank& rank, BufferExtent extent, bool matrices = true, bool experts = false) {
  std::vector<Row> rows;
  for (const ParameterGroup& group : rank.storage->groups()) {
    if (group.matrices != matrices || group.experts != experts) continue;
    for (const LocalRange& r : own_ranges(group, extent))
      rows.emplace_back(r.parameter->name, r.bucket, r.begin, r.end, r.first);
  }
  return rows;
}

TEST(LocalRanges, ABucketForEachBlock) {
  Context ctx;
  const Rank first = small_rank(ctx, 1, 0), second = small_rank(ctx, 1, 1), third = small_rank(ctx, 1, 2);
  EXPECT_THAT(rows_of(first, BufferExtent::whole),
              ElementsAre(Row("c", 0, 0, 2048, 0), Row("q", 1, 6144, 7168, 0)));
  EXPECT_THAT(rows_of(first, BufferExtent::sharded),
              ElementsAre(Row("c", 0, 0, 2048, 0), Row("q", 1, 2048, 3072, 0)));
  EXPECT_THAT(
      rows_of(second, BufferExtent::whole),
      ElementsAre(Row("c", 0, 2048, 4096, 2048), Row("q", 1, 7168, 7344, 1024), Row("k", 1, 7344, 7944, 0)));
  EXPECT_THAT(
      rows_of(second, BufferExtent::sharded),
      ElementsAre(Row("c", 0, 0, 2048, 2048), Row("q", 1, 2048, 2224, 1024), Row("k", 1, 2224, 2824, 0)));
  EXPECT_THAT(rows_of(third, BufferExtent::whole), ElementsAre(Row("c", 0, 4096, 5000, 4096)));
  EXPECT_THAT(rows_of(third, BufferExtent::sharded), ElementsAre(Row("c", 0, 0, 904, 4096)));
}

TEST(LocalRanges, BlocksThatShareABucket) {
  Context ctx;
  const int64_t large = int64_t{25} << 20;
  const Rank first = small_rank(ctx, large, 0), second = small_rank(ctx, large, 1),
             third = small_rank(ctx, large, 2);
  EXPECT_THAT(rows_of(first, BufferExtent::whole), ElementsAre(Row("c", 0, 0, 3072, 0)));
  EXPECT_THAT(rows_of(second, BufferExtent::whole),
              ElementsAre(Row("c", 0, 3072, 5000, 3072), Row("q", 0, 5120, 6144, 0)));
  EXPECT_THAT(rows_of(second, BufferExtent::sharded),
              ElementsAre(Row("c", 0, 0, 1928, 3072), Row("q", 0, 2048, 3072, 0)));
  EXPECT_THAT(rows_of(third, BufferExtent::sharded),
              ElementsAre(Row("q", 0, 0, 176, 1024), Row("k", 0, 176, 776, 0)));
}

TEST(LocalRanges, VectorsAndExpertsGoByTheirOwnParts) {
  Context ctx;
  const Rank first = small_rank(ctx, 1, 0), second = small_rank(ctx, 1, 1);
  EXPECT_THAT(rows_of(first, BufferExtent::sharded, false), ElementsAre(Row("v", 0, 0, 700, 0)));
  EXPECT_THAT(rows_of(second, BufferExtent::sharded, false), IsEmpty());
  EXPECT_THAT(rows_of(first, BufferExtent::sharded, true, true), ElementsAre(Row("e", 0, 0, 1024, 0)));
  EXPECT_THAT(rows_of(second, BufferExtent::sharded, true, true), ElementsAre(Row("e", 0, 0, 176, 1024)));
}

TEST(LocalRanges, AnElementOfABlockInTheWholeTensor) {
  Parameter p;
  p.global_shape = {4, 6};
  p.offset = {1, 2};
  p.shape = {2, 3};
  EXPECT_EQ(global_index(p, 0), 8);
  EXPECT_EQ(global_index(p, 2), 10);
  EXPECT_EQ(global_index(p, 3), 14);
  EXPECT_EQ(global_index(Parameter::part_of("v", {9}, 0, {4, 7}, 0, 1), 2), 6);
}

TEST(LocalRanges, Intersection) {
  const IndexRange both = intersection({2, 7}, {5, 9}), none = intersection({2, 5}, {5, 9});
  EXPECT_EQ(both.begin, 5);
  EXPECT_EQ(both.end, 7);
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.size(), 0);
}

}  // namespace
}  // namespace trireme::test
