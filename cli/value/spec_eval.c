/* spec_eval.c -- an input that is to be computed: @map(@double, Cons(1, Nil)).
 *
 * The expression becomes the body of one more function behind the text of the
 * program, its files the parameters; that is compiled, run in an instance of
 * its own, and the value copied out.                                         */
#include "cli/cli.h"
#include "cli/value/show.h"
#include "cli/value/spec.h"
#include "codegen/lower/lower.h"
#include "parser/lex.h"

typedef struct {
  const char *path, *name;
  Tensor *value;
} FileParam;
typedef struct {
  VEC(FileParam) at;
  StrBuf body;
} Body;

static const char entry_name[] = "__input";

/* Copies the expression, each @file replaced by a parameter. */
static bool put_body(const char *text, Body *b, SpecError *why) {
  Sources src = {0};
  Lexer lx = lex_start(&src, source_add(&src, "input", text, strlen(text)), NULL);
  size_t done = 0;
  lx.paths = true;
  for (Token t = lex_next(&lx); t.kind != T_EOF; t = lex_next(&lx)) {
    const char *path = str_fmt("%.*s", (int)t.n, t.s);
    if (t.kind != T_GLOBAL || !spec_names_file(path)) continue;
    FileParam f = {path, str_fmt("__file%d", b->at.n), spec_file_tensor(path, why)};
    if (!f.value) return false;
    vec_push(&b->at, f);
    buf_put(&b->body, text + done, t.span.at - done);
    buf_fmt(&b->body, "%%%s", f.name);
    done = t.span.at + t.span.len;
  }
  buf_str(&b->body, text + done);
  return true;
}

static const char *put_program(const rvm_program *p, rvm_type t, const Source *main, const Body *b,
                               size_t *n) {
  StrBuf out = {0};
  buf_put(&out, main->text, main->n);
  buf_fmt(&out, "\ndef @%s(", entry_name);
  for (int i = 0; i < b->at.n; i++) {
    const Tensor *x = b->at.at[i].value;
    buf_fmt(&out, "%s%%%s: ", i ? ", " : "", b->at.at[i].name);
    type_text_of(x->dtype, x->rank, x->dim, &out);
  }
  buf_fmt(&out, ") -> %s {\n  %s\n}\n", type_of_value(p, t), b->body.s);
  *n = out.n;
  return out.s;
}

/* ---- the value, copied -------------------------------------------------------------------- */
typedef struct {
  rvm_value v;
  InValue *to;
  uint32_t i;
} Copying;

static InValue *copy_node(const rvm_program *q, rvm_instance *vm, rvm_value v, const rvm_program *p,
                          rvm_type t, SpecError *why) {
  rvm_type_info a = {0}, b = {0};
  rvm_type_describe(q, v.type, &a);
  rvm_type_describe(p, t, &b);
  if (a.kind != b.kind || a.kind > RVM_DATA)
    return spec_bad(why, "a value of type %s cannot be given", type_of_value(p, t));
  if (a.kind == RVM_TENSOR) {
    TensorSet one = {0};
    values_to_set(q, vm, v, &one);
    return invalue_tensor(p, t, one.at[0].value, why);
  }
  uint32_t c = rvm_value_ctor(vm, v), n = rvm_ctor_fields(q, v.type, c);
  if (c >= b.n_ctors || rvm_ctor_fields(p, t, c) != n)
    return spec_bad(why, "the value is of another type");
  return invalue_data(t, c, n);
}

static InValue *copy_value(const rvm_program *q, rvm_instance *vm, rvm_value v,
                           const rvm_program *p, rvm_type t, SpecError *why) {
  VEC(Copying) open = {0};
  InValue *root = copy_node(q, vm, v, p, t, why), *made = root;
  for (rvm_value at = v; made;) {
    if (made->n > 0) vec_push(&open, ((Copying){at, made, 0}));
    while (open.n > 0 && vec_last(&open).i == vec_last(&open).to->n) open.n--;
    if (open.n == 0) return root;
    Copying *f = &vec_last(&open);
    at = rvm_value_field(vm, f->v, f->i);
    made = copy_node(q, vm, at, p, rvm_ctor_field(p, f->to->type, f->to->ctor, f->i), why);
    f->to->at[f->i++] = made;
  }
  return NULL;
}

/* ---- compile, run --------------------------------------------------------------------------- */
static bool compile(const Module *m, const rvm_program *p, rvm_type t, const Body *b,
                    uint8_t **bytes, size_t *n, SpecError *why) {
  Driver *d = NEW(Driver);
  Image image;
  size_t len;
  const Source *main = source_get(m->sources, 1);
  const char *text = put_program(p, t, main, b, &len);
  driver_init(d, NULL);
  Module *fresh = driver_load_text(d, (TextFile){main->path, text, len}, true);
  Global *g = fresh ? module_find(fresh, entry_name) : NULL;
  if (g && lower_module(fresh, 1, &g, d->diags, &image) && d->diags->n_errors == 0) {
    *bytes = image_write(&image, lower_alloc(), n);
    return true;
  }
  StrBuf said = {0};
  /* Not even an expression: what was found wrong with the value says more. */
  if (d->diags->n && d->diags->at[0].code < E0202) return false;
  diag_render(d->diags, &said, false);
  spec_bad(why, "the expression is not valid (it is shown as the function @%s)\n%s", entry_name,
           buf_text(&said));
  return false;
}

static bool give_files(rvm_instance *vm, const rvm_program *q, rvm_func f, const Body *b,
                       rvm_value *in, rvm_error *err) {
  for (int i = 0; i < b->at.n; i++) {
    InValue leaf = {.type = rvm_func_param(q, f, (uint32_t)i), .tensor = b->at.at[i].value};
    if (invalue_make(vm, &leaf, &in[i], err) != RVM_OK) return false;
  }
  return true;
}

static InValue *run(const rvm_program *q, const Body *b, const rvm_program *p, rvm_type t,
                    SpecError *why) {
  rvm_instance *vm = NULL;
  rvm_error err = {0};
  rvm_func f;
  rvm_value out;
  rvm_value *in = NEW_N(rvm_value, b->at.n + 1);
  rvm_limits limits = {.memory = host_memory()};
  InValue *v = NULL;
  bool ran = rvm_program_find(q, entry_name, &f, &err) == RVM_OK &&
             rvm_instance_new(q, &limits, host_alloc(), &vm, &err) == RVM_OK &&
             give_files(vm, q, f, b, in, &err) && rvm_apply(vm, f, in, &out, &err) == RVM_OK;
  if (ran)
    v = copy_value(q, vm, out, p, t, why);
  else
    spec_bad(why, "the expression failed: %s", err.message);
  if (vm) rvm_instance_free(vm);
  return v;
}

InValue *invalue_compute(const rvm_program *p, rvm_type t, const Module *m, const char *text,
                         SpecError *why) {
  Body b = {0};
  uint8_t *bytes = NULL;
  size_t n;
  rvm_program *q;
  rvm_error err = {0};
  if (!put_body(text, &b, why) || !compile(m, p, t, &b, &bytes, &n, why)) return NULL;
  uint8_t *volatile held = bytes; /* the program borrows them, unseen by a collector */
  if (rvm_program_load(bytes, n, host_alloc(), &q, &err) != RVM_OK)
    return spec_bad(why, "the expression failed: %s", err.message);
  InValue *v = run(q, &b, p, t, why);
  rvm_program_free(q);
  (void)held;
  return v;
}
