#include "launch/verify/weight_copies.h"

#include <array>
#include <map>
#include <string_view>
#include <tuple>
#include <vector>

#include <fmt/format.h>

#include "parallel/module/local_ranges.h"
#include "runtime/ops/host_copy.h"

namespace trireme::launch {

namespace {

enum class Kind : int64_t { master, computed };

/// What a rank holds of a parameter, as plain numbers that can be sent.
struct Piece {
  int64_t parameter = 0;  ///< number in the order of the forward pass
  int64_t kind = 0;
  std::array<int64_t, 2> offset{};  ///< of the rank's block
  int64_t begin = 0, size = 0;      ///< first element in the block, and their number
  int64_t hash = 0;
  int64_t is_rounded = 1;  ///< computed: it is the master, rounded

  auto key() const { return std::tuple(parameter, kind, offset, begin, size); }
};
static_assert(sizeof(Piece) == 8 * sizeof(int64_t));

int64_t hash_of(Context& ctx, const Tensor& t) {
  const std::vector<float> values = ops::to_host_f32(ctx, t);
  const std::string_view bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  return static_cast<int64_t>(std::hash<std::string_view>()(bytes));
}

/// What a rank holds of a view in a buffer of its group: these elements of the rank's block.
struct Held {
  IndexRange elements;
  Tensor values;

  Tensor part(const IndexRange& of) const {
    return values.slice(of.begin - elements.begin, of.end - elements.begin);
  }
};

Held held_of(const ParameterView& view, const Tensor& buffer) {
  const LocalRange range = held_range(view, extent_of(*view.group, buffer));
  if (range.empty()) return {};
  return {{range.first, range.first + range.size()}, range.in(buffer)};
}

bool is_rounded(Context& ctx, const Held& computed, const Held& master) {
  const IndexRange both = intersection(computed.elements, master.elements);
  if (both.empty()) return true;
  const Tensor values = computed.part(both);
  const Tensor rounded = Tensor::empty(ctx, values.shape(), values.dtype(), MemoryCategory::buffers);
  ops::copy(ctx, master.part(both), rounded);
  return ops::to_host_f32(ctx, rounded) == ops::to_host_f32(ctx, values);
}

std::vector<Piece> pieces_of(Context& ctx, Transformer& model,
                             const std::map<std::string, int64_t>& numbers) {
  std::vector<Piece> pieces;
  for (const ParameterView& view : model.storage().parameters()) {
    const ParameterGroup& group = *view.group;
    const Parameter& p = *view.parameter;
    Piece piece{.parameter = numbers.at(p.name)};
    for (int d = 0; d < p.offset.rank(); ++d) piece.offset[static_cast<size_t>(d)] = p.offset[d];
    const bool is_apart = group.master && group.weights.dtype() != DType::f32;
    const Held master = group.master ? held_of(view, group.master) : Held(),
               computed = held_of(view, group.weights);
    const auto add = [&](const Held& held, Kind kind) {
      if (!held.values) return;
      piece.kind = static_cast<int64_t>(kind);
      piece.begin = held.elements.begin;
      piece.size = held.elements.size();
      piece.hash = hash_of(ctx, held.values);
      pieces.push_back(piece);
    };
    if (is_apart) add(master, Kind::master);
    if (is_apart && master.values && computed.values)
      piece.is_rounded = is_rounded(ctx, computed, master) ? 1 : 0;
    add(computed, Kind::computed);
  }
  return pieces;
}

// The pieces of all ranks, each rank's padded to as many.
std::vector<Piece> gather(Context& ctx, Communicator& world, std::vector<Piece> mine) {
  auto most = std::ssize(mine);
  world.all_reduce(ctx.host_stream(), Tensor::borrow(&most, {1}, DType::i64), ReduceOp::max);
  mine.resize(static_cast<size_t>(most), Piece{.parameter = -1});
  std::vector<Piece> all(mine.size() * static_cast<size_t>(world.size()));
  const auto as_tensor = [](std::vector<Piece>& pieces) {
    const auto numbers = static_cast<int64_t>(pieces.size() * sizeof(Piece) / sizeof(int64_t));
    return Tensor::borrow(pieces.data(), {numbers}, DType::i64);
  };
  world.all_gather(ctx.host_stream(), as_tensor(mine), as_tensor(all));
  return all;
}

}  // namespace

std::string differing_weight_copies(Context& ctx, const ParallelContext& parallel, Transformer& model) {
  std::map<std::string, int64_t> numbers;
  std::vector<std::string> names;
  for (const auto& layer : parameters_by_layer(model.config())) {
    for (const Parameter& p : layer) {
      numbers[p.name] = std::ssize(names);
      names.push_back(p.name);
    }
  }
  std::vector<Piece> mine = pieces_of(ctx, model, numbers);
  const size_t num_mine = mine.size();
  const std::vector<Piece> all = gather(ctx, parallel.world(), std::move(mine));
  if (parallel.world().rank() != 0 || num_mine == 0) return "";
  const size_t per_rank = all.size() / static_cast<size_t>(parallel.world().size());
  using Key = decltype(Piece().key());
  std::map<Key, size_t> first;            // of each, where it is
  std::map<int64_t, std::string> unlike;  // by parameter
  for (size_t i = 0; i < all.size(); ++i) {
    const Piece& piece = all[i];
    if (piece.parameter < 0) continue;
    const std::string& name = names[static_cast<size_t>(piece.parameter)];
    const size_t rank = i / per_rank;
    if (piece.is_rounded == 0) {
      unlike.emplace(
          piece.parameter,
          fmt::format("rank {} computes with a different {} than its rounded master weights", rank, name));
    }
    const auto [it, is_new] = first.emplace(piece.key(), i);
    if (is_new || all[it->second].hash == piece.hash) continue;
    unlike.emplace(piece.parameter, fmt::format("ranks {} and {} have different {}{}", it->second / per_rank,
                                                rank, piece.kind == 0 ? "masters of " : "", name));
  }
  return unlike.empty() ? "" : unlike.begin()->second;
}

}  // namespace trireme::launch
