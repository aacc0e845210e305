/* module.c -- the compiler's context and the program as a whole.  */
#include "ir/diff.h"

IrCtx *irctx_new(void) {
  IrCtx *cx = NEW(IrCtx);
  cx->syms = symtab_new();
  cx->dims = dimtab_new();
  return cx;
}

void irctx_set_ops(IrCtx *cx, const OpDef *const *ops, int n) {
  cx->ops = ops;
  cx->n_ops = n;
  cx->op_by_name = (Map){0};
  for (int i = 0; i < n; i++)
    map_set(&cx->op_by_name, map_ptr(sym(cx->syms, ops[i]->name)), (void *)(uintptr_t)ops[i]);
  for (int i = 0; i < n_diff_ops; i++)
    map_set(&cx->op_by_name, map_ptr(sym(cx->syms, diff_ops[i]->name)),
            (void *)(uintptr_t)diff_ops[i]);
}

const OpDef *irctx_op(const IrCtx *cx, Sym name) { return map_get(&cx->op_by_name, map_ptr(name)); }

Module *module_new(IrCtx *cx, Sources *sources) {
  Module *m = NEW(Module);
  m->cx = cx;
  m->sources = sources;
  return m;
}

Global *module_find(const Module *m, const char *name) {
  return map_get(&m->global_by_name, map_ptr(sym(m->cx->syms, name)));
}
