/* special.c -- see special.h.  All memory is malloc's, and the thread takes no
 * signals and no memory of anyone else's.                                    */
#define _GNU_SOURCE
#include "codegen/native/special.h"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include "codegen/native/helper.h"
#include "codegen/native/launch.h"
#include "codegen/native/object.h"

enum {
  MOST_SEEN = 4,       /* extents watched per kernel, and versions it may have */
  MOST_VERSIONS = 512, /* of a program */
  FEWEST = 4,          /* launches before a version */
  NICE = 10
};
/* Units of kernel_cost, about 20 to 50 ms: what compiling a kernel takes. */
static const uint64_t WORTH = 4000000000u;

typedef struct {
  uint64_t cost, launches; /* of one launch; so far         */
  bool asked;
  int64_t sym[K_MAX_SYMS];
} Extents;

struct Seen {
  atomic_flag busy;
  int versions, turn; /* asked for; the entry to give up next */
  Extents at[MOST_SEEN];
};

/* A version that was asked for, and, once it is published, is there. */
typedef struct Request {
  struct Request *next;
  NativeKernel *f;
  Version version;
  Object *object;
  void *bytes;
  size_t n;
} Request;

struct Special {
  SpecialMaker how;
  pthread_mutex_t lock;
  pthread_cond_t wake, done;
  pthread_t thread;
  bool running, tried;
  atomic_bool end, at_once;
  Request *first, *last; /* wanted                        */
  Request *made;
  uint32_t n, n_loaded, n_requests;
};

Special *special_new(SpecialMaker how) {
  Special *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  s->how = how;
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->wake, NULL);
  pthread_cond_init(&s->done, NULL);
  return s;
}

static void free_requests(Request *o) {
  for (Request *next; o; o = next) {
    next = o->next;
    object_free(o->object);
    free(o->bytes);
    free(o);
  }
}

void special_free(Special *s) {
  if (!s) return;
  pthread_mutex_lock(&s->lock);
  atomic_store(&s->end, true);
  pthread_cond_signal(&s->wake);
  pthread_mutex_unlock(&s->lock);
  if (s->running) pthread_join(s->thread, NULL);
  free_requests(s->first);
  free_requests(s->made);
  pthread_mutex_destroy(&s->lock);
  pthread_cond_destroy(&s->wake);
  pthread_cond_destroy(&s->done);
  free(s);
}

void special_at_once(Special *s, bool yes) { atomic_store(&s->at_once, yes); }

bool special_add(Special *s, NativeKernel *f) {
  if (!native_fixable(f->k)) return true;
  f->seen = calloc(1, sizeof *f->seen);
  if (!f->seen) return false;
  atomic_flag_clear(&f->seen->busy);
  f->special = s;
  return true;
}

uint32_t special_count(Special *s) {
  pthread_mutex_lock(&s->lock);
  uint32_t n = s->n;
  pthread_mutex_unlock(&s->lock);
  return n;
}

void special_each(Special *s, void (*f)(void *, uint32_t, const Object *), void *user) {
  pthread_mutex_lock(&s->lock);
  for (const Request *o = s->made; o; o = o->next) f(user, o->f->number, o->object);
  pthread_mutex_unlock(&s->lock);
}

/* ---- versions ------------------------------------------------------------------------ */
static size_t sym_bytes(const NativeKernel *f) { return f->k->n_syms * sizeof(int64_t); }

/* With the lock. */
static void publish(Special *s, Request *o) {
  NativeKernel *f = o->f;
  o->next = s->made;
  s->made = o;
  s->n++;
  o->version.next = atomic_load(&f->versions);
  atomic_store_explicit(&f->versions, &o->version, memory_order_release);
}

/* From the bytes of its object. */
static bool link_request(Request *o) {
  const char *why;
  ObjectFile file = {o->bytes, o->n};
  o->object = o->bytes ? object_load(&file, 1, helper_find, NULL, &why) : NULL;
  void *at = o->object ? object_find(o->object, "k0") : NULL;
  o->version.code = (KernelCode)(uintptr_t)at;
  return at != NULL;
}

/* ---- the thread ------------------------------------------------------------------------ */
static Request *next_request(Special *s) {
  pthread_mutex_lock(&s->lock);
  while (!s->first && !atomic_load(&s->end)) pthread_cond_wait(&s->wake, &s->lock);
  Request *o = atomic_load(&s->end) ? NULL : s->first;
  if (o) {
    s->first = o->next;
    if (!s->first) s->last = NULL;
  }
  pthread_mutex_unlock(&s->lock);
  return o;
}

static void *work(void *arg) {
  Special *s = arg;
  (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
  for (Request *o; (o = next_request(s));) {
    o->next = NULL;
    o->bytes = s->how.compile(s->how.user, o->f->k, o->version.sym, &s->end, &o->n);
    bool ok = link_request(o);
    pthread_mutex_lock(&s->lock);
    if (ok) publish(s, o);
    s->n_requests--;
    pthread_cond_broadcast(&s->done);
    pthread_mutex_unlock(&s->lock);
    if (!ok) free_requests(o);
  }
  return NULL;
}

/* With the lock. */
static void start(Special *s) {
  sigset_t all, before;
  if (s->tried) return;
  s->tried = true;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  s->running = pthread_create(&s->thread, NULL, work, s) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void request(Special *s, NativeKernel *f, const int64_t *sym) {
  Request *o = calloc(1, sizeof *o);
  if (!o) return;
  o->f = f;
  memcpy(o->version.sym, sym, sym_bytes(f));
  pthread_mutex_lock(&s->lock);
  start(s);
  if (!s->running || s->n + s->n_requests >= MOST_VERSIONS) {
    pthread_mutex_unlock(&s->lock);
    free(o);
    return;
  }
  if (s->last)
    s->last->next = o;
  else
    s->first = o;
  s->last = o;
  s->n_requests++;
  pthread_cond_signal(&s->wake);
  while (atomic_load(&s->at_once) && s->n_requests > 0) pthread_cond_wait(&s->done, &s->lock);
  pthread_mutex_unlock(&s->lock);
}

/* ---- launches ----------------------------------------------------------------------------- */
static const Version *find(NativeKernel *f, const int64_t *sym) {
  const Version *v = atomic_load_explicit(&f->versions, memory_order_acquire);
  while (v && memcmp(v->sym, sym, sym_bytes(f)) != 0) v = v->next;
  return v;
}

/* The entry for these extents, in place of the one with fewest launches if there is none. */
static Extents *entry_for(NativeKernel *f, const int64_t *sym) {
  struct Seen *s = f->seen;
  Extents *least = NULL;
  for (int i = 0; i < MOST_SEEN; i++) {
    Extents *x = &s->at[(s->turn + i) % MOST_SEEN];
    if (x->launches > 0 && memcmp(x->sym, sym, sym_bytes(f)) == 0) return x;
    if (!x->asked && (!least || x->launches < least->launches)) least = x;
  }
  if (!least) return NULL;
  s->turn = (s->turn + 1) % MOST_SEEN;
  *least = (Extents){0};
  memcpy(least->sym, sym, sym_bytes(f));
  return least;
}

/* Is it time for a version?  Launches on other threads meanwhile are not counted. */
static bool count(NativeKernel *f, const int64_t *sym) {
  struct Seen *s = f->seen;
  if (atomic_flag_test_and_set_explicit(&s->busy, memory_order_acquire)) return false;
  Extents *x = s->versions < MOST_SEEN ? entry_for(f, sym) : NULL;
  bool due = false;
  if (x && !x->asked) {
    x->launches++;
    if (x->launches == FEWEST) x->cost = kernel_cost(f->k, sym);
    bool worth = x->launches >= FEWEST && x->cost >= WORTH / x->launches;
    due = x->asked = worth || atomic_load(&f->special->at_once);
    s->versions += due;
  }
  atomic_flag_clear_explicit(&s->busy, memory_order_release);
  return due;
}

KernelCode special_code(NativeKernel *f, const int64_t *sym) {
  const Version *v = find(f, sym);
  if (v) return v->code;
  if (count(f, sym)) request(f->special, f, sym);
  v = atomic_load_explicit(&f->special->at_once, memory_order_relaxed) ? find(f, sym) : NULL;
  return v ? v->code : f->code;
}

/* ---- kept ---------------------------------------------------------------------------------- */
typedef struct {
  uint32_t kernel, n_syms;
  uint64_t n; /* bytes of the object, behind this and the symbols */
} Kept;

static size_t up16(size_t n) { return (n + 15) & ~(size_t)15; }
static size_t head_bytes(uint32_t n_syms) { return up16(sizeof(Kept) + n_syms * sizeof(int64_t)); }

void *special_pack(Special *s, size_t *bytes) {
  size_t total = 0;
  uint8_t *out = NULL, *at;
  pthread_mutex_lock(&s->lock);
  for (const Request *o = s->made; o; o = o->next)
    total += head_bytes(o->f->k->n_syms) + up16(o->n);
  if (s->n > s->n_loaded) out = calloc(1, total);
  at = out;
  for (const Request *o = s->made; at && o; o = o->next) {
    Kept k = {o->f->number, o->f->k->n_syms, o->n};
    memcpy(at, &k, sizeof k);
    memcpy(at + sizeof k, o->version.sym, sym_bytes(o->f));
    at += head_bytes(k.n_syms);
    memcpy(at, o->bytes, o->n);
    at += up16(o->n);
  }
  pthread_mutex_unlock(&s->lock);
  *bytes = total;
  return out;
}

/* The next of the kept versions, moving on; NULL: no more, or damaged. */
static Request *unpack(NativeKernel *const *kernel, uint32_t n, const uint8_t **at, size_t *left) {
  Kept k;
  if (*left < sizeof k) return NULL;
  memcpy(&k, *at, sizeof k);
  if (k.kernel >= n || !kernel[k.kernel] || !kernel[k.kernel]->special) return NULL;
  size_t head = head_bytes(k.n_syms);
  if (k.n_syms != kernel[k.kernel]->k->n_syms || *left < head || k.n > *left - head) return NULL;
  Request *o = calloc(1, sizeof *o);
  if (!o) return NULL;
  o->f = kernel[k.kernel];
  o->n = k.n;
  o->bytes = malloc(k.n + 1);
  if (o->bytes) memcpy(o->bytes, *at + head, k.n);
  memcpy(o->version.sym, *at + sizeof k, sym_bytes(o->f));
  size_t all = head + up16(k.n);
  if (all > *left) all = *left;
  *at += all;
  *left -= all;
  return o;
}

void special_load(Special *s, NativeKernel *const *kernel, uint32_t n, const void *bytes,
                  size_t size) {
  const uint8_t *at = bytes;
  for (Request *o; (o = unpack(kernel, n, &at, &size));) {
    if (o->f->seen->versions++ >= MOST_SEEN || !link_request(o)) {
      free_requests(o);
      continue;
    }
    pthread_mutex_lock(&s->lock);
    publish(s, o);
    s->n_loaded++;
    pthread_mutex_unlock(&s->lock);
  }
}
