// Kills its process when it has written the metrics of step KILL_AFTER_STEP, as a power switch would at that call.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

ssize_t write(int fd, const void* bytes, size_t size) {
  ssize_t (*next)(int, const void*, size_t) = dlsym(RTLD_NEXT, "write");
  const ssize_t written = next(fd, bytes, size);
  const char* step = getenv("KILL_AFTER_STEP");
  char begin[64], link[64], path[4096] = "";
  if (step == NULL) return written;
  snprintf(begin, sizeof begin, "{\"step\":%s,", step);
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  if (size >= strlen(begin) && memcmp(bytes, begin, strlen(begin)) == 0 && readlink(link, path, sizeof path - 1) > 0 &&
      strstr(path, "metrics.jsonl") != NULL)
    kill(getpid(), SIGKILL);
  return written;
}
