#include "parallel/checkpoint/vote.h"

#include <cstdint>

#include "runtime/device/cpu/cpu_device.h"

namespace trireme {

namespace {

struct Failure {
  int64_t num_ranks = 0, first = 0;
  std::string words;
};

Failure find_failure(Communicator& ranks, const std::string& own) {
  const auto stream = cpu::make_compute_stream();
  // How many ranks failed.
  int64_t num_failed = own.empty() ? 0 : 1;
  ranks.all_reduce(*stream, Tensor::borrow(&num_failed, {1}, DType::i64));
  if (num_failed == 0) return {};
  int64_t first = own.empty() ? ranks.size() : ranks.rank();
  ranks.all_reduce(*stream, Tensor::borrow(&first, {1}, DType::i64), ReduceOp::min);
  std::string words = own;
  auto size = static_cast<int64_t>(words.size());
  ranks.broadcast(*stream, Tensor::borrow(&size, {1}, DType::i64), static_cast<int>(first));
  words.resize(static_cast<size_t>(size));
  ranks.broadcast(*stream, Tensor::borrow(words.data(), {size}, DType::u8), static_cast<int>(first));
  return {num_failed, first, words};
}

}  // namespace

std::string first_failure(Communicator& ranks, const std::string& own) {
  const Failure found = find_failure(ranks, own);
  if (found.num_ranks == 0) return "";
  const std::string more = found.num_ranks > 1 ? fmt::format(" (and {} more)", found.num_ranks - 1) : "";
  return fmt::format("rank {}{}: {}", found.first, more, found.words);
}

std::string first_words(Communicator& ranks, const std::string& own) {
  return find_failure(ranks, own).words;
}

ProofHash sum_over_ranks(Communicator& ranks, const ProofHash& own) {
  // Four numbers of 32 bits, whose sums over ranks do not overflow.
  constexpr uint64_t kHalf = 0xffffffffull;
  const ops::Sum128& sum = own.sum();
  int64_t parts[4] = {static_cast<int64_t>(sum.low & kHalf), static_cast<int64_t>(sum.low >> 32),
                      static_cast<int64_t>(sum.high & kHalf), static_cast<int64_t>(sum.high >> 32)};
  const auto stream = cpu::make_compute_stream();
  ranks.all_reduce(*stream, Tensor::borrow(parts, {4}, DType::i64));
  ops::Sum128 all;
  all += {0, static_cast<uint64_t>(parts[0])};
  all += {static_cast<uint64_t>(parts[1]) >> 32, static_cast<uint64_t>(parts[1]) << 32};
  all += {static_cast<uint64_t>(parts[2]), 0};
  all += {static_cast<uint64_t>(parts[3]) << 32, 0};
  return ProofHash(all);
}

}  // namespace trireme
