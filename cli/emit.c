/* emit.c -- see emit.h.                                                         */
#include "cli/emit.h"
#include <stdlib.h>
#include "base/file.h"
#include "cli/native.h"
#include "codegen/lower/lower.h"
#include "kernel/text.h"

typedef struct {
  const Compiled *c;
  bool fast_math;
} Built;

/* Each appends its text, or says why not. */
static const char *emit_ir(const Built *b, StrBuf *out) {
  if (!b->c->m) return "an image has no text of its program: give the .rly file";
  ir_print_module(b->c->m, &(PrintOpts){0}, out);
  return NULL;
}

static const char *emit_kernels(const Built *b, StrBuf *out) {
  Image im;
  ImageError err;
  size_t n;
  if (!image_read(b->c->bytes, b->c->n, lower_alloc(), &im, &err)) return err.why;
  for (uint32_t i = 0; i < im.n_kernels; i++) {
    const char *text = kernel_print(im.kernel[i], lower_alloc(), &n);
    buf_fmt(out, "%s%.*s", i ? "\n" : "", (int)n, text);
  }
  return NULL;
}

static const char *emit_machine(const Built *b, bool assembly, StrBuf *out) {
  const char *why = NULL;
  char *text = native_text(b->c->bytes, b->c->n, assembly, b->fast_math, &why);
  if (text) buf_str(out, text);
  free(text);
  return text ? NULL : why;
}
static const char *emit_llvm(const Built *b, StrBuf *out) { return emit_machine(b, false, out); }
static const char *emit_asm(const Built *b, StrBuf *out) { return emit_machine(b, true, out); }

static const struct {
  const char *name;
  const char *(*emit)(const Built *b, StrBuf *out);
} stages[] = {{"ir", emit_ir}, {"kernel", emit_kernels}, {"llvm", emit_llvm}, {"asm", emit_asm}};
enum { N_STAGES = sizeof stages / sizeof *stages };

/* The stage a list begins with, or N_STAGES; *n: the length of its name. */
static int stage_of(const char *list, size_t *n) {
  int i = 0;
  *n = strcspn(list, ",");
  while (i < N_STAGES && (strlen(stages[i].name) != *n || strncmp(stages[i].name, list, *n) != 0))
    i++;
  return i;
}

bool emit_known(const char *kinds) {
  size_t n;
  for (const char *p = kinds; *p; p += n + (p[n] == ','))
    if (stage_of(p, &n) == N_STAGES) return false;
  return *kinds != 0;
}

int emit_stages(const char *kinds, const char *out, const char *path, const Compiled *c,
                bool fast_math) {
  Built b = {c, fast_math};
  StrBuf text = {0};
  size_t len;
  for (const char *p = kinds; *p; p += len + (p[len] == ',')) {
    const char *why = stages[stage_of(p, &len)].emit(&b, &text);
    if (!why) continue;
    fprintf(stderr, "rvm: %s: --emit: %s\n", path, why);
    return EXIT_REJECTED;
  }
  if (!out) return fputs(buf_text(&text), stdout), EXIT_OK;
  const char *why = file_write(out, buf_text(&text), text.n);
  return why ? fail_io(str_fmt("%s: %s", out, why)) : EXIT_OK;
}
