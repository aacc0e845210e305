/* lanes_form.c -- how expressions and addresses depend on one variable; nothing is emitted
 * but one product of extents (load_stride_value).                            */
#include "codegen/llvm/lanes.h"
#include "codegen/llvm/lanes_form.h"

static bool is_load(const KNode *n) { return n->kind == KN_Load || n->kind == KN_LoadOr; }

/* ---- forms --------------------------------------------------------------------------- */
static void set_form(Emit *e, KE at, Form f, int64_t coef) {
  e->form[at] = (uint8_t)(f == LINEAR && coef == 0 ? UNIFORM : f);
  e->coef[at] = f == LINEAR ? coef : 0;
}

static bool linear_op(Emit *e, KE at) {
  const KNode *n = &e->k->node[at], *x = &e->k->node[n->a];
  Form f = (Form)e->form[n->a], g = sop_info[n->op].arity > 1 ? (Form)e->form[n->b] : UNIFORM;
  if (n->dtype != DT_i64 || f == VARYING || g == VARYING) return false;
  int64_t p = e->coef[n->a], q = g == LINEAR ? e->coef[n->b] : 0, c;
  switch ((int)n->op) {
  case S_add: return !__builtin_add_overflow(p, q, &c) && (set_form(e, at, LINEAR, c), true);
  case S_sub: return !__builtin_sub_overflow(p, q, &c) && (set_form(e, at, LINEAR, c), true);
  case S_mul:
    if (g == LINEAR && (f == LINEAR || x->kind != KN_Const)) return false;
    if (f == LINEAR && e->k->node[n->b].kind != KN_Const) return false;
    if (g == LINEAR)
      p = q, q = (int64_t)x->bits;
    else
      q = (int64_t)e->k->node[n->b].bits;
    return !__builtin_mul_overflow(p, q, &c) && (set_form(e, at, LINEAR, c), true);
  default: return false;
  }
}

static void find_form(Emit *e, KE at, uint32_t var) {
  const KNode *n = &e->k->node[at];
  Form f = UNIFORM;
  KE o;
  if (n->kind == KN_Var) {
    if (n->a == var)
      set_form(e, at, LINEAR, 1);
    else
      set_form(e, at, (Form)e->var_form[n->a], e->var_coef[n->a]);
    return;
  }
  for (uint32_t i = 0; (o = kernel_operand(e->k, at, i)) != KE_NONE; i++)
    if (e->form[o] != UNIFORM) f = VARYING;
  if (f == VARYING && n->kind == KN_Op && linear_op(e, at)) return;
  set_form(e, at, f, 0);
}

void form_find(Emit *e, KE root, uint32_t var) {
  for (KE at = 0; at <= root; at++) find_form(e, at, var);
}

bool form_constant(Val v, int64_t *out) {
  if (!LLVMIsAConstantInt(v)) return false;
  *out = LLVMConstIntGetSExtValue(v);
  return true;
}

bool form_moves_by(Emit *e, uint32_t buf, uint32_t pool, int64_t *stride) {
  int64_t s = 0, dim;
  for (uint32_t d = 0; d < e->k->buf[buf].rank; d++) {
    KE i = e->k->pool[pool + d];
    if (e->form[i] == VARYING) return false;
    if (s != 0 && (!form_constant(e->dim[buf][d], &dim) || __builtin_mul_overflow(s, dim, &s)))
      return false;
    if (__builtin_add_overflow(s, e->coef[i], &s)) return false;
  }
  *stride = s;
  return true;
}

/* ---- the nodes under a root -------------------------------------------------------------- */
void form_need(Emit *e, KE root, bool indices) {
  memset(e->need, 0, (size_t)root + 1);
  e->need[root] = 1;
  for (KE at = root + 1; at-- > 0;) {
    const KNode *n = &e->k->node[at];
    if (!e->need[at]) continue;
    KE o;
    for (uint32_t i = 0; (o = kernel_operand(e->k, at, i)) != KE_NONE; i++)
      if (indices || !is_load(n) || i >= n->rank) e->need[o] = 1;
  }
}

bool load_stride(Emit *e, KE root, uint32_t var, int64_t *stride) {
  form_find(e, root, var);
  form_need(e, root, false);
  *stride = 0;
  for (KE at = 0; at <= root; at++) {
    const KNode *n = &e->k->node[at];
    if (!e->need[at] || !is_load(n) || e->form[at] == UNIFORM) continue;
    return form_moves_by(e, n->a, n->b, stride);
  }
  return e->form[root] == UNIFORM;
}

bool shares_index(Emit *e, KE root, uint32_t x, uint32_t y) {
  form_need(e, root, true);
  for (KE at = 0; at <= root; at++) {
    const KNode *n = &e->k->node[at];
    if (!e->need[at] || !is_load(n)) continue;
    for (uint32_t d = 0; d < n->rank; d++) {
      KE i = e->k->pool[n->b + d];
      form_find(e, i, x);
      bool both_vary = e->form[i] != UNIFORM;
      form_find(e, i, y);
      if (both_vary && e->form[i] != UNIFORM) return true;
    }
  }
  return false;
}

bool index_uses(Emit *e, KE root, uint32_t var, int64_t *coef) {
  form_find(e, root, var);
  *coef = e->coef[root];
  return e->form[root] == LINEAR;
}

bool moves_as(Emit *e, KE root, uint32_t x, int64_t per_x, uint32_t y, int64_t per_y) {
  form_need(e, root, false);
  for (KE at = 0; at <= root; at++) {
    const KNode *n = &e->k->node[at];
    if (!e->need[at]) continue;
    if (n->kind == KN_Var && (n->a == x || n->a == y)) return false;
    for (uint32_t d = 0; is_load(n) && d < n->rank; d++) {
      KE i = e->k->pool[n->b + d];
      form_find(e, i, x);
      int64_t coef = e->coef[i];
      bool ok = e->form[i] != VARYING;
      form_find(e, i, y);
      if (!ok || e->form[i] == VARYING || coef * per_y != e->coef[i] * per_x) return false;
    }
  }
  return true;
}

Val load_stride_value(Emit *e, KE load, uint32_t var) {
  const KNode *n = &e->k->node[load];
  Val s = i64_of(e, 0);
  form_find(e, load, var);
  for (uint32_t d = 0; d < n->rank; d++) {
    KE i = e->k->pool[n->b + d];
    if (e->form[i] == VARYING) return NULL;
    s = LLVMBuildMul(e->b, s, e->dim[n->a][d], "");
    s = LLVMBuildAdd(e->b, s, i64_of(e, e->coef[i]), "");
  }
  return s;
}

void form_find_store(Emit *e, const KStmt *s, uint32_t var) {
  for (uint32_t d = 0; d < e->k->buf[s->a].rank; d++) form_find(e, e->k->pool[s->b + d], var);
}

bool store_stride(Emit *e, const KStmt *s, uint32_t var, int64_t *stride) {
  form_find_store(e, s, var);
  return form_moves_by(e, s->a, s->b, stride);
}

/* ---- two variables as one ---------------------------------------------------------------- */
/* Strides of one access along outer and inner, by two passes over its forms. */
static bool access_is_one(Emit *e, uint32_t buf, uint32_t pool, uint32_t outer, uint32_t inner,
                          int64_t extent, bool bounded) {
  int64_t s[2], want;
  for (int i = 0; i < 2; i++) {
    for (uint32_t d = 0; d < e->k->buf[buf].rank; d++) {
      form_find(e, e->k->pool[pool + d], i ? inner : outer);
      if (bounded && e->form[e->k->pool[pool + d]] != UNIFORM) return false;
    }
    if (!form_moves_by(e, buf, pool, &s[i])) return false;
  }
  return !__builtin_mul_overflow(s[1], extent, &want) && want == s[0];
}

bool one_variable(Emit *e, KE root, uint32_t outer, uint32_t inner, int64_t extent) {
  form_need(e, root, false);
  for (KE at = 0; at <= root; at++) {
    const KNode *n = &e->k->node[at];
    if (!e->need[at]) continue;
    if (n->kind == KN_Var && (n->a == outer || n->a == inner)) return false;
    if (is_load(n) && !access_is_one(e, n->a, n->b, outer, inner, extent, n->kind == KN_LoadOr))
      return false;
  }
  return true;
}

bool one_variable_body(Emit *e, uint32_t from, uint32_t to, uint32_t outer, uint32_t inner,
                       int64_t extent) {
  for (uint32_t at = from; at < to; at++) {
    const KStmt *s = &e->k->stmt[at];
    bool store = s->kind == KS_Store;
    if (!store && s->kind != KS_Let && s->kind != KS_Check) return false;
    if (!one_variable(e, store ? s->c : s->a, outer, inner, extent)) return false;
    if (store && !access_is_one(e, s->a, s->b, outer, inner, extent, false)) return false;
  }
  return true;
}

/* ---- what can be taken -------------------------------------------------------------------- */
static bool takes(Emit *e, KE root) {
  form_need(e, root, true);
  for (KE at = 0; at <= root; at++) {
    const KNode *n = &e->k->node[at];
    if (!e->need[at] || e->form[at] != VARYING || n->kind != KN_Op) continue;
    DType t = (DType)e->k->node[n->a].dtype;
    if (!dtype_is_float(t) && n->op != S_select && !op_in_lanes((SOp)n->op, t)) return false;
  }
  return true;
}

bool lanes_takes(const Lanes *l, KE root) {
  form_find(l->e, root, l->var);
  return takes(l->e, root);
}

static bool takes_store(Emit *e, const KStmt *s, uint32_t var) {
  int64_t stride;
  form_find_store(e, s, var);
  for (uint32_t d = 0; d < e->k->buf[s->a].rank; d++)
    if (!takes(e, e->k->pool[s->b + d])) return false;
  return form_moves_by(e, s->a, s->b, &stride) && stride != 0;
}

void form_let(Emit *e, uint32_t var, Form f, int64_t coef) {
  e->var_form[var] = (uint8_t)f;
  e->var_coef[var] = coef;
}

bool lanes_takes_body(const Lanes *l, uint32_t acc, uint32_t from, uint32_t to) {
  Emit *e = l->e;
  bool ok = true;
  if (acc != KE_NONE) form_let(e, acc, VARYING, 0);
  for (uint32_t at = from; at < to && ok; at++) {
    const KStmt *s = &e->k->stmt[at];
    KE x = s->kind == KS_Store ? s->c : s->a;
    ok = (s->kind == KS_Let || s->kind == KS_Store || s->kind == KS_Check) && lanes_takes(l, x);
    if (ok && s->kind == KS_Let) form_let(e, s->var, (Form)e->form[x], e->coef[x]);
    if (ok && s->kind == KS_Store) ok = takes_store(e, s, l->var);
  }
  memset(e->var_form, 0, e->k->n_vars);
  return ok;
}
