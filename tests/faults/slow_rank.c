// Preloaded: in the rank that SLOW_RANK names every product of matrices takes 5 ms longer, however busy the machine is.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int dnnl_primitive_execute(const void* primitive, void* stream, int count, const void* arguments) {
  int (*next)(const void*, void*, int, const void*) = dlsym(RTLD_NEXT, "dnnl_primitive_execute");
  const char *slow = getenv("SLOW_RANK"), *rank = getenv("OMPI_COMM_WORLD_RANK");
  const struct timespec longer = {0, 5000000};
  if (slow && rank && strcmp(slow, rank) == 0) nanosleep(&longer, NULL);
  return next(primitive, stream, count, arguments);
}
