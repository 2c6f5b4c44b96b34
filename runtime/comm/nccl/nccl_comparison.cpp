#include "runtime/comm/nccl/nccl_comparison.h"

#include <algorithm>

namespace trireme {

CallComparison::CallComparison(Communicator& host, Stream& stream, const CommCall& call)
    : name_(host.name()), size_(host.size()), mine_(signature_of(call)) {
  const auto gather = [&](auto& mine, auto& all, int64_t count) {
    exchanges_.push_back(host.all_gather_async(stream, Tensor::borrow(&mine, {count}, DType::i64),
                                               Tensor::borrow(all.data(), {count * size_}, DType::i64)));
  };
  const auto n = static_cast<size_t>(size_);
  signatures_.resize(n);
  gather(mine_, signatures_, sizeof(CommSignature) / sizeof(int64_t));
  if (call.kind != CommKind::all_to_all_v) return;
  to_send_ = call.send_counts;
  to_receive_ = call.receive_counts;
  sent_.resize(n * n);
  expected_.resize(n * n);
  gather(to_send_.front(), sent_, size_);
  gather(to_receive_.front(), expected_, size_);
}

bool CallComparison::is_done() {
  return std::ranges::all_of(exchanges_, [](const WorkPtr& work) { return work->is_done(); });
}

void CallComparison::check() {
  for (const WorkPtr& work : exchanges_) work->wait();
  std::string mismatch = describe_mismatch(name_, signatures_);
  if (mismatch.empty() && !sent_.empty()) mismatch = describe_count_mismatch(name_, sent_, expected_, size_);
  if (!mismatch.empty()) throw InternalError(mismatch);
}

}  // namespace trireme
