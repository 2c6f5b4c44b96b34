#include "models/inference/packed_rows.h"

#include <algorithm>

#include "runtime/base/parallel_for.h"

namespace trireme {

namespace {

Parameter rows_of(const Parameter& p, int64_t begin, int64_t count) {
  Parameter rows = p;
  rows.offset = {p.offset[0] + begin, p.offset[1]};
  rows.shape = {count, p.shape[1]};
  return rows;
}

}  // namespace

PackedRows::PackedRows(Context& ctx, const WeightSource& source, std::span<const PackedMember> members)
    : source_(source), members_(members), begins_{0}, whole_(members.size()) {
  for (size_t i = 0; i < members.size(); ++i) {
    begins_.push_back(begins_.back() + members[i].parameter->shape[0]);
    const auto& stored = members[i].stored;
    if (!stored || stored->transposed) read_whole(ctx, i);
  }
}

bool PackedRows::are_as_stored() const {
  return std::ranges::all_of(members_, [](const PackedMember& m) {
    return m.stored && m.stored->row && m.stored->format == m.spec.format && !m.spec.sparse;
  });
}

PackedRows::Place PackedRows::place_of(int64_t row) const {
  const auto next = std::ranges::upper_bound(begins_, row);
  const auto member = static_cast<size_t>(next - begins_.begin()) - 1;
  return {member, row - begins_[member]};
}

const std::byte* PackedRows::stored(int64_t row) const {
  const Place place = place_of(row);
  return members_[place.member].stored->row(place.row);
}

void PackedRows::read(int64_t row, std::span<float> values) {
  if (!attempt([&] { read_member(place_of(row), values); })) std::ranges::fill(values, 0.0f);
}

void PackedRows::read_member(const Place& place, std::span<float> values) const {
  const PackedMember& member = members_[place.member];
  const Parameter* parameter = member.parameter;
  const auto& stored = member.stored;
  const std::vector<float>& whole = whole_[place.member];
  if (stored && stored->row) {
    decode_row(stored->format, stored->row(place.row), values);
  } else if (!whole.empty()) {
    std::copy_n(whole.begin() + place.row * parameter->shape[1], values.size(), values.begin());
  } else {
    source_.read(parameter->name, rows_of(*parameter, place.row, 1), values);
  }
}

void PackedRows::read_whole(Context& ctx, size_t member) {
  const Parameter& p = *members_[member].parameter;
  const int64_t width = p.shape[1];
  std::vector<float>& values = whole_[member];
  values.resize(static_cast<size_t>(p.shape.numel()));
  // So many neighbours of a column that what is read with each of its elements is used.
  constexpr int64_t kRows = 128;
  parallel_for(ctx.num_threads(), (p.shape[0] + kRows - 1) / kRows, 1, [&](int64_t first, int64_t last) {
    for (int64_t begin = first * kRows; begin < std::min(last * kRows, p.shape[0]); begin += kRows) {
      const int64_t count = std::min(kRows, p.shape[0] - begin);
      attempt([&] {
        source_.read(p.name, rows_of(p, begin, count),
                     std::span(values).subspan(static_cast<size_t>(begin * width),
                                               static_cast<size_t>(count * width)));
      });
    }
  });
  rethrow();
}

template <class Attempt>
bool PackedRows::attempt(const Attempt& attempt) noexcept {
  try {
    attempt();
    return true;
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::current_exception();
    return false;
  }
}

void PackedRows::rethrow() const {
  if (error_) std::rethrow_exception(error_);
}

}  // namespace trireme
