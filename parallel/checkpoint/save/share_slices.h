// Splits the writing of replicated slices between the ranks that hold them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel/checkpoint/format/slice.h"

namespace trireme {

/// A part of one of the slices: rows of its outermost dim that is longer than one.
struct SharedPart {
  size_t slice;   ///< number among those passed
  Box box;        ///< in the tensor
  int64_t begin;  ///< of its first element in the slice's: it is one run of them
};

/// Divides slices that `num_holders` ranks all hold (the same list on each): the parts of holder `holder`.
/// Over all holders they are disjoint and together the slices, at most one part a slice and holder, in the
/// slices' order. Every rank finds its own without asking anybody.
///
/// `bytes_before`: what each holder writes anyway (the same list on each; empty: nothing). The sums come out
/// as even as rows allow: a holder is at most one row off its even share at either end of its parts.
std::vector<SharedPart> share_slices(std::span<const Slice> slices, int holder, int num_holders,
                                     std::span<const int64_t> bytes_before = {});

}  // namespace trireme
