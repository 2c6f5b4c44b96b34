#include "parallel/training/nonfinite.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "parallel/module/local_ranges.h"
#include "runtime/io/json/json_file.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/training/finite.h"

namespace trireme {

namespace {

int64_t first_nonfinite(Context& ctx, const Tensor& t) {
  const Tensor first = Tensor::empty(ctx, {1}, DType::i64, MemoryCategory::buffers);
  ops::find_nonfinite(ctx, t, first);
  return ops::value_of<int64_t>(ctx, first);
}

// What a member of a block holds of a tensor that is laid out like the block.
template <class Body>
void for_each_member(const ParameterBlock& block, const Tensor& t, Body&& body) {
  int64_t at = 0;
  for (const Parameter& p : block.members) {
    body(p, t.flat_slice(at, p.shape));
    at += p.shape.numel();
  }
}

std::string to_text(const NonFinite& n) {
  return nlohmann::json{static_cast<int64_t>(n.kind),
                        n.layer,
                        n.tensor,
                        n.element,
                        n.rank,
                        n.micro_batch,
                        n.first_sample,
                        n.num_samples}
      .dump();
}

NonFinite from_text(const std::string& text) {
  const auto json = parse_json(text, "the report of a rank");
  return {static_cast<NonFiniteKind>(json[0].get<int64_t>()),
          json[1],
          json[2],
          json[3],
          json[4],
          json[5],
          json[6],
          json[7]};
}

}  // namespace

std::string_view to_string(NonFiniteKind kind) {
  constexpr std::string_view kNames[] = {"weight", "activation", "gradient"};
  return kNames[static_cast<size_t>(kind)];
}

std::string describe(const NonFinite& n) {
  std::string text = fmt::format("{}: {}", to_string(n.kind), n.tensor);
  if (!n.layer.empty()) text += fmt::format(" of {}", n.layer);
  text += fmt::format(", element {}, on rank {}", n.element, n.rank);
  if (n.micro_batch < 0) return text;
  text += fmt::format(", micro-batch {}", n.micro_batch);
  const int64_t last = n.first_sample + n.num_samples - 1;
  return text + (n.num_samples == 1 ? fmt::format(" (sample {})", last)
                                    : fmt::format(" (samples {} to {})", n.first_sample, last));
}

void NonFiniteFinder::enter(int64_t index, const MicroBatch& micro_batch, int stage) {
  index_ = index;
  stage_ = stage;
  first_sample_ = micro_batch.first_sample;
  num_samples_ = micro_batch.batch;
  loss_sum_ = micro_batch.loss_sum;
}

void NonFiniteFinder::before_forward(Context& ctx, const ObservedLayer& layer) {
  for (const ParameterBlock* block : layer.blocks) {
    for_each_member(*block, block->weight, [&](const Parameter& p, const Tensor& t) {
      NonFinite what = here(NonFiniteKind::weight, layer, p.name);
      if (look(ctx, t, forward_key(layer, 0), what)) {
        found_->what.element = global_index(p, found_->what.element);
      }
    });
  }
}

void NonFiniteFinder::after_forward(Context& ctx, const ObservedLayer& layer, const Tensor& y) {
  const bool is_loss = !y;
  if (is_loss && !loss_sum_) return;
  look(ctx, is_loss ? loss_sum_ : y, forward_key(layer, 1),
       here(NonFiniteKind::activation, layer, is_loss ? "loss" : "output"));
}

void NonFiniteFinder::after_backward_input(Context& ctx, const ObservedLayer& layer, const Tensor& dx) {
  if (dx) look(ctx, dx, backward_key(layer, passing), here(NonFiniteKind::gradient, layer, "input gradient"));
  check_gradients(ctx, layer, true);  // vectors may have theirs already
}

void NonFiniteFinder::after_backward_weight(Context& ctx, const ObservedLayer& layer) {
  check_gradients(ctx, layer, false);
}

void NonFiniteFinder::check_gradients(Context& ctx, const ObservedLayer& layer, bool vectors_only) {
  for (const ParameterBlock* block : layer.blocks) {
    if (!block->gradient || (vectors_only && block->is_matrix())) continue;
    for_each_member(*block, block->gradient, [&](const Parameter& p, const Tensor& t) {
      if (look(ctx, t, backward_key(layer, accumulated), here(NonFiniteKind::gradient, layer, p.name))) {
        found_->what.element = global_index(p, found_->what.element);
      }
    });
  }
}

void NonFiniteFinder::check_sums(Context& ctx, const ParameterStorage& storage) {
  for (const ParameterView& view : storage.parameters()) {
    if (view.group->gradients) check_own_shard(ctx, view, view.group->gradients, NonFiniteKind::gradient);
  }
}

void NonFiniteFinder::check_weights(Context& ctx, const ParameterStorage& storage) {
  for (const ParameterView& view : storage.parameters()) {
    const ParameterGroup& group = *view.group;
    check_own_shard(ctx, view, group.master ? group.master : group.weights, NonFiniteKind::weight);
  }
}

// The elements of a parameter that lie in this rank's part of a buffer of its group.
void NonFiniteFinder::check_own_shard(Context& ctx, const ParameterView& view, const Tensor& buffer,
                                      NonFiniteKind kind) {
  const LocalRange own = own_range(view, extent_of(*view.group, buffer));
  if (own.empty()) return;
  NonFinite what;
  what.kind = kind;
  what.tensor = view.parameter->name;
  what.rank = rank_;
  const Key after_all{summed};
  if (look(ctx, own.in(buffer), after_all, what)) {
    found_->what.element = global_index(*view.parameter, own.first + found_->what.element);
  }
}

bool NonFiniteFinder::look(Context& ctx, const Tensor& t, const Key& key, NonFinite what) {
  // Where one micro-batch has added a NaN to a gradient, others that are looked at later see it too.
  const bool is_seen_already = found_ && found_->key[0] == accumulated && key[0] == accumulated;
  if (is_seen_already || (found_ && found_->key <= key)) return false;
  what.element = first_nonfinite(ctx, t);
  if (what.element == t.numel()) return false;
  found_ = {key, std::move(what)};
  return true;
}

NonFiniteFinder::Key NonFiniteFinder::forward_key(const ObservedLayer& layer, int64_t within) const {
  return {passing, index_, 0, stage_, static_cast<int64_t>(layer.index), within};
}

NonFiniteFinder::Key NonFiniteFinder::backward_key(const ObservedLayer& layer, Class what) const {
  return {what, index_, 1, -stage_, -static_cast<int64_t>(layer.index), 0};
}

NonFinite NonFiniteFinder::here(NonFiniteKind kind, const ObservedLayer& layer, std::string tensor) const {
  return {kind, layer.name, std::move(tensor), 0, rank_, index_, first_sample_, num_samples_};
}

std::optional<NonFinite> NonFiniteFinder::agree(Context& ctx, Communicator& world) const {
  struct Entry {
    int64_t is_none = 1;
    Key key{};
    auto operator<=>(const Entry&) const = default;
  };
  constexpr int64_t kNumbers = sizeof(Entry) / sizeof(int64_t);
  Entry mine;
  if (found_) mine = {0, found_->key};
  std::vector<Entry> all(static_cast<size_t>(world.size()));
  world.all_gather(ctx.host_stream(), Tensor::borrow(&mine, {kNumbers}, DType::i64),
                   Tensor::borrow(all.data(), {kNumbers * world.size()}, DType::i64));
  const auto first = std::ranges::min_element(all);  // of equals the lowest rank's
  if (first->is_none != 0) return std::nullopt;
  const int root = static_cast<int>(first - all.begin());
  std::string text = found_ && root == world.rank() ? to_text(found_->what) : "";
  auto length = static_cast<int64_t>(text.size());
  world.broadcast(ctx.host_stream(), Tensor::borrow(&length, {1}, DType::i64), root);
  text.resize(static_cast<size_t>(length));
  world.broadcast(ctx.host_stream(), Tensor::borrow(text.data(), {length}, DType::u8), root);
  return from_text(text);
}

}  // namespace trireme
