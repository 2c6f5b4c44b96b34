#include "parallel/checkpoint/load/load_slices.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>

#include "parallel/checkpoint/format/cut_range.h"
#include "parallel/checkpoint/format/slice_file.h"
#include "parallel/checkpoint/load/slice_reader.h"
#include "parallel/checkpoint/vote.h"
#include "runtime/base/error.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme {

namespace {

/// What every rank does in the same order, reader and receivers alike: so they never wait in a circle.
class Loader {
 public:
  Loader(Communicator& group, const std::string& directory, const Manifest& manifest, const LoadPlan& plan,
         std::span<const SliceTarget> targets)
      : group_(group),
        stored_(manifest.stored),
        plan_(plan),
        targets_(targets),
        stream_(cpu::make_compute_stream()),
        targets_of_(plan.wanted_by.size()),
        reader_(directory, stored_, reads_of(plan, group.rank())) {
    const auto& own = plan.box_of[static_cast<size_t>(group.rank())];
    TRIREME_CHECK(own.size() == targets.size(), "{} targets, {} in the plan", targets.size(), own.size());
    for (size_t i = 0; i < own.size(); ++i) targets_of_[own[i]].push_back(i);
  }

  void run() {
    for (const PlannedRead& read : plan_.reads) {
      if (read.reader == group_.rank()) {
        read_and_send(read);
      } else {
        receive(read);
      }
    }
    while (!in_flight_.empty()) finish_oldest();
    if (failure_.empty()) failure_ = reader_.failure();
    const std::string failure = first_failure(group_, failure_);
    if (!failure.empty()) throw UserError(ExitCode::checkpoint, failure);
  }

 private:
  using Piece = std::shared_ptr<std::vector<std::byte>>;

  /// A message to other ranks, or from one for a delivery.
  struct Message {
    std::vector<std::byte> bytes = {};
    std::vector<WorkPtr> works = {};
    Piece piece = nullptr;  // that it is a part of, where it has no bytes of its own
    const Delivery* received_for = nullptr;
    Box part = {};
    size_t size = 0;  // of the part
  };

  /// The first failure stays; whatever happens the others get their messages, worthless as they are.
  template <class Attempt>
  void attempt(Attempt&& attempt) {
    std::string failure = failure_of(attempt);
    if (failure_.empty()) failure_ = std::move(failure);
  }

  void finish_oldest() {
    Message& oldest = in_flight_.front();
    for (const WorkPtr& work : oldest.works) work->wait();
    if (oldest.received_for != nullptr)
      give(*oldest.received_for, oldest.part, oldest.part, std::span(oldest.bytes).first(oldest.size));
    if (!oldest.bytes.empty()) spare_.push_back(std::move(oldest.bytes));
    in_flight_.pop_front();
  }

  /// Ranks put messages in flight in the order of the plan, and wait for those before it only: so the oldest
  /// of all has both its ends, and nobody waits in a circle.
  void put_in_flight(Message message) {
    constexpr size_t kMaxInFlight = 8;
    in_flight_.push_back(std::move(message));
    if (in_flight_.size() > kMaxInFlight) finish_oldest();
  }

  /// Calls `take(part, delivery, box)`, in one order on all ranks, for what deliveries have of each box of a
  /// piece.
  template <class Take>
  void for_each_part(const PlannedRead& read, int64_t first, int64_t end, Take&& take) const {
    for (const BoxOfRun& box : cut_range(stored_.slices[read.slice].slice.box, first, end)) {
      for (const Delivery& delivery : read.deliveries) {
        if (const auto part = intersection(box.box, delivery.part)) take(*part, delivery, box);
      }
    }
  }

  void give(const Delivery& delivery, const Box& part, const Box& around, std::span<const std::byte> bytes) {
    for (const size_t i : targets_of_[delivery.wanted])
      attempt([&] { targets_[i].take(part, around, bytes); });
  }

  void deliver_piece(const PlannedRead& read, int64_t begin, const Piece& piece) {
    const size_t element = size_of(stored_.slices[read.slice].slice.dtype);
    const int64_t first = begin / static_cast<int64_t>(element);
    const int64_t end = first + static_cast<int64_t>(piece->size() / element);
    for_each_part(read, first, end, [&](const Box& part, const Delivery& delivery, const BoxOfRun& box) {
      const auto from = std::span(*piece).subspan(static_cast<size_t>(box.begin) * element,
                                                  static_cast<size_t>(box.box.numel()) * element);
      give(delivery, part, box.box, from);
      if (!is_of_others(delivery)) return;
      const auto size = static_cast<size_t>(part.numel()) * element;
      if (const auto place = place_of_run(part, box.box)) {
        send(delivery, from.subspan(static_cast<size_t>(*place) * element, size), {.piece = piece});
      } else {
        std::vector<std::byte> packed = take_spare(size);
        copy_box(part, element, box.box, from.data(), part, packed.data());
        const std::span<std::byte> bytes(packed.data(), size);
        send(delivery, bytes, {.bytes = std::move(packed)});
      }
    });
  }

  static std::vector<size_t> reads_of(const LoadPlan& plan, int rank) {
    std::vector<size_t> slices;
    for (const PlannedRead& read : plan.reads) {
      if (read.reader == rank) slices.push_back(read.slice);
    }
    return slices;
  }

  bool is_of_others(const Delivery& delivery) const {
    const auto& ranks = plan_.wanted_by[delivery.wanted];
    return ranks.size() > 1 || ranks.front() != group_.rank();
  }

  /// At least so many bytes: a vector that grows and shrinks would be filled with zeros each time.
  std::vector<std::byte> take_spare(size_t size) {
    std::vector<std::byte> bytes;
    if (!spare_.empty()) bytes = std::move(spare_.back()), spare_.pop_back();
    if (bytes.size() < size) bytes.resize(size);
    return bytes;
  }

  /// `message` keeps the bytes alive.
  void send(const Delivery& delivery, std::span<std::byte> bytes, Message message) {
    const Tensor sent = Tensor::borrow(bytes.data(), {std::ssize(bytes)}, DType::u8);
    for (const int rank : plan_.wanted_by[delivery.wanted]) {
      if (rank != group_.rank()) message.works.push_back(group_.send_async(*stream_, sent, rank, "slice"));
    }
    put_in_flight(std::move(message));
  }

  /// Where what arrives of a part belongs, if it is a run there and nowhere else.
  std::byte* place_of(const Delivery& delivery, const Box& part, size_t element) const {
    const std::vector<size_t>& targets = targets_of_[delivery.wanted];
    const SliceTarget& target = targets_[targets.front()];
    if (targets.size() > 1 || target.memory == nullptr) return nullptr;
    const auto place = place_of_run(part, target.slice.box);
    return place ? target.memory + static_cast<size_t>(*place) * element : nullptr;
  }

  void receive_part(const PlannedRead& read, const Delivery& delivery, const Box& part, size_t element) {
    const int64_t size = part.numel() * static_cast<int64_t>(element);
    std::byte* const place = place_of(delivery, part, element);
    std::vector<std::byte> bytes;
    if (place == nullptr) bytes = take_spare(static_cast<size_t>(size));
    const Tensor message = Tensor::borrow(place == nullptr ? bytes.data() : place, {size}, DType::u8);
    WorkPtr work = group_.receive_async(*stream_, message, read.reader, "slice");
    put_in_flight({.bytes = std::move(bytes),
                   .works = {std::move(work)},
                   .received_for = place == nullptr ? &delivery : nullptr,
                   .part = part,
                   .size = static_cast<size_t>(size)});
  }

  /// The reader's next, which gets its memory back from the last who holds it.
  Piece next_piece() {
    return {new std::vector<std::byte>(reader_.next()), [this](std::vector<std::byte>* piece) {
              reader_.give_back(std::move(*piece));
              delete piece;
            }};
  }

  void read_and_send(const PlannedRead& read) {
    const int64_t bytes = stored_.slices[read.slice].slice.bytes();
    for (int64_t at = 0; at < bytes;) {
      const Piece piece = next_piece();
      deliver_piece(read, at, piece);
      at += std::ssize(*piece);
    }
  }

  void receive(const PlannedRead& read) {
    const Slice& slice = stored_.slices[read.slice].slice;
    const bool is_wanted = std::ranges::any_of(
        read.deliveries, [&](const Delivery& delivery) { return !targets_of_[delivery.wanted].empty(); });
    if (!is_wanted) return;
    const size_t element = size_of(slice.dtype);
    const int64_t piece = SliceFile::kPieceBytes / static_cast<int64_t>(element);
    for (int64_t first = 0, count = slice.box.numel(); first < count; first += piece) {
      for_each_part(read, first, std::min(first + piece, count),
                    [&](const Box& part, const Delivery& delivery, const BoxOfRun&) {
                      if (!targets_of_[delivery.wanted].empty()) receive_part(read, delivery, part, element);
                    });
    }
  }

  Communicator& group_;
  const StoredFiles& stored_;
  const LoadPlan& plan_;
  std::span<const SliceTarget> targets_;
  std::unique_ptr<Stream> stream_;
  std::vector<std::vector<size_t>> targets_of_;  // of each wanted box: numbers of this rank's targets
  std::vector<std::vector<std::byte>> spare_;
  std::string failure_;
  SliceReader reader_;
  std::deque<Message> in_flight_;  // goes first: its pieces are the reader's
};

}  // namespace

PartSink into_memory(const Box& box, DType dtype, std::span<std::byte> memory) {
  const size_t element = size_of(dtype);
  TRIREME_CHECK(memory.size() == static_cast<size_t>(box.numel()) * element);
  return [=](const Box& part, const Box& around, std::span<const std::byte> elements) {
    copy_box(part, element, around, elements.data(), box, memory.data());
  };
}

void load_slices(Communicator& group, const std::string& directory, const Manifest& manifest,
                 const LoadPlan& plan, std::span<const SliceTarget> targets) {
  Loader(group, directory, manifest, plan, targets).run();
}

}  // namespace trireme
