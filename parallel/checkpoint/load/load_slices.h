// Executes a load plan: reads, verifies and distributes slices.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "parallel/checkpoint/format/manifest.h"
#include "parallel/checkpoint/load/load_plan.h"
#include "runtime/comm/communicator.h"

namespace trireme {

/// Takes a part of a wanted slice, which comes in as many as it takes, each element once: the elements of the
/// box `part` of the whole tensor. `elements` are those of the box `around`, packed, which holds it
/// (copy_box).
using PartSink = std::function<void(const Box& part, const Box& around, std::span<const std::byte> elements)>;

/// A slice that this rank wants, and where it goes.
struct SliceTarget {
  Slice slice;
  PartSink take;
  /// Where take() puts its elements together packed, in memory of the host, which others may then do in its
  /// place; null: only take() knows.
  std::byte* memory = nullptr;
};

/// A sink that puts the parts of `box` together in memory, packed.
PartSink into_memory(const Box& box, DType dtype, std::span<std::byte> memory);

/// Loads from the checkpoint in `directory` by a plan that was made of manifest.stored and what the ranks of
/// `group` want: `targets` is what this rank does, in the order in which the plan has it. All ranks call it.
/// Each stored slice is read once in the group, a piece at a time, and checked by who reads it. UserError
/// (checkpoint), equal on all ranks, when a file is damaged or cannot be read, and when a sink throws: what
/// the targets have is then worth nothing.
void load_slices(Communicator& group, const std::string& directory, const Manifest& manifest,
                 const LoadPlan& plan, std::span<const SliceTarget> targets);

}  // namespace trireme
