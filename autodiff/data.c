/* data.c -- data types made: of new names, and like one of the program with other fields. */
#include "autodiff/forward.h"

/* ---- new data types ------------------------------------------------------------- */

Sym ad_free_name(AD *ad, const Map *taken, const char *want) {
  Sym s = sym(ad->cx->syms, want);
  for (int i = 2; map_get(taken, map_ptr(s)); i++) s = sym(ad->cx->syms, str_fmt("%s_%d", want, i));
  return s;
}

DataDef *ad_new_def(AD *ad, const char *want, Span at) {
  DataDef *d = NEW(DataDef);
  d->name = ad_free_name(ad, &ad->m->type_by_name, want);
  d->span = at;
  map_set(&ad->m->type_by_name, map_ptr(d->name), d);
  vec_push(&ad->m->types, d);
  return d;
}

Ctor *ad_new_ctor(AD *ad, DataDef *d, const char *want, int n, int n_ctors) {
  Ctor *c = NEW(Ctor);
  *c = (Ctor){.name = ad_free_name(ad, &ad->m->ctor_by_name, want), .span = d->span, .def = d};
  if (!d->ctor) d->ctor = NEW_N(Ctor *, n_ctors);
  c->tag = d->n_ctors;
  c->n = n;
  c->field = NEW_N(Type *, n + 1);
  map_set(&ad->m->ctor_by_name, map_ptr(c->name), c);
  return d->ctor[d->n_ctors++] = c;
}

/* ---- types within types of the same definition ---------------------------------------- */

enum { MAX_NESTED = 12 };
bool ever_larger(const DefPath *path, const DataDef *def) {
  int n = 0;
  for (; path; path = path->up) n += path->def == def;
  return n > MAX_NESTED;
}

bool ad_enter(AD *ad, const DataDef *def, DefPath *path) {
  bool larger = ever_larger(ad->within, def);
  if (larger && !ad->errors)
    ad_fail(ad, def->span, "the fields of %s hold it at ever larger types", def->name);
  *path = (DefPath){def, ad->within};
  if (!larger) ad->within = path;
  return !larger;
}
void ad_leave(AD *ad) { ad->within = ad->within->up; }

/* ---- like another ----------------------------------------------------------------------- */

/* With constructors of as many fields, which are to be filled in. */
static DataDef *like(AD *ad, const DataDef *of, const char *suffix) {
  DataDef *d = ad_new_def(ad, str_fmt("%s_%s", of->name, suffix), of->span);
  for (int i = 0; i < of->n_ctors; i++) {
    const Ctor *c = of->ctor[i];
    ad_new_ctor(ad, d, str_fmt("%s_%s", c->name, suffix), c->n, of->n_ctors);
  }
  return d;
}

DataDef *ad_generic_data(AD *ad, Map *made, const char *suffix, DataDef *of, FieldType *field,
                         void *ud) {
  DataDef *d = map_get(made, map_ptr(of));
  if (d) return d;
  bool own = ad_moves_itself(ad, of);
  d = own ? like(ad, of, suffix) : of;
  map_set(made, map_ptr(of), d);
  if (!own) return d;
  d->n_vars = of->n_vars;
  d->var = of->var;
  for (int i = 0; i < of->n_ctors; i++)
    for (int k = 0; k < of->ctor[i]->n; k++)
      d->ctor[i]->field[k] = field(ud, of->ctor[i]->field[k]);
  return d;
}

Type *ad_closed_data(AD *ad, const char *what, Type *t, Type *field(AD *, Type *)) {
  t = nameless(ad, t); /* a definition stands outside of every function */
  DataDef *of = t->data.def;
  Sym key = ad_key(ad, what, t);
  DataDef *d = map_get(&ad->dual, map_ptr(key));
  if (d) return type_data(d, 0, NULL);
  DefPath path;
  if (!ad_enter(ad, of, &path)) return t;
  d = like(ad, of, "dual");
  map_set(&ad->dual, map_ptr(key), d);
  for (int i = 0; i < of->n_ctors; i++)
    for (int k = 0; k < of->ctor[i]->n; k++)
      d->ctor[i]->field[k] = field(ad, ad_field(ad, t, of->ctor[i], k));
  ad_leave(ad);
  return type_data(d, 0, NULL);
}
