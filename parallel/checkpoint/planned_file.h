// How a rank's slices become files.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "parallel/checkpoint/format/slice.h"

namespace trireme {

/// One file of a rank.
struct PlannedFile {
  std::string name;
  std::vector<size_t> slices;  ///< numbers of those it holds, in their order in the file
  std::string head;
};

/// The files of world rank `rank` for these slices. A file has at most one slice of a tensor (PyTorch's
/// reader knows them by the tensor's name): the second ones go into a file of their own, and so on. Without
/// slices no file.
std::vector<PlannedFile> plan_files(int rank, const std::vector<Slice>& slices);

}  // namespace trireme
