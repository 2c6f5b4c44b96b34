// Saved: activations that a layer keeps from its forward to its backward pass.
#pragma once

#include <any>

#include "runtime/base/error.h"

namespace trireme {

/// Belongs to one layer and one micro-batch: a pipeline keeps several in flight, and recomputation is "clear
/// and run forward again". Each layer stores a struct of its own.
class Saved {
 public:
  template <class State>
  State& emplace() {
    return state_.emplace<State>();
  }
  template <class State>
  State& get() {
    State* state = std::any_cast<State>(&state_);
    TRIREME_CHECK(state != nullptr, "backward without its forward");
    return *state;
  }
  void clear() { state_.reset(); }

 private:
  std::any state_;
};

}  // namespace trireme
