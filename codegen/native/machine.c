/* machine.c -- see machine.h.  The files are those of Documentation/ABI/testing/
 * sysfs-devices-system-cpu of Linux.                                           */
#define _GNU_SOURCE
#include "codegen/native/machine.h"
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char described[] = "/sys/devices/system/cpu";

/* What a file of the folder says; empty, if there is none. */
static void read_text(const char *folder, const char *name, char *text, size_t room) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", folder ? folder : described, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, text, room - 1);
  if (fd >= 0) close(fd);
  text[n > 0 ? n : 0] = 0;
}

/* ---- cores --------------------------------------------------------------------------- */
/* Takes the processors of a list ("3,67", "6-7") out of the set. */
static void remove_all(const char *list, cpu_set_t *set) {
  for (char *end; *list >= '0' && *list <= '9'; list = end + (*end == ',')) {
    long at = strtol(list, &end, 10), last = *end == '-' ? strtol(end + 1, &end, 10) : at;
    for (; at <= last && at < CPU_SETSIZE; at++) CPU_CLR((size_t)at, set);
  }
}

/* If processors share cores at all, those that share one with a processor are no more looked at. */
int machine_cores(const char *cpus, int most) {
  cpu_set_t set;
  char name[64], text[128];
  int n = 0;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  read_text(cpus, "smt/active", text, sizeof text);
  bool shared = text[0] != '0';
  for (int i = 0; i < CPU_SETSIZE && n < most; i++) {
    if (!CPU_ISSET((size_t)i, &set)) continue;
    n++;
    if (!shared) continue;
    snprintf(name, sizeof name, "cpu%d/topology/thread_siblings_list", i);
    read_text(cpus, name, text, sizeof text);
    remove_all(text, &set);
  }
  return n > 0 ? n : 1;
}

/* ---- caches -------------------------------------------------------------------------- */
static int first_processor(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
  for (int i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET((size_t)i, &set)) return i;
  return 0;
}

/* "48K", "2M", "512"; 0: not a size. */
static int64_t size_of(const char *text) {
  char *end;
  long n = strtol(text, &end, 10);
  int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : 0;
  return n > 0 && n < 1 << 20 ? (int64_t)n << shift : 0;
}

Caches machine_caches(const char *cpus) {
  Caches out = {0};
  int64_t *level[] = {&out.first, &out.second, &out.third};
  char name[64], text[64];
  int cpu = first_processor();
  for (int i = 0;; i++) {
    int at = snprintf(name, sizeof name, "cpu%d/cache/index%d/", cpu, i);
    strcpy(name + at, "level");
    read_text(cpus, name, text, sizeof text);
    int l = text[0] - '1';
    if (!text[0]) return out; /* no further cache */
    strcpy(name + at, "type");
    read_text(cpus, name, text, sizeof text);
    if (l < 0 || l > 2 || text[0] == 'I') continue; /* of instructions */
    strcpy(name + at, "size");
    read_text(cpus, name, text, sizeof text);
    *level[l] = size_of(text);
  }
}
