// Around calls that compute: other Python threads run, and no signal interrupts the arithmetic.
#pragma once

#include <csignal>

#include <pybind11/pybind11.h>

namespace trireme::launch::python {

/// Keeps SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 from this thread, and from those that it starts, until the call
/// is over; what came meanwhile arrives then, so that Python acts on it as soon as the call has returned. A
/// handler's frame on the stack of a thread that computes could overwrite its data (prepare_process()).
class SignalsWait {
 public:
  SignalsWait() {
    sigset_t signals;
    ::sigemptyset(&signals);
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGUSR2}) ::sigaddset(&signals, signal);
    ::pthread_sigmask(SIG_BLOCK, &signals, &before_);
  }
  ~SignalsWait() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsWait(const SignalsWait&) = delete;
  SignalsWait& operator=(const SignalsWait&) = delete;

 private:
  sigset_t before_;
};

/// While one lives no object of Python's may be touched.
class __attribute__((visibility("hidden"))) NativeCall {
  SignalsWait signals_;
  pybind11::gil_scoped_release others_run_;
};

}  // namespace trireme::launch::python
