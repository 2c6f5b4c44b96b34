#include "models/compress/held_weights.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "models/inference/packed_loader.h"
#include "runtime/base/error.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

namespace {

using ops::CodedMatrix;

bool has_all_columns(const Parameter& p) { return p.shape[1] == p.global_shape[1]; }

// Rows with all their columns, of matrices with any order of these.
CodedMatrix rows_of_codes(const CodedMatrix& whole, int64_t begin, int64_t count) {
  const auto cut = [&](const auto& values, int64_t width) {
    auto first = values.begin() + begin * width;
    return std::decay_t<decltype(values)>(first, first + count * width);
  };
  CodedMatrix part{.spec = whole.spec,
                   .outputs = count,
                   .inputs = whole.inputs,
                   .codes = cut(whole.codes, whole.inputs),
                   .scales = cut(whole.scales, whole.groups()),
                   .zeros = {},
                   .order = whole.order};
  if (!whole.zeros.empty()) part.zeros = cut(whole.zeros, whole.groups());
  return part;
}

std::vector<float> decoded(const CodedMatrix& matrix, const Parameter& p, int64_t first_row,
                           int64_t first_column) {
  std::vector<float> values, row(static_cast<size_t>(matrix.inputs));
  for (int64_t r = first_row; r < first_row + p.shape[0]; ++r) {
    ops::decode_row(matrix, r, row);
    values.insert(values.end(), row.begin() + first_column, row.begin() + first_column + p.shape[1]);
  }
  return values;
}

int64_t num_matrices(const ParameterBlock& block) {
  return block.is_of_experts() ? block.members.back().expert - block.members.front().expert + 1 : 1;
}

}  // namespace

HeldWeights::HeldWeights(Context& ctx, InferenceModel& model, const FoldedWeights& weights,
                         ops::Activations activations)
    : ctx_(ctx),
      weights_(weights),
      compute_type_(model.model().part().boundary.dtype),
      activations_(activations) {
  for (ParameterBlock* block : model.model().part().blocks()) {
    for (size_t m = 0; m < block->members.size(); ++m) places_[block->members[m].name] = {block, m};
  }
}

ParameterBlock* HeldWeights::find(const std::string& name) const {
  const auto found = places_.find(name);
  return found == places_.end() ? nullptr : found->second.block;
}

const Parameter& HeldWeights::held(const std::string& name) const {
  const Place& place = places_.at(name);
  return place.block->members[place.member];
}

void HeldWeights::set(const std::string& name, const CodedMatrix& whole) {
  if (find(name) == nullptr) return;
  const Parameter& p = held(name);
  Content& content = contents_[name];
  if (has_all_columns(p)) {
    content.codes = rows_of_codes(whole, p.offset[0], p.shape[0]);
  } else if (whole.order.empty() && ops::is_whole_groups(whole, p.offset[1], p.shape[1])) {
    content.codes = ops::part_of(whole, p.offset[0], p.shape[0], p.offset[1], p.shape[1]);
  } else {
    content.values = decoded(whole, p, p.offset[0], p.offset[1]);
  }
}

void HeldWeights::set(const std::string& name, std::span<const float> whole) {
  if (find(name) == nullptr) return;
  const Parameter& p = held(name);
  const int64_t inputs = p.global_shape[1];
  TRIREME_CHECK(std::ssize(whole) == p.global_shape.numel(), "{}: {} values", name, whole.size());
  Content& content = contents_[name];
  content = {};
  for (int64_t r = p.offset[0]; r < p.offset[0] + p.shape[0]; ++r) {
    const auto row = whole.begin() + r * inputs + p.offset[1];
    content.values.insert(content.values.end(), row, row + p.shape[1]);
  }
}

void HeldWeights::set_from(const std::string& name, const WeightSource& from) {
  if (find(name) == nullptr) return;
  const Parameter& p = held(name);
  if (p.shape.rank() == 2) {
    Parameter whole = p;
    whole.offset = {0, 0};
    whole.shape = p.global_shape;
    if (const auto codes = from.coded(name, whole)) return set(name, *codes);
  }
  std::vector<float> values(static_cast<size_t>(p.shape.numel()));
  if (!values.empty()) from.read(name, p, values);
  if (values != weights_.read(p)) contents_[name].values = std::move(values);
}

void HeldWeights::refresh(const std::string& name) {
  ParameterBlock* block = find(name);
  if (block == nullptr) return;
  if (!block->packed) {
    block->weight = plain(*block);
  } else {
    const bool has_codes =
        std::ranges::any_of(block->members, [&](const Parameter& p) { return kind_of(p) == Kind::codes; });
    auto packed = std::make_shared<PackedBlock>();
    packed->activations = has_codes ? activations_ : block->packed->activations;
    packed->parts = pack(*block);
    block->packed = std::move(packed);
  }
  for (const Parameter& p : block->members) contents_.erase(p.name);
}

HeldWeights::Kind HeldWeights::kind_of(const Parameter& p) const {
  const auto found = contents_.find(p.name);
  if (found != contents_.end()) return found->second.codes ? Kind::codes : Kind::values;
  return weights_.is_folded(p.name) ? Kind::values : Kind::as_loaded;
}

bool HeldWeights::is_alike(const Parameter& a, const Parameter& b) const {
  if (kind_of(a) != kind_of(b)) return false;
  if (kind_of(a) != Kind::codes) return true;
  return contents_.at(a.name).codes->spec == contents_.at(b.name).codes->spec;
}

bool HeldWeights::has_same_order(const Parameter& a, const Parameter& b) const {
  if (kind_of(a) != Kind::codes || kind_of(b) != Kind::codes) return true;
  return contents_.at(a.name).codes->order == contents_.at(b.name).codes->order;
}

std::vector<float> HeldWeights::values_of(const Parameter& p) const {
  const auto found = contents_.find(p.name);
  if (found == contents_.end()) return weights_.read(p);
  return found->second.codes ? decoded(*found->second.codes, p, 0, 0) : found->second.values;
}

Tensor HeldWeights::plain(const ParameterBlock& block) const {
  std::vector<float> values;
  for (const Parameter& p : block.members) {
    const std::vector<float> of_member = values_of(p);
    values.insert(values.end(), of_member.begin(), of_member.end());
  }
  const Tensor weight = Tensor::empty(ctx_, block.shape(), block.weight.dtype(), MemoryCategory::weights);
  ops::copy(ctx_, ops::to_device(ctx_, values, block.shape()), weight);
  return weight;
}

std::vector<ops::PackedWeight> HeldWeights::pack(const ParameterBlock& block) const {
  const std::span<const Parameter> members(block.members);
  const auto alike = [&](const Parameter& p) { return is_alike(p, members.front()); };
  std::vector<ops::PackedWeight> parts;
  if (block.is_of_experts()) {  // all in one part; orders of inputs are of each expert
    bool have_orders = true;
    for (size_t m = 1; m < members.size(); ++m)
      have_orders &= members[m].expert != members[m - 1].expert || has_same_order(members[m], members[m - 1]);
    if (have_orders && std::ranges::all_of(members, alike))
      append_run(block, members, num_matrices(block), parts);
    else
      parts.push_back(pack_values(members, num_matrices(block)));
    return parts;
  }
  for (size_t begin = 0, end = 0; begin < members.size(); begin = end) {
    while (end < members.size() && is_alike(members[begin], members[end]) &&
           has_same_order(members[begin], members[end]))
      ++end;
    append_run(block, members.subspan(begin, end - begin), 1, parts);
  }
  return parts;
}

void HeldWeights::append_run(const ParameterBlock& block, std::span<const Parameter> run, int64_t matrices,
                             std::vector<ops::PackedWeight>& parts) const {
  switch (kind_of(run.front())) {
    case Kind::codes:
      parts.push_back(pack_codes(run, matrices));
      return;
    case Kind::values:
      parts.push_back(pack_values(run, matrices));
      return;
    case Kind::as_loaded:
      break;
  }
  const InferenceOptions options{.compute_type = compute_type_, .activations = block.packed->activations};
  PackedLoader loader(ctx_, weights_.source(), options);
  ParameterBlock loaded;
  loaded.members.assign(run.begin(), run.end());
  loader.load(loaded);
  parts.insert(parts.end(), loaded.packed->parts.begin(), loaded.packed->parts.end());
}

ops::PackedWeight HeldWeights::pack_values(std::span<const Parameter> members, int64_t matrices) const {
  const int64_t inputs = members.front().shape[1];
  std::vector<float> values;
  for (const Parameter& p : members) {
    const std::vector<float> of_member = values_of(p);
    values.insert(values.end(), of_member.begin(), of_member.end());
  }
  const int64_t rows = std::ssize(values) / inputs;
  return ops::pack_rows(ctx_, {*format_of(compute_type_)}, matrices, rows / matrices, inputs,
                        [&](int64_t row, std::span<float> to) {
                          std::copy_n(values.begin() + row * inputs, inputs, to.begin());
                        });
}

ops::PackedWeight HeldWeights::pack_codes(std::span<const Parameter> members, int64_t matrices) const {
  std::vector<CodedMatrix> codes;
  for (const Parameter& p : members) codes.push_back(*contents_.at(p.name).codes);
  return ops::pack_coded(ctx_, codes, matrices);
}

}  // namespace trireme
