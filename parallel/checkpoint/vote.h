// How the ranks of a save or load agree on success or failure.
#pragma once

#include <string>

#include "parallel/checkpoint/format/proof_hash.h"
#include "runtime/base/error.h"
#include "runtime/comm/communicator.h"

namespace trireme {

/// The words of what `attempt` threw, empty where it returned. Errors of communicators are for outside of it.
template <class Attempt>
std::string failure_of(Attempt&& attempt) {
  try {
    attempt();
  } catch (const std::exception& error) {
    const std::string words = error.what();
    return words.empty() ? "unknown error" : words;
  }
  return "";
}

/// Equal on all ranks, which all call it: empty where every `own` is, else "rank 3: WORDS" of the first rank
/// that has some, "(and 2 more)" of others. 8 bytes where all is well.
std::string first_failure(Communicator& ranks, const std::string& own);

/// The same without the rank: for words that several ranks have agreed on already.
std::string first_words(Communicator& ranks, const std::string& own);

/// What the ranks counted, together. All ranks call it; 32 bytes each.
ProofHash sum_over_ranks(Communicator& ranks, const ProofHash& own);

}  // namespace trireme
