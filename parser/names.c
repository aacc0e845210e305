/* names.c -- scopes, and what the user may have meant.
 *
 * A scope is a suffix of a stack.  Each entry remembers the entry of the same
 * name that it hides, so lookup is one map access and leaving a scope costs
 * what was bound in it.                                                       */
#include "base/nearest.h"
#include "parser/parse.h"

static int map_index(const Map *m, const void *key) {
  return (int)(intptr_t)map_get(m, map_ptr(key));
}
static void set_index(Map *m, const void *key, int i) {
  map_set(m, map_ptr(key), (void *)(intptr_t)i);
}

Mark mark_names(const Parser *p) { return (Mark){p->locals.n, p->tynames.n}; }

void drop_names(Parser *p, Mark m) {
  while (p->locals.n > m.locals) {
    LocalName *l = &p->locals.at[--p->locals.n];
    set_index(&p->local_at, l->name, l->shadow);
  }
  while (p->tynames.n > m.tynames) {
    TyName *t = &p->tynames.at[--p->tynames.n];
    set_index(&p->tyname_at, t->name, t->shadow);
  }
}

void push_local(Parser *p, Var *v) {
  LocalName l = {v->name, v, map_index(&p->local_at, v->name)};
  vec_push(&p->locals, l);
  set_index(&p->local_at, v->name, p->locals.n);
}

Var *find_local(const Parser *p, const char *s, uint32_t n) {
  int i = map_index(&p->local_at, sym_n(p->cx->syms, s, n));
  return i ? p->locals.at[i - 1].var : NULL;
}

Var *local_since(const Parser *p, const Token *t, int from) {
  int i = map_index(&p->local_at, sym_n(p->cx->syms, t->s, t->n));
  return i > from ? p->locals.at[i - 1].var : NULL;
}

TyName *push_tyname(Parser *p, Sym name, Span at, TyNameKind k) {
  TyName t = {.name = name,
              .span = at,
              .kind = k,
              .level = p->fn_level,
              .shadow = map_index(&p->tyname_at, name)};
  vec_push(&p->tynames, t);
  set_index(&p->tyname_at, name, p->tynames.n);
  return &vec_last(&p->tynames);
}

TyName *find_tyname(Parser *p, Sym name) {
  int i = map_index(&p->tyname_at, name);
  return i ? &p->tynames.at[i - 1] : NULL;
}

/* ---- definitions --------------------------------------------------------- */

static Item *item_of(const Map *m, Sym name) { return map_get(m, map_ptr(name)); }

DataDef *find_type(Parser *p, Sym name) {
  Item *it = item_of(&p->type_item, name);
  if (it) {
    want(p, it);
    return it->data;
  }
  return map_get(&p->m->type_by_name, map_ptr(name));
}

/* A library file means the constructors of its own types, also when the
 * program has one of the same name in another type. */
Ctor *find_ctor(Parser *p, Sym name) {
  Ctor *c = p->f && p->f->library ? map_get(&p->f->own_ctor, map_ptr(name)) : NULL;
  if (!c) c = map_get(&p->m->ctor_by_name, map_ptr(name));
  if (c) find_type(p, c->def->name);
  return c;
}

Global *find_global(Parser *p, Sym name) {
  Item *it = item_of(&p->def_item, name);
  if (!it) return map_get(&p->m->global_by_name, map_ptr(name));
  want(p, it);
  return it->global;
}

/* ---- suggestions ------------------------------------------------------------ */

/* Messages beyond the limit are only counted: no need to look for help. */
static bool wants_help(const Parser *p) { return p->d->n_errors <= p->d->limit; }

/* The last part alone: dense for nn.dense. */
static bool is_tail(const char *name, const char *of) {
  size_t n = strlen(name), m = strlen(of);
  return m > n + 1 && of[m - n - 1] == '.' && strcmp(of + m - n, name) == 0;
}

void help_local(Parser *p, const Token *t) {
  if (!wants_help(p)) return;
  const char *name = tok_sym(p, t);
  Nearest n = nearest_to(name);
  for (int i = p->locals.n - 1; i >= 0 && i >= p->locals.n - 500; i--)
    nearest_try(&n, p->locals.at[i].name);
  if (n.best) diag_help(p->d, "did you mean %%%s?", n.best);
}

void help_global(Parser *p, const char *name) {
  if (!wants_help(p)) return;
  Nearest n = nearest_to(name);
  for (int i = 0; i < p->def_item.n; i++)
    nearest_try(&n, ((Item *)p->def_item.entry[i].value)->global->name);
  for (int i = 0; i < p->m->globals.n; i++) nearest_try(&n, p->m->globals.at[i]->name);
  if (n.best) diag_help(p->d, "did you mean @%s?", n.best);
}

void help_word(Parser *p, const char *name) {
  if (!wants_help(p)) return;
  const char *hint = hint_word(name);
  if (hint) {
    diag_help(p->d, "%s", hint);
    return;
  }
  if (!strcmp(name, "true") || !strcmp(name, "false")) {
    diag_help(p->d, "did you mean %s?", name[0] == 't' ? "True" : "False");
    return;
  }
  Nearest n = nearest_to(name);
  for (int i = 0; i < p->m->ctor_by_name.n; i++)
    nearest_try(&n, ((Ctor *)p->m->ctor_by_name.entry[i].value)->name);
  for (int i = 0; i < p->cx->n_ops; i++) {
    const char *op = p->cx->ops[i]->name;
    if (!is_tail(name, op))
      nearest_try(&n, op);
    else if (n.cost > 0 || strlen(op) < strlen(n.best))
      n.best = op, n.cost = 0;
  }
  if (n.best)
    diag_help(p->d, "did you mean %s?", n.best);
  else if (find_local(p, name, (uint32_t)strlen(name)))
    diag_help(p->d, "a local is written %%%s", name);
  else if (map_get(&p->def_item, map_ptr(sym(p->cx->syms, name))))
    diag_help(p->d, "a definition is written @%s", name);
}

static void try_dtypes(Nearest *n) {
  const char *alias = hint_dtype(n->want);
  for (int i = 0; i < DT_COUNT; i++) nearest_try(n, dtype_name((DType)i));
  if (alias) n->best = alias;
}

void help_dtype(Parser *p, const char *name) {
  Nearest n = nearest_to(name);
  try_dtypes(&n);
  if (n.best) diag_help(p->d, "did you mean %s?", n.best);
}

void help_type(Parser *p, const char *name) {
  if (!wants_help(p)) return;
  Nearest n = nearest_to(name);
  nearest_try(&n, "Tensor");
  for (int i = 0; i < p->type_item.n; i++)
    nearest_try(&n, ((Item *)p->type_item.entry[i].value)->data->name);
  for (int i = 0; i < p->m->types.n; i++) nearest_try(&n, p->m->types.at[i]->name);
  for (int i = 0; i < p->tynames.n; i++)
    if (p->tynames.at[i].kind != TN_Dim) nearest_try(&n, p->tynames.at[i].name);
  try_dtypes(&n);
  if (n.best)
    diag_help(p->d, "did you mean %s?", n.best);
  else
    diag_help(p->d, "a type variable is listed at its function: def @f[%s](...)", name);
}
