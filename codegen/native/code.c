/* code.c -- see code.h.  The memory is malloc's: programs hold pointers to it
 * where a collector does not look.                                           */
#include "codegen/native/code.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "codegen/native/engine.h"
#include "codegen/native/helper.h"
#include "codegen/native/launch.h"
#include "codegen/native/machine.h"
#include "codegen/native/names.h"
#include "vm/program.h"

static const char magic[8] = "rvmcode";
typedef struct {
  char magic[8];
  uint64_t n; /* then n sizes, then the objects, each 16-aligned */
} Head;

struct NativeCode {
  const rvm_program *p;
  Object *object;
  NativeKernel *all; /* of the kernels                */
  EngineEntry *entry;
  Team *team;
  Room *room;
  PackedForms forms;
  Special *special;
  bool whole;
};

/* ---- packing ---------------------------------------------------------------------- */
static size_t up16(size_t n) { return (n + 15) & ~(size_t)15; }

void *code_pack(const ObjectFile *file, size_t n, size_t *bytes) {
  size_t total = up16(sizeof(Head) + n * 8), at = total;
  for (size_t i = 0; i < n; i++) total += up16(file[i].n);
  uint8_t *out = calloc(1, total);
  if (!out) return NULL;
  Head h = {.n = n};
  memcpy(h.magic, magic, sizeof h.magic);
  memcpy(out, &h, sizeof h);
  for (size_t i = 0; i < n; i++) {
    uint64_t size = file[i].n;
    memcpy(out + sizeof h + i * 8, &size, 8);
    memcpy(out + at, file[i].bytes, file[i].n);
    at += up16(file[i].n);
  }
  *bytes = total;
  return out;
}

static ObjectFile *unpack(const uint8_t *in, size_t bytes, size_t *n) {
  Head h;
  if (bytes < sizeof h) return NULL;
  memcpy(&h, in, sizeof h);
  if (memcmp(h.magic, magic, sizeof h.magic) != 0 || h.n > (bytes - sizeof h) / 8) return NULL;
  size_t at = up16(sizeof h + h.n * 8);
  ObjectFile *f = calloc(h.n + 1, sizeof *f);
  for (size_t i = 0; f && i < h.n; i++) {
    uint64_t size;
    memcpy(&size, in + sizeof h + i * 8, 8);
    if (at > bytes || size > bytes - at) {
      free(f);
      return NULL;
    }
    f[i] = (ObjectFile){in + at, size};
    at += up16(size);
  }
  *n = h.n;
  return f;
}

/* ---- plugging in --------------------------------------------------------------------- */
static void *find_numbered(const NativeCode *c, char letter, uint32_t i) {
  char name[16];
  snprintf(name, sizeof name, "%c%u", letter, i);
  return object_find(c->object, name);
}

static bool find_kernels(NativeCode *c, const rvm_program *p) {
  for (uint32_t i = 0; i < p->im.n_kernels; i++) {
    const KernelInfo *k = &p->kernel[i];
    void *at = find_numbered(c, 'k', i);
    if (!at) continue;
    NativeKernel *f =
        native_new((KernelCode)(uintptr_t)at, p->im.kernel[i], k->fn, k->ctx, c->room);
    if (!f) return false;
    native_constants(f, p->im.data, p->im.n_data);
    f->shared = &c->forms;
    f->next = c->all, f->number = i;
    c->all = f;
  }
  return true;
}

static bool find_functions(NativeCode *c, const rvm_program *p) {
  if (p->im.n_entries == 0 || !find_numbered(c, 'e', p->im.entry[0].func)) return true;
  c->entry = calloc(p->im.n_funcs + 1, sizeof *c->entry);
  if (!c->entry) return false;
  for (uint32_t i = 0; i < p->im.n_entries; i++) {
    uint32_t f = p->im.entry[i].func;
    c->entry[f] = (EngineEntry)(uintptr_t)find_numbered(c, 'e', f);
    if (!c->entry[f]) return false;
  }
  return c->whole = true;
}

/* Once nothing can fail any more: what p points to stays. */
static void plug_in(const NativeCode *c, rvm_program *p) {
  for (NativeKernel *f = c->all; f; f = f->next)
    program_set_kernel(p, f->number, native_run, f); /* of the VM: no buffers overlap */
  if (c->whole) engine_install(p, c->entry);
}

static void *resolve(void *user, const char *name) {
  const rvm_program *p = user;
  return strcmp(name, "rvm.konst") == 0 ? p->konst : helper_find(NULL, name);
}

NativeCode *code_load(rvm_program *p, const void *bytes, size_t n, const char **why) {
  size_t n_files;
  NativeCode *c = calloc(1, sizeof *c);
  ObjectFile *file = unpack(bytes, n, &n_files);
  *why = "the machine code is damaged";
  if (c && file) {
    c->p = p;
    c->object = object_load(file, n_files, resolve, p, why);
  }
  free(file);
  if (c && c->object) {
    *why = "no memory for the machine code";
    c->room = room_new();
    if (c->room && find_functions(c, p) && find_kernels(c, p)) {
      plug_in(c, p);
      return c;
    }
  }
  code_free(c);
  return NULL;
}

void code_threads(NativeCode *c, int threads) {
  bool splits = false;
  for (const NativeKernel *f = c->all; f && !splits; f = f->next) splits = f->splits;
  c->team = splits ? team_new(threads ? threads : machine_cores(NULL, TEAM_MOST)) : NULL;
  for (NativeKernel *f = c->all; f; f = f->next) f->team = c->team;
}

bool code_specialise(NativeCode *c, SpecialMaker how, const void *kept, size_t n) {
  uint32_t n_kernels = c->p->im.n_kernels;
  NativeKernel **by_number = calloc(n_kernels + 1, sizeof *by_number);
  c->special = by_number ? special_new(how) : NULL;
  bool ok = c->special != NULL;
  for (NativeKernel *f = c->all; f && ok; f = f->next) {
    by_number[f->number] = f;
    ok = special_add(c->special, f);
  }
  if (ok) special_load(c->special, by_number, n_kernels, kept, n);
  free(by_number);
  return ok;
}

Special *code_special(const NativeCode *c) { return c->special; }

void code_free(NativeCode *c) {
  if (!c) return;
  special_free(c->special);
  team_free(c->team);
  for (NativeKernel *f = c->all, *next; f; f = next) {
    next = f->next;
    native_free(f);
  }
  room_free(c->room);
  object_free(c->object);
  free(c->entry);
  free(c);
}

bool code_whole(const NativeCode *c) { return c->whole; }

typedef struct {
  const Image *m;
  const LaunchSites *sites;
  void (*f)(void *, const char *, uintptr_t, size_t);
  void *user;
} Each;
static void each_version(void *user, uint32_t kernel, const Object *code) {
  const Each *e = user;
  names_each(code, e->m, e->sites, kernel, e->f, e->user);
}

void code_each(const NativeCode *c, void (*f)(void *, const char *, uintptr_t, size_t),
               void *user) {
  const Image *m = &c->p->im;
  LaunchSites *sites = calloc(m->n_kernels + 1, sizeof *sites);
  if (sites) image_launch_sites(m, sites);
  names_each(c->object, m, sites, -1, f, user);
  if (c->special) special_each(c->special, each_version, &(Each){m, sites, f, user});
  free(sites);
}
