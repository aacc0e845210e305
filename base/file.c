/* file.c -- see file.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *why(void) { return str_fmt("%s", strerror(errno)); }

static ssize_t read_some(int fd, char *p, size_t n) {
  ssize_t k;
  do k = read(fd, p, n);
  while (k < 0 && errno == EINTR);
  return k;
}

/* Reads to the end of fd; pipes have no size, so the size is only a guess. */
static const char *read_all(int fd, size_t limit, char **text, size_t *n) {
  struct stat st;
  size_t cap = 4096;
  if (fstat(fd, &st) == 0 && st.st_size > 0 && (uint64_t)st.st_size < limit)
    cap = (size_t)st.st_size + 2;
  char *s = NEW_BYTES(cap);
  for (size_t have = 0;;) {
    ssize_t k = read_some(fd, s + have, cap - 1 - have);
    if (k < 0) return why();
    have += (size_t)k;
    if (have > limit) return str_fmt("the file is larger than %zu bytes", limit);
    if (k == 0) {
      s[have] = 0;
      *text = s;
      *n = have;
      return NULL;
    }
    if (have < cap - 1) continue;
    s = mem_grow(s, cap, cap * 2);
    cap *= 2;
  }
}

const char *file_read(const char *path, size_t limit, char **text, size_t *n) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return why();
  const char *err = read_all(fd, limit, text, n);
  close(fd);
  return err;
}

enum { WORTH_MAPPING = 1 << 20 };

const char *file_view(const char *path, size_t limit, const char **bytes, size_t *n) {
  struct stat st;
  char *text;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return why();
  bool large = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= WORTH_MAPPING &&
               (uint64_t)st.st_size <= limit;
  void *at = large ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
  const char *err = at == MAP_FAILED ? read_all(fd, limit, &text, n) : NULL;
  close(fd);
  if (at != MAP_FAILED) *n = (size_t)st.st_size;
  if (!err) *bytes = at == MAP_FAILED ? text : at;
  return err;
}

static bool write_all(int fd, const char *p, size_t n) {
  while (n > 0) {
    ssize_t k = write(fd, p, n);
    if (k < 0 && errno == EINTR) continue;
    if (k < 0) return false;
    p += k;
    n -= (size_t)k;
  }
  return true;
}

/* A pipe or a device is written in place: there is no old content to keep. */
static const char *write_in_place(const char *path, const void *bytes, size_t n) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return why();
  const char *err = write_all(fd, bytes, n) ? NULL : why();
  if (close(fd) != 0 && !err) err = why();
  return err;
}

/* ---- temporary files: PATH.PROCESS.NUMBER.tmp, locked while they are written -------------- */
static int open_beside(const char *path, char **name) {
  int fd = -1;
  for (int i = 0; i < 100; i++) {
    *name = str_fmt("%s.%ld.%d.tmp", path, (long)getpid(), i);
    fd = open(*name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 || errno != EEXIST) break;
  }
  if (fd >= 0) (void)flock(fd, LOCK_EX | LOCK_NB);
  return fd;
}

/* Is name a temporary one of base, of a process that is not there any more? */
static bool is_left(const char *name, const char *base) {
  size_t n = strlen(base);
  char *end;
  if (strncmp(name, base, n) != 0 || name[n] != '.' || !isdigit((unsigned char)name[n + 1]))
    return false;
  errno = 0;
  long pid = strtol(name + n + 1, &end, 10);
  if (errno || pid <= 0 || (pid_t)pid != pid || *end != '.') return false;
  size_t digits = strspn(end + 1, "0123456789");
  if (digits == 0 || strcmp(end + 1 + digits, ".tmp") != 0) return false;
  return kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

/* Processes are numbered anew in a container, so one that seems gone may be
 * writing: then it holds the lock. */
static void remove_left(int folder, const char *name) {
  int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return;
  struct stat st;
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0)
    unlinkat(folder, name, 0);
  close(fd);
}

void file_sweep(const char *path) {
  char *real = realpath(path, NULL);
  const char *target = real ? str_fmt("%s", real) : path, *slash = strrchr(target, '/');
  free(real);
  const char *base = slash ? slash + 1 : target;
  DIR *d = opendir(slash ? str_fmt("%.*s", (int)(base - target), target) : ".");
  for (struct dirent *e; d && (e = readdir(d));)
    if (is_left(e->d_name, base)) remove_left(dirfd(d), e->d_name);
  if (d) closedir(d);
}

/* ---- writing ------------------------------------------------------------------------------ */

const char *file_may_write(const char *path) {
  struct stat st;
  char *name;
  bool there = stat(path, &st) == 0;
  if (there && S_ISDIR(st.st_mode)) return "it is a directory";
  if (there && !S_ISREG(st.st_mode)) return access(path, W_OK) == 0 ? NULL : why();
  char *real = there ? realpath(path, NULL) : NULL;
  int fd = open_beside(real ? real : path, &name);
  free(real);
  if (fd < 0) return why();
  close(fd);
  return unlink(name) == 0 ? NULL : why();
}

const char *file_write(const char *path, const void *bytes, size_t n) {
  struct stat st;
  bool there = stat(path, &st) == 0;
  if (there && S_ISDIR(st.st_mode)) return "it is a directory";
  if (there && !S_ISREG(st.st_mode)) return write_in_place(path, bytes, n);
  char *real = there ? realpath(path, NULL) : NULL; /* through links, to the file */
  char *tmp;
  const char *target = real ? str_fmt("%s", real) : path, *err = NULL;
  free(real);
  file_sweep(target);
  int fd = open_beside(target, &tmp);
  if (fd < 0) return why();
  if (there) (void)!fchmod(fd, st.st_mode & 07777);
  if (!write_all(fd, bytes, n) || fsync(fd) != 0) err = why();
  if (!err && rename(tmp, target) != 0) err = why(); /* while the lock holds; fsync has told */
  if (err) unlink(tmp);
  close(fd);
  return err;
}
