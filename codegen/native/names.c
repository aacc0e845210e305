/* names.c -- see names.h.  Symbols of an object are k<kernel>, f<function>, its entries from
 * outside e<function> and c<function>, each perhaps inside "inner.".                     */
#include "codegen/native/names.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "vm/runtime.h"

typedef struct {
  const Image *m;
  const LaunchSites *sites;
  int64_t version; /* the object is one of this kernel; or -1  */
  void (*f)(void *, const char *, uintptr_t, size_t);
  void *user;
} Names;

static void readable(void *user, const char *name, uintptr_t at, size_t n) {
  const Names *e = user;
  const Image *m = e->m;
  const ILine *line = NULL;
  char text[400];
  int end;
  const char *inner = strncmp(name, "inner.", 6) == 0 ? name + 6 : name;
  unsigned long i = e->version < 0 ? strtoul(inner + 1, NULL, 10) : (unsigned long)e->version;
  if (*inner == 'k' && i < m->n_kernels) {
    end = snprintf(text, 160, "kernel %s%s", m->kernel[i]->text + m->kernel[i]->name,
                   e->version < 0 ? "" : " (version)");
    if (e->sites) line = e->sites[i].first;
  } else if ((*inner == 'f' || *inner == 'e' || *inner == 'c') && i < m->n_funcs) {
    end = snprintf(text, 160, "function %s%s", m->text + m->func[i].name,
                   *inner == 'f' ? "" : " (call)");
    line = image_line(m, &m->func[i], 0);
  } else {
    end = snprintf(text, 160, "%s", name);
  }
  if (end > 159) end = 159;
  if (line)
    snprintf(text + end, sizeof text - (size_t)end, " %s:%u", m->text + line->file, line->line);
  e->f(e->user, text, at, n);
}

void names_each(const Object *o, const Image *m, const LaunchSites *sites, int64_t version,
                void (*f)(void *, const char *, uintptr_t, size_t), void *user) {
  object_each(o, readable, &(Names){m, sites, version, f, user});
}
