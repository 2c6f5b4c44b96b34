// The squared L2 norm of a gradient whose parameters are divided or copied over the tensor ranks.
#pragma once

#include "parallel/module/parameter_storage.h"
#include "runtime/comm/communicator.h"

namespace trireme {

/// [1] f64, equal on all ranks of `tensor` bit for bit, each of which calls it: the sum over the whole model
/// of squared gradients. A parameter that several of the ranks hold counts once.
Tensor sum_of_squared_gradients(Context& ctx, ParameterStorage& storage, Communicator& tensor);

}  // namespace trireme
