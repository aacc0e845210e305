/* update.c -- the text of an optimiser's step over the type of the weights.
 *
 * Each tensor is laid out as a vector for a function of stdlib/optim.rly and gets
 * its shape back.  Tuples are taken apart in place; a data type, which may be
 * recursive, gets functions of its own.                                       */
#include "cli/train/text.h"
#include "ir/print_type.h"

/* ---- optimisers ------------------------------------------------------------------------ */
static const Method methods[] = {
    {"sgd", 0, "sgd"}, {"momentum", 1, "momentum"}, {"adam", 2, "adam"}, {"adamw", 2, "adamw"}};
static const char *const schedules[] = {"constant", "cosine", "linear", "steps"};

const Method *method_of(const TrainOpts *o) {
  const char *name = o->optimizer ? o->optimizer : "adam";
  if (!strcmp(name, "sgd") && o->momentum.given && o->momentum.value != 0) name = "momentum";
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
    if (!strcmp(methods[i].name, name)) return &methods[i];
  return NULL;
}
const char *schedule_of(const TrainOpts *o) {
  for (size_t i = 0; o->schedule && i < sizeof schedules / sizeof *schedules; i++)
    if (!strcmp(schedules[i], o->schedule)) return schedules[i];
  return o->schedule ? NULL : schedules[0];
}
const char *literal(double x) {
  char text[48];
  num_f32((float)x, text);
  return str_fmt("%s%s", text, strpbrk(text, ".en") ? "" : ".0");
}
double number(const NumberOpt *n, double otherwise) { return n->given ? n->value : otherwise; }

/* ---- walking over the type of the weights -------------------------------------------------- */
static const char *unknown_extent(void *ud, Dim s) {
  (void)ud, (void)s;
  return "?";
}
const char *text_of(Type *t) {
  StrBuf b = {0};
  type_print_as(t, &(TextNames){.dim = unknown_extent}, &b);
  return buf_text(&b);
}

static int type_number(Gen *g, Type *t) {
  for (int i = 0; i < g->known.n; i++)
    if (!strcmp(text_of(g->known.at[i]), text_of(t))) return i;
  vec_push(&g->known, t);
  return g->known.n - 1;
}

static Type *argument(void *ud, TyVar *v) {
  const Type *t = ud;
  for (int i = 0; i < t->data.n; i++)
    if (t->data.def->var[i] == v) return t->data.arg[i];
  return NULL;
}
static Type *field_type(Gen *g, Type *t, const Ctor *c, int i) {
  return type_resolve(type_subst(g->dims, c->field[i], argument, NULL, t));
}

/* Is it a tensor that learns?  Whole numbers stay as they are. */
static bool learns(Gen *g, const Type *t) {
  if (dtype_is_float(t->tensor.dtype) && t->tensor.dtype != DT_f32 && !g->bad)
    g->bad = str_fmt("a weight is %s: optimisers take float32", type_text((Type *)(uintptr_t)t));
  return t->tensor.dtype == DT_f32;
}
static void refuse(Gen *g, Type *t) {
  if (!g->bad)
    g->bad =
        str_fmt("the weights hold %s: only tensors, tuples and data can be trained", text_of(t));
}

static Parts parts_field(const Parts *p, int i) {
  Parts q = {.n = p->n};
  for (int k = 0; k < p->n; k++) q.at[k] = str_fmt("%s.%d", p->at[k], i);
  return q;
}

/* ---- zeros ---------------------------------------------------------------------------- */
void put_zeros(Gen *g, Type *t, const char *x, StrBuf *out) {
  t = type_resolve(t);
  if (t->kind == TY_Tensor)
    buf_fmt(out, learns(g, t) ? "zeros_like(%s)" : "%s", x);
  else if (t->kind == TY_Data)
    buf_fmt(out, "@__zeros%d(%s)", type_number(g, t), x);
  else if (t->kind == TY_Tuple) {
    buf_char(out, '(');
    for (int i = 0; i < t->tuple.n; i++) {
      if (i) buf_str(out, ", ");
      put_zeros(g, t->tuple.at[i], str_fmt("%s.%d", x, i), out);
    }
    buf_str(out, t->tuple.n == 1 ? ",)" : ")");
  } else
    refuse(g, t);
}

/* ---- the square of the norm ----------------------------------------------------------- */
void put_norm(Gen *g, Type *t, const char *x, StrBuf *out) {
  t = type_resolve(t);
  if (t->kind == TY_Tensor)
    buf_str(out, learns(g, t) ? str_fmt("@square_norm(reshape(%s, newshape=[-1]))", x) : "0.0");
  else if (t->kind == TY_Data)
    buf_fmt(out, "@__norm%d(%s)", type_number(g, t), x);
  else if (t->kind == TY_Tuple) {
    for (int i = 0; i < t->tuple.n; i++) {
      if (i) buf_str(out, " + ");
      put_norm(g, t->tuple.at[i], str_fmt("%s.%d", x, i), out);
    }
    if (t->tuple.n == 0) buf_str(out, "0.0");
  } else
    refuse(g, t);
}

/* ---- the optimiser ----------------------------------------------------------------------- */
static void put_hyper(const Gen *g, StrBuf *out) {
  const TrainOpts *o = g->o;
  const char *decay = literal(number(&o->decay, 0));
  if (g->method->slots == 0)
    buf_fmt(out, "%%rate, %s", decay);
  else if (g->method->slots == 1)
    buf_fmt(out, "%%rate, %s, %s, %s", literal(number(&o->momentum, 0.9)),
            o->nesterov ? "True" : "False", decay);
  else
    buf_fmt(out, "%%step, %%rate, %s, %s, %s, %s", literal(number(&o->beta1, 0.9)),
            literal(number(&o->beta2, 0.999)), literal(number(&o->epsilon, 1e-8)), decay);
}

static void put_tuple(int n, const char *const *at, StrBuf *out) {
  buf_char(out, '(');
  for (int i = 0; i < n; i++) buf_fmt(out, "%s%s", i ? ", " : "", at[i]);
  buf_str(out, n == 1 ? ",)" : ")");
}

static void put_leaf(Gen *g, Type *t, const Parts *p, StrBuf *out) {
  const char *result[MOST_PARTS];
  int slots = g->method->slots, id = g->next++;
  if (!learns(g, t)) {
    for (int i = 0; i <= slots; i++) result[i] = p->at[0];
    put_tuple(slots + 1, result, out);
    return;
  }
  buf_fmt(out, "{\n  let %%u%d = @%s(", id, g->method->call);
  for (int i = 0; i < p->n; i++)
    buf_fmt(out, "reshape(%s, newshape=[-1])%s, ", p->at[i],
            i == PART_G && g->o->clip.given ? " * %scale" : "");
  put_hyper(g, out);
  buf_str(out, ");\n  ");
  for (int i = 0; i <= slots; i++)
    result[i] = slots ? str_fmt("reshape_like(%%u%d.%d, %s)", id, i, p->at[0])
                      : str_fmt("reshape_like(%%u%d, %s)", id, p->at[0]);
  put_tuple(slots + 1, result, out);
  buf_str(out, "\n}");
}

/* What the updates of n parts, bound to %uID.., give: the parts, then each slot. */
static void put_gathered(Gen *g, int first, int n, const char *left, const char *right,
                         StrBuf *out) {
  buf_str(out, "  (");
  for (int k = 0; k <= g->method->slots; k++) {
    buf_fmt(out, "%s%s", k ? ", " : "", left);
    for (int i = 0; i < n; i++) buf_fmt(out, "%s%%v%d.%d", i ? ", " : "", first + i, k);
    buf_fmt(out, "%s", right);
  }
  buf_str(out, g->method->slots ? ")" : ",)");
}

static void put_update_tuple(Gen *g, Type *t, const Parts *p, StrBuf *out) {
  int n = t->tuple.n, first = g->next;
  g->next += n;
  buf_str(out, "{\n");
  for (int i = 0; i < n; i++) {
    Parts q = parts_field(p, i);
    buf_fmt(out, "  let %%v%d = ", first + i);
    put_update(g, t->tuple.at[i], &q, out);
    buf_str(out, ";\n");
  }
  put_gathered(g, first, n, "(", n == 1 ? ",)" : ")", out);
  buf_str(out, "\n}");
}

void put_update(Gen *g, Type *t, const Parts *p, StrBuf *out) {
  t = type_resolve(t);
  if (t->kind == TY_Tensor)
    put_leaf(g, t, p, out);
  else if (t->kind == TY_Tuple)
    put_update_tuple(g, t, p, out);
  else if (t->kind == TY_Data) {
    buf_fmt(out, "@__update%d(", type_number(g, t));
    for (int i = 0; i < p->n; i++) buf_fmt(out, "%s, ", p->at[i]);
    buf_fmt(out, "%%step, %%rate%s)", g->o->clip.given ? ", %scale" : "");
  } else
    refuse(g, t);
}

/* ---- the functions of a data type -------------------------------------------------------- */
/* Ctor(%a0, %a1) */
static const char *pattern(const Ctor *c, const char *letter) {
  StrBuf b = {0};
  buf_str(&b, c->name);
  for (int i = 0; i < c->n; i++) buf_fmt(&b, "%s%%%s%d", i ? ", " : "(", letter, i);
  if (c->n) buf_char(&b, ')');
  return buf_text(&b);
}

static void put_zeros_function(Gen *g, Type *t, int number, StrBuf *out) {
  const DataDef *def = t->data.def;
  const char *text = text_of(t);
  buf_fmt(out, "\ndef @__zeros%d(%%w: %s) -> %s {\n  match (%%w) {\n", number, text, text);
  for (int c = 0; c < def->n_ctors; c++) {
    const Ctor *k = def->ctor[c];
    buf_fmt(out, "    %s => %s", pattern(k, "w"), k->name);
    for (int i = 0; i < k->n; i++) {
      buf_str(out, i ? ", " : "(");
      put_zeros(g, field_type(g, t, k, i), str_fmt("%%w%d", i), out);
    }
    buf_str(out, k->n ? "),\n" : ",\n");
  }
  buf_str(out, "  }\n}\n");
}

static void put_norm_function(Gen *g, Type *t, int number, StrBuf *out) {
  const DataDef *def = t->data.def;
  buf_fmt(out, "\ndef @__norm%d(%%g: %s) -> float32 {\n  match (%%g) {\n", number, text_of(t));
  for (int c = 0; c < def->n_ctors; c++) {
    const Ctor *k = def->ctor[c];
    buf_fmt(out, "    %s => ", pattern(k, "g"));
    for (int i = 0; i < k->n; i++) {
      if (i) buf_str(out, " + ");
      put_norm(g, field_type(g, t, k, i), str_fmt("%%g%d", i), out);
    }
    buf_str(out, k->n ? ",\n" : "0.0,\n");
  }
  buf_str(out, "  }\n}\n");
}

static const char *const part_letter[MOST_PARTS] = {"w", "g", "m", "n"};

/* Matches each part in turn: all have the same constructors. */
static void put_update_clause(Gen *g, Type *t, const Ctor *k, StrBuf *out) {
  const char *match = t->data.def->n_ctors == 1 ? "match" : "match?";
  int parts = g->method->slots + 2, first = g->next;
  g->next += k->n;
  buf_fmt(out, "    %s => ", pattern(k, part_letter[0]));
  for (int i = 1; i < parts; i++)
    buf_fmt(out, "%s (%%%s) { %s => ", match, part_letter[i], pattern(k, part_letter[i]));
  buf_str(out, "{\n");
  for (int i = 0; i < k->n; i++) {
    Parts q = {.n = parts};
    for (int a = 0; a < parts; a++) q.at[a] = str_fmt("%%%s%d", part_letter[a], i);
    buf_fmt(out, "  let %%v%d = ", first + i);
    put_update(g, field_type(g, t, k, i), &q, out);
    buf_str(out, ";\n");
  }
  put_gathered(g, first, k->n, str_fmt("%s%s", k->name, k->n ? "(" : ""), k->n ? ")" : "", out);
  buf_str(out, "\n}");
  for (int i = 1; i < parts; i++) buf_str(out, " }");
  buf_str(out, ",\n");
}

/* (T, T, T): the weights and the slots. */
static const char *updated_type(const Gen *g, Type *t) {
  const char *at[MOST_PARTS];
  StrBuf b = {0};
  for (int i = 0; i <= g->method->slots; i++) at[i] = text_of(t);
  put_tuple(g->method->slots + 1, at, &b);
  return buf_text(&b);
}

static void put_update_function(Gen *g, Type *t, int number, StrBuf *out) {
  const DataDef *def = t->data.def;
  buf_fmt(out, "\ndef @__update%d(", number);
  for (int i = 0; i < g->method->slots + 2; i++)
    buf_fmt(out, "%%%s: %s, ", part_letter[i], text_of(t));
  buf_fmt(out, "%%step: int64, %%rate: float32%s)\n    -> %s {\n  match (%%w) {\n",
          g->o->clip.given ? ", %scale: float32" : "", updated_type(g, t));
  for (int c = 0; c < def->n_ctors; c++) put_update_clause(g, t, def->ctor[c], out);
  buf_str(out, "  }\n}\n");
}

/* Of every data type met, and of those met in them. */
void put_functions(Gen *g) {
  for (; g->done < g->known.n; g->done++) {
    Type *t = g->known.at[g->done];
    if (g->method->slots) put_zeros_function(g, t, g->done, &g->functions);
    put_update_function(g, t, g->done, &g->functions);
    if (g->o->clip.given) put_norm_function(g, t, g->done, &g->functions);
  }
}
