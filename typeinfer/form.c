/* form.c -- grad(f), vjp(f), jvp(f), checkpoint(f): see ir/diff.h.            */
#include "ir/diff.h"
#include "typeinfer/state.h"

Type *check_form(Infer *I, Expr *e) {
  const char *name = e->Call.callee.op->name;
  Type *f = e->Call.n_args == 1 ? type_resolve(atom_type(I, &e->Call.args[0], NULL)) : NULL;
  if (e->Call.attrs.n) diag_error(I->d, e->Call.attrs.at[0].span, E0110, name);
  if (!f) {
    for (int i = 0; i < e->Call.n_args; i++) atom_type(I, &e->Call.args[i], NULL);
    diag_error(I->d, e->span, E0207, name, "1 argument", e->Call.n_args);
    return type_error();
  }
  if (f->kind == TY_Fn) return diff_type(diff_kind(e), f);
  if (f->kind == TY_Meta)
    diag_error(I->d, e->Call.args[0].span, E0302, str_fmt("the function that %s takes", name));
  else if (f->kind != TY_Error)
    diag_error(I->d, e->Call.args[0].span, E0308, name, "f", "a function", show(I, f));
  return type_error();
}
