/* derive.c -- the program that trains, as text.
 *
 * It imports the user's and adds what that leaves out: @train_step is the
 * gradient of @loss and a step of an optimiser, @init_state its first state.  The
 * entries give every parameter the extents that the data has, so that kernels
 * are made for them.                                                          */
#include "cli/train/text.h"

typedef struct {
  const Plan *p;
  const DataSet *data; /* NULL: none                               */
  Gen gen;
  Type *weights;
  const char *weights_text, *state_text;
  bool ok;
  TextList said; /* what was wrong                          */
} Derive;

static Type *result_of(const Global *g) { return type_resolve(type_resolve(g->type)->fn.ret); }
static Type *param_type(const Global *g, int i) {
  return type_resolve(type_resolve(g->type)->fn.param[i]);
}

/* Each mistake once, though several entries call the same function. */
static void bad(Derive *v, const Global *g, const char *why) {
  v->ok = false;
  for (int i = 0; i < v->said.n; i++)
    if (!strcmp(v->said.at[i], why)) return;
  vec_push(&v->said, why);
  fprintf(stderr, "rvm: @%s of %s: %s\n", g->name, v->p->path, why);
}

/* ---- parameters that come from the data --------------------------------------------------- */
/* A batch of a column, as the parameter's type t wants it. */
static const char *batch_type(Derive *v, const Global *g, const char *name, Type *t,
                              const Column *c, int64_t batch) {
  StrBuf b = {0};
  if (t->kind == TY_Data) return text_of(t);
  if (t->kind != TY_Tensor || t->tensor.rank != c->rank + 1) {
    type_text_of_batch(c, batch, c->dtype, &b);
    bad(v, g, str_fmt("%%%s is %s, a batch of the data is %s", name, text_of(t), buf_text(&b)));
    return "()";
  }
  type_text_of_batch(c, batch, t->tensor.dtype, &b);
  return buf_text(&b);
}

/* "%x: Tensor[...]" */
static const char *data_param(Derive *v, const Global *g, int i, Role role, int column,
                              int64_t batch) {
  const char *name = g->fn->param[i]->name;
  Type *t = param_type(g, i);
  if (!v->data) return str_fmt("%%%s: %s", name, type_text(t));
  if (role == ROLE_Column)
    return str_fmt("%%%s: %s", name,
                   batch_type(v, g, name, t, &v->data->columns.at[column], batch));
  if (t->kind != TY_Tensor || t->tensor.rank != 1)
    bad(v, g, str_fmt("%%%s holds lengths: it must be a vector, found %s", name, text_of(t)));
  return str_fmt("%%%s: Tensor[(%lld), int32]", name, (long long)batch);
}

/* Which parameters of g come from the data; without data, all that are not ours. */
static bool from_data(Derive *v, const Global *g, int i, Role *role, int *column) {
  static const DataSet none;
  const char *name = g->fn->param[i]->name;
  *role = role_of(v->data ? v->data : &none, name, i, column);
  if (g == v->p->step && i == 1) *role = ROLE_State;
  if (*role == ROLE_None && v->data)
    bad(v, g, str_fmt("nothing is known for %%%s: the data has %s", name, data_names(v->data)));
  return *role == ROLE_Column || *role == ROLE_Length || (*role == ROLE_None && !v->data);
}

/* Appends the parameters of g that come from the data and are not there yet. */
static void add_data_params(Derive *v, const Global *g, int64_t batch, TextList *names,
                            StrBuf *out) {
  for (int i = 0; i < g->fn->n; i++) {
    Role role;
    int column;
    bool there = false;
    if (!from_data(v, g, i, &role, &column)) continue;
    for (int k = 0; k < names->n; k++) there |= !strcmp(names->at[k], g->fn->param[i]->name);
    if (there) continue;
    vec_push(names, g->fn->param[i]->name);
    buf_fmt(out, ",\n    %s", data_param(v, g, i, role, column, batch));
  }
}

/* @g(weights, ...) with the variables of those names. */
static void put_call(Derive *v, const Global *g, const char *weights, StrBuf *out) {
  buf_fmt(out, "@%s(%s", g->name, weights);
  for (int i = 1; i < g->fn->n; i++) {
    Role role;
    int column;
    from_data(v, g, i, &role, &column);
    if (role == ROLE_Key)
      buf_str(out, ", @fold(%key, %step)");
    else
      buf_fmt(out, ", %%%s", role == ROLE_State ? "state" : g->fn->param[i]->name);
  }
  buf_char(out, ')');
}

static bool takes_key(const Global *g) {
  for (int i = 1; i < g->fn->n; i++)
    if (!strcmp(g->fn->param[i]->name, "key")) return true;
  return false;
}

/* ---- the step ------------------------------------------------------------------------- */
static void put_gradient(Derive *v, StrBuf *out) {
  const Plan *p = v->p;
  if (p->gradient) {
    buf_str(out, "  let %r = ");
    put_call(v, p->gradient, "%params", out);
    buf_str(out, ";\n  let %g = %r.1;\n");
    return;
  }
  buf_fmt(out, "  let %%r = grad(fn (%%w: %s) -> float32 { ", v->weights_text);
  put_call(v, p->loss, "%w", out);
  buf_str(out, " })(%params);\n  let %g = %r.1.0;\n");
}

static void put_derived_step(Derive *v, StrBuf *out) {
  const TrainOpts *o = v->p->o;
  int slots = v->gen.method->slots;
  Parts parts = {.n = slots + 2, .at = {"%params", "%g"}};
  for (int i = 0; i < slots; i++)
    parts.at[PART_S + i] = slots == 1 ? "%state" : str_fmt("%%state.%d", i);
  put_gradient(v, out);
  buf_fmt(out, "  let %%rate = %s * @rate_%s(%%step, %lldi64, %%total);\n",
          literal(number(&o->lr, 1e-3)), schedule_of(o), (long long)o->warmup);
  if (o->clip.given) {
    buf_str(out, "  let %scale = @clip_factor(");
    put_norm(&v->gen, v->weights, "%g", out);
    buf_fmt(out, ", %s);\n", literal(o->clip.value));
  }
  buf_str(out, "  let %new = ");
  put_update(&v->gen, v->weights, &parts, out);
  static const char *const result[] = {"()", "%new.1", "(%new.1, %new.2)"};
  buf_fmt(out, ";\n  (%%new.0, %s, %%r.0)\n}\n", result[slots]);
}

/* One step for batches of one size. */
static void put_step(Derive *v, const char *name, int64_t batch, StrBuf *out) {
  const Plan *p = v->p;
  const Global *g = p->step ? p->step : p->gradient ? p->gradient : p->loss;
  TextList names = {0};
  buf_fmt(out, "\n/// One step of training: the new weights, the new state, the loss.\n");
  buf_fmt(out, "def @%s(%%params: %s,\n    %%state: %s", name, v->weights_text, v->state_text);
  add_data_params(v, g, batch, &names, out);
  buf_fmt(out,
          ",\n    %%key: Tensor[(2), uint32], %%step: int64, %%total: int64)\n    -> (%s, %s, "
          "float32) {\n",
          v->weights_text, v->state_text);
  if (!p->step) {
    put_derived_step(v, out);
    return;
  }
  buf_str(out, "  ");
  put_call(v, p->step, "%params", out);
  buf_str(out, "\n}\n");
}

static void put_state(Derive *v, StrBuf *out) {
  int slots = v->gen.method->slots;
  StrBuf zeros = {0};
  if (v->p->step) {
    buf_fmt(out, "\ndef @__state(%%params: %s) -> %s {\n  %s\n}\n", v->weights_text, v->state_text,
            v->p->state ? "@init_state(%params)" : "()");
    return;
  }
  if (slots) put_zeros(&v->gen, v->weights, "%params", &zeros);
  buf_fmt(out, "\n/// The state before the first step.\ndef @init_state(%%params: %s) -> %s {\n  ",
          v->weights_text, v->state_text);
  if (slots == 0)
    buf_str(out, "()");
  else if (slots == 1)
    buf_str(out, buf_text(&zeros));
  else
    buf_fmt(out, "(%s, %s)", buf_text(&zeros), buf_text(&zeros));
  buf_str(out, "\n}\n");
}

static const char *state_type(Derive *v) {
  const Plan *p = v->p;
  const char *w = v->weights_text;
  if (p->step) return p->state ? text_of(result_of(p->state)) : "()";
  return v->gen.method->slots == 0   ? "()"
         : v->gen.method->slots == 1 ? w
                                     : str_fmt("(%s, %s)", w, w);
}

/* ---- validation -------------------------------------------------------------------------- */
static void add_name(Derive *v, const char *name, Type *t, Names *to) {
  if (!type_is_scalar_of(type_resolve(t), DT_f32))
    bad(v, v->p->metrics, str_fmt("%s is %s; a metric is a float32", name, type_text(t)));
  else if (to->n == MOST_METRICS)
    bad(v, v->p->metrics, str_fmt("more than %d metrics", MOST_METRICS));
  else
    to->name[to->n++] = name;
}

/* What @metrics returns: a number, a tuple, or a record, whose fields name them. */
static void name_metrics(Derive *v, Names *to) {
  Type *t = result_of(v->p->metrics);
  if (t->kind == TY_Tuple) {
    for (int i = 0; i < t->tuple.n; i++) add_name(v, str_fmt("metric%d", i), t->tuple.at[i], to);
    return;
  }
  if (t->kind != TY_Data || t->data.def->n_ctors != 1) {
    add_name(v, "metric", t, to);
    return;
  }
  const Ctor *c = t->data.def->ctor[0];
  for (int i = 0; i < c->n; i++)
    add_name(v, c->field_name && c->field_name[i] ? c->field_name[i] : str_fmt("metric%d", i),
             c->field[i], to);
}

static bool checks_loss(Derive *v) { return v->p->loss && !takes_key(v->p->loss); }

static void put_check(Derive *v, const char *name, int64_t batch, StrBuf *out) {
  const Plan *p = v->p;
  TextList names = {0};
  buf_fmt(out, "\ndef @%s(%%params: %s", name, v->weights_text);
  if (checks_loss(v)) add_data_params(v, p->loss, batch, &names, out);
  if (p->metrics) add_data_params(v, p->metrics, batch, &names, out);
  buf_str(out, ") {\n  (");
  if (checks_loss(v)) put_call(v, p->loss, "%params", out), buf_str(out, ", ");
  if (p->metrics) put_call(v, p->metrics, "%params", out), buf_str(out, ",");
  buf_str(out, ")\n}\n");
}

/* ---- the whole --------------------------------------------------------------------------- */
static const char *step_name(const Plan *p) { return p->step ? "__step" : "train_step"; }

static bool find_types(Derive *v) {
  const Plan *p = v->p;
  v->weights = result_of(p->init);
  v->weights_text = text_of(v->weights);
  v->gen = (Gen){.o = p->o, .method = method_of(p->o), .dims = p->m->cx->dims};
  v->state_text = state_type(v);
  if (p->state && !p->step)
    bad(v, p->state, "it goes with a @train_step; the state of --optimizer makes itself");
  if (p->metrics && takes_key(p->metrics))
    bad(v, p->metrics, "validation has no random numbers: it cannot take %key");
  return v->ok;
}

bool plan_derive(const Plan *p, const DataSet *data, const BatchSizes *sizes, Names *measured,
                 StrBuf *text) {
  Derive v = {.p = p, .data = data, .ok = true};
  StrBuf body = {0};
  *measured = (Names){0};
  if (!find_types(&v)) return false;
  if (checks_loss(&v)) measured->name[measured->n++] = "loss";
  if (p->metrics) name_metrics(&v, measured);
  put_state(&v, &body);
  put_step(&v, data ? step_name(p) : "train_step", sizes->batch, &body);
  if (sizes->rest) put_step(&v, "__rest", sizes->rest, &body);
  if (sizes->val) put_check(&v, "__check", sizes->val, &body);
  if (sizes->val_rest) put_check(&v, "__check_rest", sizes->val_rest, &body);
  if (data)
    buf_fmt(&body, "\ndef @__init(%%key: Tensor[(2), uint32]) -> %s {\n  @init(%s)\n}\n",
            v.weights_text, p->init->fn->n ? "@fold(%key, 0i64)" : "");
  put_functions(&v.gen);
  if (v.gen.bad) bad(&v, p->init, v.gen.bad);
  const char *slash = strrchr(p->path, '/');
  buf_str(text, "import ");
  attr_print(&(AttrVal){.kind = AV_Str, .s = slash ? slash + 1 : p->path}, text);
  buf_fmt(text, "\nimport \"std/random.rly\"\nimport \"std/optim.rly\"\n%s%s", buf_text(&body),
          buf_text(&v.gen.functions));
  return v.ok;
}

const char *plan_entries(const Plan *p, const BatchSizes *sizes) {
  StrBuf b = {0};
  buf_fmt(&b, "__init,%s,%s", p->step ? "__state" : "init_state", step_name(p));
  if (sizes->rest) buf_str(&b, ",__rest");
  if (sizes->val) buf_str(&b, ",__check");
  if (sizes->val_rest) buf_str(&b, ",__check_rest");
  return buf_text(&b);
}
