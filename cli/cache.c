/* cache.c -- see cache.h.                                                      */
#define _GNU_SOURCE
#include "cli/cache.h"
#include <dirent.h>
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
  uint64_t n, sum, spare; /* 48 bytes: what follows stays aligned */
} Head;

bool cache_wanted(void) {
  const char *e = getenv("RVM_CACHE");
  return !e || strcmp(e, "0") != 0;
}

/* ---- keys ---------------------------------------------------------------------- */
static void add(CacheKey *k, const void *p, size_t n) {
  for (int i = 0; i < 2; i++)
    k->half[i] = hash_mix(k->half[i] + n, hash_bytes(p, n, k->half[i] ^ (uint64_t)(i + 1)));
}

/* A build is known by the file it is: when it was written, and its size. */
static void add_file(CacheKey *k, const char *path) {
  struct stat s = {0};
  if (stat(path, &s) != 0) return;
  uint64_t v[3] = {(uint64_t)s.st_size, (uint64_t)s.st_mtim.tv_sec, (uint64_t)s.st_mtim.tv_nsec};
  add(k, v, sizeof v);
}

static void add_processor(CacheKey *k) {
#if defined(__x86_64__)
  static const unsigned leaf[] = {0, 1, 7, 0xd, 0x80000001u, 0x80000002u, 0x80000003u, 0x80000004u};
  for (size_t i = 0; i < sizeof leaf / sizeof *leaf; i++) {
    unsigned r[4] = {0};
    __get_cpuid_count(leaf[i], leaf[i] == 0xd, &r[0], &r[1], &r[2], &r[3]);
    if (leaf[i] == 1) r[1] = 0; /* holds the number of the core   */
    add(k, r, sizeof r);
  }
#endif
}

static uint64_t number(const uint8_t *p, int n) {
  uint64_t v = 0;
  for (int i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
  return v;
}

CacheKey cache_key(const void *image, size_t n, const char *compiler, const char *wish) {
  const uint8_t *p = image;
  CacheKey k = {{n, 0x9e3779b97f4a7c15u}};
  uint64_t sections = n >= IMAGE_HEADER ? number(p + 24, 4) : 0;
  for (uint64_t i = 0; i < sections && IMAGE_HEADER + (i + 1) * IMAGE_SECTION <= n; i++) {
    const uint8_t *s = p + IMAGE_HEADER + i * IMAGE_SECTION;
    uint64_t at = number(s + 8, 8), size = number(s + 16, 8);
    if (number(s, 4) == SECTION_DATA || at > n || size > n - at) continue;
    add(&k, s, 4);
    add(&k, p + at, size);
  }
  add(&k, wish, strlen(wish));
  add_file(&k, "/proc/self/exe");
  add_file(&k, compiler);
  add_processor(&k);
  return k;
}

CacheKey cache_key_more(CacheKey k, const char *wish) {
  add(&k, wish, strlen(wish));
  return k;
}

/* ---- the folder ------------------------------------------------------------------- */
static const char *folder(void) {
  const char *x = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  if (x && x[0] == '/') return str_fmt("%s/rvm", x);
  return home && home[0] == '/' ? str_fmt("%s/.cache/rvm", home) : NULL;
}

static bool make_folder(const char *dir) {
  const char *parent = str_fmt("%.*s", (int)(strrchr(dir, '/') - dir), dir);
  mkdir(parent, 0700);
  mkdir(dir, 0700);
  return access(dir, W_OK) == 0;
}

static const char *path_of(const char *dir, CacheKey k) {
  return str_fmt("%s/%016llx%016llx.code", dir, (unsigned long long)k.half[0],
                 (unsigned long long)k.half[1]);
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
static bool trusted(const char *path) {
  struct stat s;
  return stat(path, &s) == 0 && S_ISREG(s.st_mode) && s.st_uid == geteuid() &&
         !(s.st_mode & (S_IWGRP | S_IWOTH));
}

bool cache_get(CacheKey k, void **bytes, size_t *n) {
  const char *dir = folder(), *path = dir ? path_of(dir, k) : NULL;
  char *text;
  size_t size;
  Head h;
  if (!path || !trusted(path) || file_read(path, most_bytes, &text, &size)) return false;
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
  const char *dir = folder();
  if (!dir || !make_folder(dir) || n > most_bytes / 4) return;
  Head h = {.key = k, .n = n, .sum = hash_bytes(bytes, n, n)};
  memcpy(h.magic, magic, sizeof magic);
  char *all = NEW_BYTES(sizeof h + n);
  memcpy(all, &h, sizeof h);
  memcpy(all + sizeof h, bytes, n);
  mode_t was = umask(077);
  (void)file_write(path_of(dir, k), all, sizeof h + n);
  umask(was);
  evict(dir);
}
