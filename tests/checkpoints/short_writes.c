// Every call writes a part of what it was given, as a disk under load may; the rest is for the caller to hand over again.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>

static size_t part(size_t size) { return size > 1 ? size / 3 + 1 : size; }

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t at) {
  ssize_t (*next)(int, const void*, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");
  return next(fd, bytes, part(size), at);
}

ssize_t pwrite64(int fd, const void* bytes, size_t size, off_t at) {
  ssize_t (*next)(int, const void*, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite64");
  return next(fd, bytes, part(size), at);
}
