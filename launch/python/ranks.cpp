#include "launch/python/ranks.h"

#include <string>

#include "launch/python/bindings.h"
#include "launch/python/native_call.h"
#include "runtime/comm/launcher.h"

namespace trireme::launch::python {

namespace py = pybind11;

Ranks::Ranks() {
  if (launched_under_mpi()) {
    mpi_.emplace();
  } else {
    check_launcher(1);
  }
}

RankPlace Ranks::place() const {
  RankPlace place;
  place.rank = rank();
  place.world_size = size();
  place.mpi = mpi_ ? &*mpi_ : nullptr;
  place.command = "python";
  return place;
}

bool Ranks::is_of_all(const std::string& words) const {
  constexpr double kPatience = 5;  // seconds
  return !mpi_ || mpi_->meet({MpiArrival::State::failed, words}, kPatience) == MpiMeeting::alike;
}

void bind_ranks(py::module_& module) {
  py::class_<Ranks, std::shared_ptr<Ranks>>(module, "Ranks")
      .def(py::init([] {
        const NativeCall call;
        return std::make_shared<Ranks>();
      }))
      .def_property_readonly("rank", &Ranks::rank)
      .def_property_readonly("size", &Ranks::size)
      .def("is_of_all", [](const Ranks& ranks, const std::string& words) {
        const NativeCall call;
        return ranks.is_of_all(words);
      });
  module.def("abort_job", [](int code) { MpiEnvironment::abort(static_cast<ExitCode>(code)); });
}

}  // namespace trireme::launch::python
