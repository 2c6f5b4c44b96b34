#include <new>
#include <string>

#include "launch/python/bindings.h"
#include "runtime/base/error.h"
#include "runtime/comm/agreed_end.h"

namespace trireme::launch::python {

namespace py = pybind11;

namespace {

/// The classes live as long as the module, which is never unloaded.
struct ErrorClasses {
  py::handle error, user, agreed, machine, internal;
};

py::handle make_class(py::module_& module, const char* name, const char* doc, const py::object& bases) {
  const std::string whole = std::string("trireme.") + name;
  PyObject* made = PyErr_NewExceptionWithDoc(whole.c_str(), doc, bases.ptr(), nullptr);
  if (made == nullptr) throw py::error_already_set();
  module.add_object(name, made);
  return made;
}

void raise(py::handle kind, const std::string& message, ExitCode code) {
  // A message may quote bytes of a file.
  const auto text =
      py::reinterpret_steal<py::object>(PyUnicode_DecodeUTF8(message.data(), std::ssize(message), "replace"));
  py::object error = kind(text);
  error.attr("code") = static_cast<int>(code);
  PyErr_SetObject(kind.ptr(), error.ptr());
}

}  // namespace

void bind_errors(py::module_& module) {
  const py::handle exception = PyExc_Exception, value_error = PyExc_ValueError,
                   runtime_error = PyExc_RuntimeError;
  static ErrorClasses classes;
  classes.error = make_class(module, "Error",
                             "What Trireme raises. Its code is the exit code that the program has for it "
                             "(trireme --help).",
                             py::make_tuple(exception));
  classes.user = make_class(module, "UserError",
                            "Something the caller can mend: the message names the option or file, shows the "
                            "values and says what would work.",
                            py::make_tuple(classes.error, value_error));
  classes.agreed = make_class(module, "AgreedEnd", "What all ranks have agreed on, and raise together.",
                              py::make_tuple(classes.user));
  classes.machine = make_class(module, "MachineError",
                               "Something the machine refused, in its own words: memory, disk, device.",
                               py::make_tuple(classes.error, runtime_error));
  classes.internal = make_class(module, "InternalError", "A defect of Trireme.",
                                py::make_tuple(classes.error, runtime_error));
  // Of what Python's part of the package raises itself.
  classes.error.attr("code") = static_cast<int>(ExitCode::internal);
  classes.user.attr("code") = static_cast<int>(ExitCode::usage);
  classes.machine.attr("code") = static_cast<int>(ExitCode::resources);
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const AgreedEnd& error) {
      raise(classes.agreed, error.what(), error.code());
    } catch (const UserError& error) {
      raise(classes.user, error.what(), error.code());
    } catch (const EnvironmentError& error) {
      raise(classes.machine, error.what(), error.code());
    } catch (const Error& error) {
      raise(classes.internal, error.what(), error.code());
    } catch (const std::bad_alloc&) {
      raise(classes.machine, "out of memory", ExitCode::resources);
    }
  });
}

}  // namespace trireme::launch::python
