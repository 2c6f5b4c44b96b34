// A training's state as ranks of drawn layouts hold it: element i of tensor t has bits that follow from (t,
// i).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/checkpoint/load/load_slices.h"
#include "parallel/checkpoint/snapshot.h"

namespace trireme::test {

struct LogicalTensor {
  std::string name;
  DType dtype;
  Shape shape;
};

/// Matrices, vectors, a scalar; f32, bf16 and others; sizes that do not divide.
std::vector<LogicalTensor> logical_tensors(uint64_t seed);

/// What each of `num_ranks` ranks writes: every element once. `kind` 0: flat ranges of all tensors in a row
/// (ZeRO), 1: rows, 2: columns (tensor parallelism), 3: tensors dealt out whole, with those left over shared.
std::vector<std::vector<Slice>> owned_slices(const std::vector<LogicalTensor>& tensors, int num_ranks,
                                             int kind);

/// What each rank needs: as owned_slices, and of kind 4 all of it on every rank (replicas).
std::vector<std::vector<Slice>> wanted_slices(const std::vector<LogicalTensor>& tensors, int num_ranks,
                                              int kind);

/// The packed bytes of a slice; `version` tells states apart.
std::vector<std::byte> bytes_of(const Slice& slice, uint64_t version);

std::vector<SliceSource> sources_of(const std::vector<Slice>& slices, uint64_t version);

/// The proof hash of the whole state, by the tensors as they are.
ProofHash proof_of(const std::vector<LogicalTensor>& tensors, uint64_t version);

}  // namespace trireme::test
