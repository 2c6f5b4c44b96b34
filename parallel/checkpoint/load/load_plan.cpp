#include "parallel/checkpoint/load/load_plan.h"

#include <algorithm>
#include <map>
#include <queue>
#include <unordered_map>

#include <fmt/ranges.h>

#include "runtime/base/error.h"

namespace trireme {

namespace {

/// The stored slices of one tensor, ordered by where they begin on the outermost dim.
struct TensorIndex {
  std::vector<size_t> slices;
  std::vector<int64_t> ends;  ///< the furthest end among the slices up to each
};
using Tensors = std::unordered_map<std::string_view, TensorIndex>;

int64_t begin_of(const Box& box) { return box.offset.rank() == 0 ? 0 : box.offset[0]; }
int64_t end_of(const Box& box) { return box.offset.rank() == 0 ? 1 : box.offset[0] + box.extent[0]; }

Tensors index_of(std::span<const StoredSlice> stored) {
  Tensors tensors;
  for (size_t i = 0; i < stored.size(); ++i) tensors[stored[i].slice.name].slices.push_back(i);
  for (auto& [name, tensor] : tensors) {
    std::ranges::stable_sort(tensor.slices, {}, [&](size_t i) { return begin_of(stored[i].slice.box); });
    int64_t furthest = 0;
    for (const size_t i : tensor.slices)
      tensor.ends.push_back(furthest = std::max(furthest, end_of(stored[i].slice.box)));
  }
  return tensors;
}

/// Calls `take(slice, part)` for all stored slices that have elements of the box.
template <class Take>
void for_each_overlap(const TensorIndex& tensor, std::span<const StoredSlice> stored, const Box& box,
                      Take&& take) {
  const auto first = std::ranges::upper_bound(tensor.ends, begin_of(box));
  for (auto i = static_cast<size_t>(first - tensor.ends.begin()); i < tensor.slices.size(); ++i) {
    const size_t slice = tensor.slices[i];
    if (begin_of(stored[slice].slice.box) >= end_of(box)) return;
    if (const auto part = intersection(stored[slice].slice.box, box)) take(slice, *part);
  }
}

std::string fault_of(const Slice& wanted, const Tensors& tensors, std::span<const StoredSlice> stored) {
  const auto found = tensors.find(wanted.name);
  if (found == tensors.end()) return fmt::format("{} is missing", wanted.name);
  const Slice& there = stored[found->second.slices.front()].slice;
  if (there.shape != wanted.shape)
    return fmt::format("{} is {}, expected {}", wanted.name, to_string(there.shape), to_string(wanted.shape));
  if (there.dtype != wanted.dtype)
    return fmt::format("{} is of {}, expected {}", wanted.name, to_string(there.dtype),
                       to_string(wanted.dtype));
  return "";
}

[[noreturn]] void refuse(std::vector<std::string> errors, const std::string& path) {
  constexpr size_t kMost = 5;
  const size_t num_errors = errors.size();
  errors.resize(std::min(num_errors, kMost));
  if (num_errors > kMost) errors.push_back(fmt::format("{} more", num_errors - kMost));
  throw_user(ExitCode::checkpoint, "{} does not fit this run: {}", path, fmt::join(errors, "; "));
}

/// The different boxes that are wanted, and by whom.
struct WantedBoxes {
  std::vector<const Slice*> boxes;
  std::vector<std::vector<int>> ranks;
  std::vector<std::vector<size_t>> box_of;
};

struct SliceHash {
  size_t operator()(const Slice* slice) const {
    uint64_t h = std::hash<std::string_view>()(slice->name);
    const auto add = [&](const Shape& shape) {
      for (const int64_t x : shape.dims())
        h = (h ^ static_cast<uint64_t>(x)) * 0x9e3779b97f4a7c15ull + (h >> 31);
    };
    add(slice->box.offset);
    add(slice->box.extent);
    return static_cast<size_t>(h ^ (h >> 32));
  }
};
struct SameSlice {
  bool operator()(const Slice* a, const Slice* b) const { return *a == *b; }
};

WantedBoxes boxes_of(const std::vector<std::vector<Slice>>& wanted) {
  WantedBoxes out;
  size_t num_wanted = 0;
  for (const auto& slices : wanted) num_wanted += slices.size();
  std::unordered_map<const Slice*, size_t, SliceHash, SameSlice> numbers;
  numbers.reserve(num_wanted);
  for (size_t rank = 0; rank < wanted.size(); ++rank) {
    std::vector<size_t>& box_of = out.box_of.emplace_back();
    for (const Slice& slice : wanted[rank]) {
      const auto [it, is_new] = numbers.emplace(&slice, out.boxes.size());
      if (is_new) out.boxes.push_back(&slice), out.ranks.emplace_back();
      std::vector<int>& ranks = out.ranks[it->second];
      if (ranks.empty() || ranks.back() != static_cast<int>(rank)) ranks.push_back(static_cast<int>(rank));
      box_of.push_back(it->second);
    }
  }
  return out;
}

/// Chooses readers: the one of a set of ranks that reads the least so far. Sets are few, so each has a queue,
/// in which a rank that has read more for another set goes back to its place when it comes up.
class Readers {
 public:
  explicit Readers(const std::vector<std::vector<int>>& wanted_by, size_t num_ranks) : bytes_(num_ranks) {
    constexpr size_t kNone = ~size_t{0};
    std::vector<size_t> alone(num_ranks, kNone);  // most are wanted by one
    std::map<std::vector<int>, size_t> sets;
    set_of_.reserve(wanted_by.size());
    for (const std::vector<int>& ranks : wanted_by) {
      size_t& set = ranks.size() == 1 ? alone[static_cast<size_t>(ranks.front())]
                                      : sets.emplace(ranks, kNone).first->second;
      if (set == kNone) {
        set = queues_.size();
        queues_.emplace_back();
        for (const int rank : ranks) queues_.back().push({0, rank});
      }
      set_of_.push_back(set);
    }
  }

  int choose(size_t wanted, int64_t bytes) {
    auto& queue = queues_[set_of_[wanted]];
    while (queue.top().first < bytes_[static_cast<size_t>(queue.top().second)]) {
      const int rank = queue.top().second;
      queue.pop();
      queue.push({bytes_[static_cast<size_t>(rank)], rank});
    }
    const int reader = queue.top().second;
    queue.pop();
    queue.push({bytes_[static_cast<size_t>(reader)] += bytes, reader});
    return reader;
  }

 private:
  using Entry = std::pair<int64_t, int>;
  std::vector<int64_t> bytes_;
  std::vector<size_t> set_of_;
  std::vector<std::priority_queue<Entry, std::vector<Entry>, std::greater<>>> queues_;
};

/// Each reader's first slice, then each one's second: so that all of them have something to read at any time.
void take_turns(std::vector<PlannedRead>& reads, size_t num_ranks) {
  std::vector<std::vector<PlannedRead>> rounds;
  std::vector<size_t> num_of(num_ranks);
  for (PlannedRead& read : reads) {
    const size_t round = num_of[static_cast<size_t>(read.reader)]++;
    if (round == rounds.size()) rounds.emplace_back();
    rounds[round].push_back(std::move(read));
  }
  reads.clear();
  for (auto& round : rounds) std::ranges::move(round, std::back_inserter(reads));
}

}  // namespace

LoadPlan make_load_plan(std::span<const StoredSlice> stored, const std::vector<std::vector<Slice>>& wanted,
                        const std::string& path) {
  const Tensors tensors = index_of(stored);
  WantedBoxes boxes = boxes_of(wanted);
  std::vector<std::string> errors;
  std::vector<std::vector<Delivery>> deliveries(stored.size());
  for (size_t i = 0; i < boxes.boxes.size(); ++i) {
    const Slice& slice = *boxes.boxes[i];
    if (slice.box.numel() == 0) continue;
    TRIREME_CHECK(fits(slice.box, slice.shape), "{} of {}", to_string(slice), to_string(slice.shape));
    std::string fault = fault_of(slice, tensors, stored);
    if (!fault.empty()) {
      if (errors.empty() || errors.back() != fault) errors.push_back(std::move(fault));
      continue;
    }
    for_each_overlap(tensors.at(slice.name), stored, slice.box, [&](size_t at, const Box& part) {
      deliveries[at].push_back({part, i});
    });
  }
  if (!errors.empty()) refuse(std::move(errors), path);

  LoadPlan plan;
  Readers readers(boxes.ranks, wanted.size());
  for (size_t i = 0; i < stored.size(); ++i) {
    if (deliveries[i].empty()) continue;
    const auto most = std::ranges::max_element(
        deliveries[i], {}, [](const Delivery& delivery) { return delivery.part.numel(); });
    const int reader = readers.choose(most->wanted, stored[i].slice.bytes());
    plan.reads.push_back({i, reader, std::move(deliveries[i])});
  }
  take_turns(plan.reads, wanted.size());
  plan.wanted_by = std::move(boxes.ranks);
  plan.box_of = std::move(boxes.box_of);
  return plan;
}

}  // namespace trireme
