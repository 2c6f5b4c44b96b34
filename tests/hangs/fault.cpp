// Preloaded into the ranks of a job: one of them misbehaves at a call of MPI, or while it reads data.
//
// FAULT names what happens, FAULT_RANK to which rank, FAULT_CALL at which of its calls, FAULT_MARK a file
// that is made then.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <fcntl.h>
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

bool is_fault(const char* name) {
  const char *fault = getenv("FAULT"), *rank = getenv("FAULT_RANK"), *own = getenv("OMPI_COMM_WORLD_RANK");
  return fault != nullptr && rank != nullptr && own != nullptr && strcmp(fault, name) == 0 &&
         strcmp(rank, own) == 0;
}

bool is_due(std::atomic<long>& calls) {
  const char* at = getenv("FAULT_CALL");
  return at != nullptr && ++calls == atol(at);
}

void mark() {
  const char* path = getenv("FAULT_MARK");
  if (path == nullptr) return;
  const int file = open(path, O_CREAT | O_WRONLY, 0644);
  char text[32];
  const int size = snprintf(text, sizeof text, "%d\n", getpid());
  if (write(file, text, static_cast<size_t>(size)) != size) _exit(99);
  close(file);
}

[[noreturn]] void take_all_memory() {
  // Of a control group all that it allows; else of the process.
  for (size_t taken = 0;; taken += 1 << 20) {
    void* part = mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (part == MAP_FAILED) throw std::bad_alloc();
    memset(part, 1, 1 << 20);
  }
}

void crash() {
  // A page that nobody may write to: through a null pointer the compiler would do as it likes.
  void* page = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *static_cast<volatile int*>(page) = 1;
}

void misbehave() {
  static std::atomic<long> calls{0};
  static const std::string fault = [] {
    for (const char* name : {"kill", "segv", "uncaught", "throw", "exit", "_exit", "stop", "memory"}) {
      if (is_fault(name)) return std::string(name);
    }
    return std::string();
  }();
  if (fault.empty() || !is_due(calls)) return;
  mark();
  if (fault == "kill") kill(getpid(), SIGKILL);
  if (fault == "segv") crash();
  if (fault == "uncaught") std::thread([] { throw std::runtime_error("planted by a test"); }).join();
  if (fault == "throw") throw std::runtime_error("planted by a test");
  if (fault == "exit") exit(0);
  if (fault == "_exit") _exit(0);
  if (fault == "stop") kill(getpid(), SIGSTOP);
  if (fault == "memory") take_all_memory();
}

template <class F>
F next(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}

void* allocate(size_t size) {
  void* memory = malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

// Whoever makes room for what it reads, in the data path of the program.
void loop_in_data(void* caller) {
  static const bool is_wanted = is_fault("loop");
  static std::atomic<long> calls{0};
  if (!is_wanted) return;
  Dl_info info;
  if (dladdr(caller, &info) == 0 || info.dli_sname == nullptr) return;
  const bool is_made =
      strstr(info.dli_sname, "PrefetcherC") != nullptr || strstr(info.dli_sname, "PrefetcherD") != nullptr;
  const bool reads = !is_made && (strstr(info.dli_sname, "BatchPrefetcher") != nullptr ||
                                  strstr(info.dli_sname, "MicroBatch") != nullptr ||
                                  strstr(info.dli_sname, "micro_batch") != nullptr ||
                                  strstr(info.dli_sname, "BatchReader") != nullptr);
  if (!reads || !is_due(calls)) return;
  mark();
  for (volatile bool ends = false; !ends;) {
  }
}

}  // namespace

void* operator new(size_t size) {
  loop_in_data(__builtin_return_address(0));
  return allocate(size);
}
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }

extern "C" {

int MPI_Allreduce(const void* in, void* out, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm) {
  misbehave();
  return next<decltype(&MPI_Allreduce)>("MPI_Allreduce")(in, out, count, type, op, comm);
}

int MPI_Allgather(const void* in, int sent, MPI_Datatype type, void* out, int received, MPI_Datatype other,
                  MPI_Comm comm) {
  misbehave();
  return next<decltype(&MPI_Allgather)>("MPI_Allgather")(in, sent, type, out, received, other, comm);
}

int MPI_Isend(const void* in, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm,
              MPI_Request* request) {
  misbehave();
  return next<decltype(&MPI_Isend)>("MPI_Isend")(in, count, type, to, tag, comm, request);
}

int MPI_Wait(MPI_Request* request, MPI_Status* status) {
  misbehave();
  return next<decltype(&MPI_Wait)>("MPI_Wait")(request, status);
}
}
