// Agreement on errors: a failure of one rank ends all ranks in order.
#pragma once

#include <cstdint>
#include <string>

#include "parallel/checkpoint/vote.h"
#include "runtime/base/error.h"
#include "runtime/comm/agreed_end.h"
#include "runtime/comm/communicator.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme::launch {

/// Carries out what may fail on some ranks, without communication in it: what the first of them throws all
/// throw as AgreedEnd. All ranks call it.
template <class Attempt>
void together(Communicator& ranks, Attempt&& attempt) {
  std::string words;
  int64_t code = 0;
  try {
    attempt();
  } catch (const Error& error) {
    words = error.what();
    code = static_cast<int64_t>(error.code());
  } catch (const std::exception& error) {
    words = error.what();
    code = static_cast<int64_t>(ExitCode::internal);
  }
  words = first_words(ranks, words);
  if (words.empty()) return;
  const auto stream = cpu::make_compute_stream();
  ranks.all_reduce(*stream, Tensor::borrow(&code, {1}, DType::i64), ReduceOp::max);
  throw AgreedEnd(static_cast<ExitCode>(code), words);
}

}  // namespace trireme::launch
