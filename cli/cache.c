/* cache.c -- see cache.h.                                                      */
#define _GNU_SOURCE
#include "cli/cache.h"
#include <dirent.h>
#include <nettle/sha2.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "vm/image_format.h"

enum { MOST_ENTRIES = 65536 };
static const uint64_t most_bytes = (uint64_t)256 << 20;
static const char magic[8] = "rvmkept";
typedef struct {
  char magic[8];
  CacheKey key;
  uint64_t n, sum, spare; /* 64 bytes: what follows stays aligned */
} Head;

bool cache_wanted(void) {
  const char *e = getenv("RVM_CACHE");
  return !e || strcmp(e, "0") != 0;
}

/* ---- keys ---------------------------------------------------------------------- */
/* Each part behind its length, so that parts do not run into each other. */
static void add(struct sha256_ctx *d, const void *p, size_t n) {
  uint64_t length = n;
  sha256_update(d, sizeof length, (const uint8_t *)&length);
  sha256_update(d, n, p);
}

/* A build is known by the file it is: its size, when it was written, which packages set to one
 * date, and when it came to be here, which nobody can set. */
static void add_file(struct sha256_ctx *d, const char *path) {
  struct stat s = {0};
  if (stat(path, &s) != 0) return;
  uint64_t v[5] = {(uint64_t)s.st_size, (uint64_t)s.st_mtim.tv_sec, (uint64_t)s.st_mtim.tv_nsec,
                   (uint64_t)s.st_ctim.tv_sec, (uint64_t)s.st_ctim.tv_nsec};
  add(d, v, sizeof v);
}

static void add_processor(struct sha256_ctx *d) {
#if defined(__x86_64__)
  static const unsigned leaf[] = {0, 1, 7, 0xd, 0x80000001u, 0x80000002u, 0x80000003u, 0x80000004u};
  for (size_t i = 0; i < sizeof leaf / sizeof *leaf; i++) {
    unsigned r[4] = {0};
    __get_cpuid_count(leaf[i], leaf[i] == 0xd, &r[0], &r[1], &r[2], &r[3]);
    if (leaf[i] == 1) r[1] = 0; /* holds the number of the core   */
    add(d, r, sizeof r);
  }
#else
  (void)d;
#endif
}

static uint64_t number(const uint8_t *p, int n) {
  uint64_t v = 0;
  for (int i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
  return v;
}

static CacheKey key_of(struct sha256_ctx *d) {
  CacheKey k;
  sha256_digest(d, sizeof k.byte, k.byte);
  return k;
}

CacheKey cache_key(const void *image, size_t n, const char *compiler, const char *options) {
  const uint8_t *p = image;
  struct sha256_ctx d;
  sha256_init(&d);
  uint64_t sections = n >= IMAGE_HEADER ? number(p + 24, 4) : 0;
  for (uint64_t i = 0; i < sections && IMAGE_HEADER + (i + 1) * IMAGE_SECTION <= n; i++) {
    const uint8_t *s = p + IMAGE_HEADER + i * IMAGE_SECTION;
    uint64_t at = number(s + 8, 8), size = number(s + 16, 8);
    if (number(s, 4) == SECTION_DATA || at > n || size > n - at) continue;
    add(&d, s, 4);
    add(&d, p + at, size);
  }
  add(&d, &n, sizeof n);
  add(&d, options, strlen(options));
  add_file(&d, "/proc/self/exe");
  add_file(&d, compiler);
  add_processor(&d);
  return key_of(&d);
}

CacheKey cache_key_more(CacheKey k, const char *what) {
  struct sha256_ctx d;
  sha256_init(&d);
  add(&d, &k, sizeof k);
  add(&d, what, strlen(what));
  return key_of(&d);
}

/* ---- the folder ------------------------------------------------------------------- */
/* *given: so much of it is made by others, if at all. */
static const char *folder(size_t *given) {
  const char *x = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  *given = 0;
  if (x && x[0] == '/') return str_fmt("%s/rvm", x);
  if (!home || home[0] != '/') return NULL;
  *given = strlen(home);
  return str_fmt("%s/.cache/rvm", home);
}

static bool make_folder(const char *dir, size_t given) {
  for (const char *p = dir + given; (p = strchr(p + 1, '/'));)
    mkdir(str_fmt("%.*s", (int)(p - dir), dir), 0700);
  mkdir(dir, 0700);
  return access(dir, W_OK) == 0;
}

static const char *path_of(const char *dir, CacheKey k) {
  StrBuf b = {0};
  buf_fmt(&b, "%s/", dir);
  for (int i = 0; i < (int)sizeof k.byte; i++) buf_fmt(&b, "%02x", k.byte[i]);
  buf_str(&b, ".code");
  return buf_text(&b);
}

typedef struct {
  const char *name;
  int64_t used;
  uint64_t bytes;
} Entry;

static int by_age(const void *a, const void *b) {
  const Entry *x = a, *y = b;
  return (x->used > y->used) - (x->used < y->used);
}

static void evict(const char *dir) {
  DIR *d = opendir(dir);
  VEC(Entry) all = {0};
  uint64_t total = 0;
  struct dirent *e;
  while (d && all.n < MOST_ENTRIES && (e = readdir(d))) {
    struct stat s;
    if (!strstr(e->d_name, ".code") || fstatat(dirfd(d), e->d_name, &s, 0) != 0) continue;
    Entry x = {str_fmt("%s/%s", dir, e->d_name),
               (int64_t)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec, (uint64_t)s.st_size};
    vec_push(&all, x);
    total += x.bytes;
  }
  if (d) closedir(d);
  if (total <= most_bytes) return;
  qsort(all.at, (size_t)all.n, sizeof *all.at, by_age);
  for (int i = 0; i < all.n && total > most_bytes; i++) {
    unlink(all.at[i].name);
    total -= all.at[i].bytes;
  }
}

/* ---- entries ------------------------------------------------------------------------ */
/* Is it of that kind, and only its owner, who runs this, may write it? */
static bool is_own(const char *path, mode_t kind) {
  struct stat s;
  return stat(path, &s) == 0 && (s.st_mode & S_IFMT) == kind && s.st_uid == geteuid() &&
         !(s.st_mode & (S_IWGRP | S_IWOTH));
}

bool cache_get(CacheKey k, void **bytes, size_t *n) {
  size_t given, size;
  const char *dir = folder(&given), *path = dir ? path_of(dir, k) : NULL;
  char *text;
  Head h;
  /* In a folder that others may write, the file could be another one by the time it is read. */
  if (!path || !is_own(dir, S_IFDIR) || !is_own(path, S_IFREG)) return false;
  if (file_read(path, most_bytes, &text, &size)) return false;
  if (size < sizeof h) return false;
  memcpy(&h, text, sizeof h);
  if (memcmp(h.magic, magic, sizeof magic) != 0 || memcmp(&h.key, &k, sizeof k) != 0 ||
      h.n != size - sizeof h || h.spare != 0 || h.sum != hash_bytes(text + sizeof h, h.n, h.n))
    return false;
  utimensat(AT_FDCWD, path, NULL, 0); /* it has been used               */
  *bytes = text + sizeof h;
  *n = h.n;
  return true;
}

void cache_put(CacheKey k, const void *bytes, size_t n) {
  size_t given;
  const char *dir = folder(&given), *path = dir ? path_of(dir, k) : NULL;
  if (!path || !make_folder(dir, given) || n > most_bytes / 4) return;
  Head h = {.key = k, .n = n, .sum = hash_bytes(bytes, n, n)};
  memcpy(h.magic, magic, sizeof magic);
  char *all = NEW_BYTES(sizeof h + n);
  memcpy(all, &h, sizeof h);
  memcpy(all + sizeof h, bytes, n);
  mode_t was = umask(077);
  if (!is_own(path, S_IFREG)) unlink(path); /* or the new one would have the old one's mode */
  (void)file_write(path, all, sizeof h + n);
  umask(was);
  evict(dir);
}
