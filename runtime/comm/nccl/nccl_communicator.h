// Ranks with a GPU each, through NCCL.
#pragma once

#include <string>

namespace trireme {

/// Why a group over NCCL cannot be made here, in words for the user; empty when it can.
std::string why_no_nccl();

}  // namespace trireme
