/* simplify.c -- operator calls that give one of their operands back, bit for
 * bit.  One row per rule; a rule names what stands for the call or refuses.
 *
 * Requirements on a rule: the value is the same for every input, NaN and -0.0
 * included (so x + 0 is for integers only); the type of the replacement is
 * that of the call, which the driver below checks; no check is lost (calls
 * that carry one are not looked at).                                          */
#include <string.h>
#include "ir/op.h"
#include "opt/walk.h"

typedef struct {
  PassCx *cx;
  Map def;
} Simplify; /* Var -> Expr *: calls of ops, copies */
typedef struct {
  const Simplify *s;
  const Expr *e;
  int number;
} Site;

static const Expr *call_of(const Site *s, const Atom *a, const char *op) {
  const Expr *e = a->kind == ATOM_Var ? map_get(&s->s->def, map_ptr(a->var)) : NULL;
  return e && e->kind == EX_Call && !strcmp(e->Call.callee.op->name, op) ? e : NULL;
}

/* ---- rules ---- */

/* Whatever keeps the order of the elements: the same type is the same value. */
static const Atom *first(const Site *s) { return &s->e->Call.args[0]; }

static const Atom *inverse(const Site *s) {
  const Expr *in = call_of(s, first(s), s->e->Call.callee.op->name);
  return in ? &in->Call.args[0] : NULL;
}

static bool permutation(const Expr *e, int rank, int *perm) {
  if (!e->Call.op_attrs) return false;
  const OpAttrVal *v = opattr(e->Call.op_attrs, "axes");
  bool reversed = v->none || v->n == 0;
  for (int i = 0; i < rank; i++) {
    if (!reversed && i >= v->n) return false;
    int64_t to = reversed ? rank - 1 - i : v->ints[i];
    if (to < 0) to += rank;
    if (to < 0 || to >= rank) return false;
    perm[i] = (int)to;
  }
  return true;
}

static const Atom *transposed(const Site *s) {
  Type *t = type_resolve(s->e->type);
  int a[MAX_RANK], b[MAX_RANK], rank = t->kind == TY_Tensor ? t->tensor.rank : -1;
  if (rank < 0 || !permutation(s->e, rank, a)) return NULL;
  bool same = true;
  for (int i = 0; i < rank; i++) same = same && a[i] == i;
  if (same) return first(s);
  const Expr *in = call_of(s, first(s), "transpose");
  if (!in || !permutation(in, rank, b)) return NULL;
  for (int i = 0; i < rank; i++)
    if (b[a[i]] != i) return NULL;
  return &in->Call.args[0];
}

/* ---- operands that change nothing ---- */

/* Are all elements the number, 0 or 1?  -0.0 is not 0. */
static bool all_are(const Tensor *t, int v) {
  uint8_t want[sizeof(double) * 2] = {0};
  int size = dtype_bytes(t->dtype);
  if (t->count == 0 || size > (int)sizeof want) return false;
  const Tensor *one =
      dtype_is_float(t->dtype) ? tensor_scalar_float(t->dtype, v) : tensor_scalar_int(t->dtype, v);
  memcpy(want, one->bytes, (size_t)size);
  for (int64_t i = 0; i < t->count; i++)
    if (memcmp((const char *)t->bytes + i * size, want, (size_t)size)) return false;
  return true;
}

/* The same of an operand; what is made by filling is looked through. */
static bool is_filled(const Site *s, const Atom *a, int v) {
  static const struct {
    const char *op;
    int value; /* -1: of the first operand */
  } fills[] = {
      {"zeros", 0},    {"zeros_like", 0},   {"ones", 1},          {"ones_like", 1},
      {"full", -1},    {"full_like", -1},   {"broadcast_to", -1}, {"broadcast_to_like", -1},
      {"reshape", -1}, {"reshape_like", -1}};
  enum { N = sizeof fills / sizeof *fills, FAR = 8 };
  for (int depth = 0; depth < FAR && a->kind == ATOM_Var; depth++) {
    const Expr *e = map_get(&s->s->def, map_ptr(a->var));
    int i = 0;
    if (e && e->kind == EX_Just) {
      a = &e->Just.value;
      continue;
    }
    while (e && i < N && strcmp(e->Call.callee.op->name, fills[i].op)) i++;
    if (!e || i == N) return false;
    if (fills[i].value >= 0) return fills[i].value == v;
    a = &e->Call.args[!strcmp(fills[i].op, "full_like")];
  }
  return a->kind == ATOM_Const && all_are(a->cst, v);
}

static bool is_float(const Site *s) {
  Type *t = type_resolve(s->e->type);
  return t->kind == TY_Tensor && dtype_is_float(t->tensor.dtype);
}
static const Atom *right_neutral(const Site *s) {
  return is_filled(s, &s->e->Call.args[1], s->number) ? &s->e->Call.args[0] : NULL;
}
static const Atom *either_neutral(const Site *s) {
  const Atom *x = right_neutral(s);
  return x ? x : is_filled(s, &s->e->Call.args[0], s->number) ? &s->e->Call.args[1] : NULL;
}
/* -0.0 + 0 is 0 */
static const Atom *added(const Site *s) { return is_float(s) ? NULL : either_neutral(s); }

static const struct Rule {
  const char *op;
  const Atom *(*rule)(const Site *);
  int number;
} rules[] = {
    {"cast", first, 0},
    {"reshape", first, 0},
    {"reshape_like", first, 0},
    {"cast_like", first, 0},
    {"slice_like", first, 0},
    {"broadcast_to_like", first, 0},
    {"broadcast_to", first, 0},
    {"squeeze", first, 0},
    {"transpose", transposed, 0},
    {"copy", first, 0},
    {"add", added, 0},
    {"subtract", right_neutral, 0},
    {"multiply", either_neutral, 1},
    {"divide", right_neutral, 1},
    {"floor_divide", right_neutral, 1},
    {"bitwise_or", either_neutral, 0},
    {"bitwise_xor", either_neutral, 0},
    {"left_shift", right_neutral, 0},
    {"right_shift", right_neutral, 0},
    {"bitwise_not", inverse, 0},
    {"logical_not", inverse, 0},
};
enum { N_RULES = sizeof rules / sizeof *rules };

/* ---- reshape of reshape ---- */

/* Does the shape stand for itself, without looking at the input's axes? */
static bool is_absolute(const Expr *e) {
  if (!e->Call.op_attrs) return false;
  const OpAttrVal *v = opattr(e->Call.op_attrs, "newshape");
  for (int i = 0; i < v->n; i++)
    if (v->ints[i] < 1) return false;
  return !v->none && v->n > 0;
}

static void skip_reshape(Simplify *s, Expr *e) {
  Site at = {s, e, 0};
  const Expr *in = call_of(&at, &e->Call.args[0], "reshape");
  if (in && is_absolute(e) && pass_may(s->cx)) e->Call.args[0] = in->Call.args[0];
}

/* ---- the walk ---- */

static void try_rules(Simplify *s, const Binding *b) {
  Expr *e = b->value;
  const char *name = e->Call.callee.op->name;
  for (int i = 0; i < N_RULES; i++) {
    if (strcmp(rules[i].op, name)) continue;
    const Atom *is = rules[i].rule(&(Site){s, e, rules[i].number});
    if (!is || !atom_can_be(b->var, is) || !pass_may(s->cx)) continue;
    Atom a = *is;
    a.span = e->span;
    e->kind = EX_Just;
    e->Just.value = a;
    return;
  }
  if (!strcmp(name, "reshape")) skip_reshape(s, e);
}

static void simplify_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, simplify_block, NULL};
  Simplify *s = ud;
  for (int i = 0; i < b->n; i++) {
    Expr *e = b->at[i].value;
    ir_visit(e, &visit, s);
    bool op = e->kind == EX_Call && e->Call.callee.kind == ATOM_Op;
    if ((!op && e->kind != EX_Just) || e->n_oblige) continue;
    if (op) try_rules(s, &b->at[i]);
    map_set(&s->def, map_ptr(b->at[i].var), e);
  }
}

static void simplify_global(void *ud, Global *g) { simplify_block(ud, g->fn->body); }
static void simplify_run(PassCx *cx) { each_global(cx->m, simplify_global, &(Simplify){.cx = cx}); }

const Pass pass_simplify = {.name = "simplify",
                            .doc = "Drop operator calls that give an operand back unchanged.",
                            .needs = FORM_TYPED,
                            .keeps = ~0u,
                            .run = simplify_run};
