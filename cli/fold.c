/* fold.c -- running a piece of a program while compiling it.                  */
#include "cli/cli.h"
#include "codegen/lower/lower.h"

static Global *lone_global(Module *m, Block *body, Type *t) {
  Fn *f = NEW(Fn);
  Global *g = NEW(Global);
  *f = (Fn){.span = body->span, .ret = t, .body = body};
  *g = (Global){.name = sym(m->cx->syms, "main"), .span = body->span, .fn = f};
  g->type = type_fn(0, NULL, 0, NULL, 0, NULL, t);
  vec_push(&m->globals, g);
  map_set(&m->global_by_name, map_ptr(g->name), g);
  m->form = FORM_TYPED;
  return g;
}

static const Tensor *tensor_of(const rvm_instance *vm, const rvm_value *v, Type *t) {
  DLTensor x;
  t = type_resolve(t);
  rvm_value_get(vm, v, &x);
  Tensor *to = tensor_new(t->tensor.dtype, x.ndim, x.shape);
  memcpy(to->bytes, (const char *)x.data + x.byte_offset,
         (size_t)to->count * (size_t)dtype_bytes(to->dtype));
  return to;
}

static bool run(rvm_program *p, rvm_instance *vm, Type *t, int n, const Tensor **out) {
  rvm_func f;
  rvm_value v, none;
  rvm_error err;
  if (rvm_program_find(p, "main", &f, &err) != RVM_OK) return false;
  if (rvm_apply(vm, f, &none, &v, &err) != RVM_OK) return false;
  for (int i = 0; i < n; i++) {
    rvm_value field = rvm_value_field(vm, v, (uint32_t)i);
    out[i] = tensor_of(vm, &field, t->tuple.at[i]);
  }
  rvm_value_release(vm, v);
  return true;
}

bool driver_eval(void *ud, Block *closed, Type *t, int n, const Tensor **out) {
  Driver *d = ud;
  Module *m = module_new(d->cx, &d->sources);
  Global *g = lone_global(m, closed, t);
  Image image;
  size_t size;
  rvm_program *p = NULL;
  rvm_instance *vm = NULL;
  rvm_error err;
  Diags *diags = diags_new(&d->sources);
  if (!lower_module(m, 1, &g, diags, &image) || diags->n_errors) return false;
  uint8_t *bytes = image_write(&image, lower_alloc(), &size);
  uint8_t *volatile held = bytes; /* the program borrows them, unseen by a collector */
  rvm_limits limits = {0};
  bool ok = rvm_program_load(bytes, size, host_alloc(), &p, &err) == RVM_OK &&
            rvm_instance_new(p, &limits, host_alloc(), &vm, &err) == RVM_OK &&
            run(p, vm, t, n, out);
  if (vm) rvm_instance_free(vm);
  if (p) rvm_program_free(p);
  (void)held;
  return ok;
}
