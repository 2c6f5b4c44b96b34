// AgreedEnd: how ranks end together.
#pragma once

#include "runtime/base/error.h"

namespace trireme {

/// What all ranks have agreed on and throw together: they end in good order, and one of them says it.
class AgreedEnd : public UserError {
 public:
  using UserError::UserError;
};

}  // namespace trireme
