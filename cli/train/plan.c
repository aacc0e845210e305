/* plan.c -- what a program defines for its training, and what its
 * parameters mean.                                                            */
#include "cli/train/train.h"

/* ---- parameters by name ---------------------------------------------------------------- */
static const struct {
  const char *name;
  Role role;
} by_name[] = {
    {"key", ROLE_Key},
    {"step", ROLE_Step},
    {"total", ROLE_Total},
};

static int column_number(const DataSet *d, const char *name, size_t n) {
  for (int i = 0; i < d->columns.n; i++)
    if (strlen(d->columns.at[i].name) == n && !memcmp(d->columns.at[i].name, name, n)) return i;
  return -1;
}

Role role_of(const DataSet *d, const char *name, int index, int *column) {
  static const char length[] = "_length";
  size_t n = strlen(name), k = sizeof length - 1;
  *column = -1;
  if (index == 0) return ROLE_Params;
  if ((*column = column_number(d, name, n)) >= 0) return ROLE_Column;
  for (size_t i = 0; i < sizeof by_name / sizeof *by_name; i++)
    if (!strcmp(by_name[i].name, name)) return by_name[i].role;
  if (n > k && !strcmp(name + n - k, length) && (*column = column_number(d, name, n - k)) >= 0)
    return ROLE_Length;
  return !strcmp(name, "state") ? ROLE_State : ROLE_None;
}

/* ---- the definitions -------------------------------------------------------------------- */
static Type *result_of(const Global *g) {
  Type *t = type_resolve(g->type);
  return t->kind == TY_Fn ? type_resolve(t->fn.ret) : type_error();
}

static bool wrong(Driver *d, const Global *g, const char *why) {
  return diag_error(d->diags, g->span, E0402, str_fmt("@%s", g->name), why);
}

static bool check_arity(Driver *d, const Global *g, int least, int most) {
  int n = g->fn->n;
  Type *t = type_resolve(g->type);
  if (t->kind == TY_Fn && t->fn.n_vars)
    return wrong(d, g, "its type has variables: annotate its parameters");
  if (n < least || n > most)
    return wrong(d, g,
                 str_fmt("it has %d parameters; it needs %s %d", n,
                         n < least ? "at least" : "at most", n < least ? least : most));
  return true;
}

static bool check_results(Driver *d, const Plan *p) {
  Type *t;
  if (p->loss && !type_is_scalar_of(t = result_of(p->loss), DT_f32))
    return wrong(d, p->loss, str_fmt("it must return a float32, found %s", type_text(t)));
  if (p->gradient) {
    t = result_of(p->gradient);
    if (t->kind != TY_Tuple || t->tuple.n != 2 ||
        !type_is_scalar_of(type_resolve(t->tuple.at[0]), DT_f32))
      return wrong(d, p->gradient,
                   str_fmt("it must return (float32, gradients), found %s", type_text(t)));
  }
  if (p->step) {
    t = result_of(p->step);
    if (t->kind != TY_Tuple || t->tuple.n != 3 ||
        !type_is_scalar_of(type_resolve(t->tuple.at[2]), DT_f32))
      return wrong(d, p->step,
                   str_fmt("it must return (weights, state, float32), found %s", type_text(t)));
  }
  return true;
}

enum { MANY = 1000 };

bool plan_read(Plan *p, Driver *d, int *code) {
  const struct {
    const char *name;
    Global **to;
    int least, most;
  } wanted[] = {
      {"init", &p->init, 0, 1},
      {"loss", &p->loss, 1, MANY},
      {"gradient", &p->gradient, 1, MANY},
      {"train_step", &p->step, 2, MANY},
      {"init_state", &p->state, 1, 1},
      {"metrics", &p->metrics, 1, MANY},
      {"features", &p->features, 1, 1},
  };
  bool ok = true;
  *code = EXIT_REJECTED;
  p->m = driver_load(d, p->path, true);
  if (!p->m) return *code = driver_report(d), *code = *code ? *code : EXIT_REJECTED, false;
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    Global *g = module_find(p->m, wanted[i].name);
    if (!g || g->library) continue;
    *wanted[i].to = g;
    ok = check_arity(d, g, wanted[i].least, wanted[i].most) && ok;
  }
  const Global *first = p->step ? p->step : p->gradient ? p->gradient : p->loss;
  if (!p->init)
    ok = diag_error(d->diags, (Span){0}, E0402, "@init",
                    str_fmt("%s does not define it: it makes the first weights", p->path));
  if (!first)
    ok = diag_error(d->diags, (Span){0}, E0402, "@loss",
                    str_fmt("%s does not define it (nor @gradient, nor @train_step)", p->path));
  ok = ok && check_results(d, p);
  if (ok) p->prefix = first->fn->param[0]->name;
  driver_report(d);
  return ok;
}
