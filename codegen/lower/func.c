/* func.c -- one function being made: registers, labels, instructions, and the
 * module loop over instances.
 *
 * FnLower.reg is the state of the machine at the instruction about to be
 * emitted, exactly as vm/verify.c will compute it: which registers hold a
 * value, of what type, and which constructor is known.                        */
#include "codegen/lower/lower_priv.h"

/* ---- registers ------------------------------------------------------------------ */
uint16_t fl_reg(FnLower *f, uint32_t itype) {
  uint16_t r;
  if (f->free_reg.n) {
    r = vec_pop(&f->free_reg);
  } else {
    r = (uint16_t)f->reg.n;
    vec_push(&f->reg, ((RegInfo){0}));
  }
  f->reg.at[r] = (RegInfo){true, 0, itype};
  return r;
}
uint16_t fl_reserve(FnLower *f, uint32_t itype) {
  uint16_t r = fl_reg(f, itype);
  f->reg.at[r].used = false;
  return r;
}
void fl_release(FnLower *f, uint16_t reg) {
  f->reg.at[reg].used = false;
  vec_push(&f->free_reg, reg);
}
static bool is_ref(const FnLower *f, uint16_t reg) {
  return itype_is_ref(f->L, f->reg.at[reg].type);
}
void fl_drop(FnLower *f, uint16_t reg) {
  if (is_ref(f, reg) && !f->dead) fl_ins(f, OP_DROP, reg, 0, 0);
  fl_release(f, reg);
}
uint16_t fl_copy(FnLower *f, uint16_t reg) {
  uint16_t to = fl_reg(f, f->reg.at[reg].type);
  fl_ins(f, is_ref(f, reg) ? OP_DUP : OP_MOVE, to, reg, 0);
  return to;
}

RegSave fl_save(FnLower *f) {
  RegSave s = {.n_dim = f->dim.n};
  vec_reserve(&s.reg, f->reg.n + 1);
  for (int i = 0; i < f->reg.n; i++) vec_push(&s.reg, f->reg.at[i]);
  for (int i = 0; i < f->free_reg.n; i++) vec_push(&s.free_reg, f->free_reg.at[i]);
  return s;
}
/* Registers made since are free again; the count of registers never shrinks. */
void fl_restore(FnLower *f, const RegSave *s) {
  fl_dims_leave(f, s->n_dim);
  vec_clear(&f->free_reg);
  for (int i = f->reg.n - 1; i >= s->reg.n; i--) {
    f->reg.at[i].used = false;
    vec_push(&f->free_reg, (uint16_t)i);
  }
  for (int i = 0; i < s->reg.n; i++) f->reg.at[i] = s->reg.at[i];
  for (int i = 0; i < s->free_reg.n; i++) vec_push(&f->free_reg, s->free_reg.at[i]);
  f->dead = false;
}

/* ---- instructions ---------------------------------------------------------------- */
static void note_line(FnLower *f) {
  if (f->span.file == 0) return;
  int line, col;
  source_place(f->L->m->sources, f->span.file, f->span.at, &line, &col);
  const Source *src = source_get(f->L->m->sources, f->span.file);
  ILine l = {(uint32_t)f->code.n, (uint32_t)line, (uint32_t)col,
             low_text(f->L, src ? src->path : "")};
  ILine *last = f->line.n ? &vec_last(&f->line) : NULL;
  if (last && last->line == l.line && last->col == l.col && last->file == l.file) return;
  if (last && last->pc == l.pc)
    *last = l;
  else
    vec_push(&f->line, l);
}

void fl_ins(FnLower *f, OpCode op, uint16_t a, uint16_t b, uint16_t c) {
  if (f->dead) return;
  note_line(f);
  vec_push(&f->code, ((Ins){(uint16_t)op, a, b, c}));
}
void fl_insw(FnLower *f, OpCode op, uint16_t a, uint32_t w) {
  fl_ins(f, op, a, (uint16_t)w, (uint16_t)(w >> 16));
}

uint32_t fl_pool(FnLower *f, const uint32_t *words, int n) {
  uint32_t at = (uint32_t)f->L->pool.n;
  for (int i = 0; i < n; i++) vec_push(&f->L->pool, words[i]);
  return at;
}

uint32_t fl_label_new(FnLower *f) {
  vec_push(&f->label_pc, UINT32_MAX);
  vec_push(&f->label_uses, 0);
  return (uint32_t)f->label_pc.n - 1;
}

/* A jump to the place behind it is none. */
static bool unjump(FnLower *f, uint32_t label) {
  uint32_t last = (uint32_t)f->code.n - 1;
  if (f->fixup.n == 0 || vec_last(&f->fixup) != last || f->code.at[last].op != OP_JUMP ||
      ins_w(f->code.at[last]) != label)
    return false;
  uint32_t newest = f->label.n ? vec_last(&f->label).pc : 0;
  if (newest > last) return false; /* others come here */
  if (newest == last && f->label.n && f->label_uses.at[label] > 1)
    return false; /* two labels are two places */
  f->code.n--, f->fixup.n--;
  f->label_uses.at[label]--;
  return true;
}

void fl_label_here(FnLower *f, uint32_t label) {
  bool falls = f->code.n > 0 && unjump(f, label);
  f->dead = false;
  if (falls && f->label_uses.at[label] == 0) return;
  f->label_pc.at[label] = (uint32_t)f->code.n;
  ILabel l = {.pc = (uint32_t)f->code.n, .first = (uint32_t)f->state.n};
  for (int r = 0; r < f->reg.n; r++) {
    if (!f->reg.at[r].used) continue;
    vec_push(&f->state, ((IRegState){(uint16_t)r, f->reg.at[r].ctor, f->reg.at[r].type}));
    l.n_regs++;
  }
  vec_push(&f->label, l);
}

static void to_label(FnLower *f, OpCode op, uint16_t reg, uint32_t label) {
  if (f->dead) return;
  vec_push(&f->fixup, (uint32_t)f->code.n);
  f->label_uses.at[label]++;
  fl_insw(f, op, reg, label);
}
void fl_unless(FnLower *f, uint16_t reg, uint32_t label) { to_label(f, OP_UNLESS, reg, label); }
void fl_jump(FnLower *f, uint32_t label) {
  to_label(f, OP_JUMP, 0, label);
  f->dead = true;
}
void fl_switch(FnLower *f, uint16_t reg, int n, const uint32_t *label) {
  uint32_t count = (uint32_t)n, pool = fl_pool(f, &count, 1);
  fl_pool(f, label, n);
  for (int i = 0; i < n; i++) {
    vec_push(&f->switch_pool, pool + 1 + (uint32_t)i);
    f->label_uses.at[label[i]]++;
  }
  fl_insw(f, OP_SWITCH, reg, pool);
}

static void set_w(Ins *i, uint32_t w) { i->b = (uint16_t)w, i->c = (uint16_t)(w >> 16); }

static void resolve_labels(FnLower *f) {
  for (int i = 0; i < f->fixup.n; i++) {
    Ins *ins = &f->code.at[f->fixup.at[i]];
    set_w(ins, f->label_pc.at[ins_w(*ins)]);
  }
  for (int i = 0; i < f->switch_pool.n; i++) {
    uint32_t *w = &f->L->pool.at[f->switch_pool.at[i]];
    *w = f->label_pc.at[*w];
  }
}

/* ---- constants -------------------------------------------------------------------- */
static uint16_t imm_or_const(FnLower *f, DType t, uint64_t bits, uint32_t cst) {
  uint16_t r = fl_reg(f, low_scalar(f->L, t));
  int64_t v = (int64_t)bits;
  if (!dtype_is_float(t) && v >= (t == DT_u64 ? 0 : -32768) && v <= 32767)
    fl_ins(f, OP_IMM, r, (uint16_t)t, (uint16_t)v);
  else
    fl_insw(f, OP_CONST, r, cst);
  return r;
}
uint16_t fl_const(FnLower *f, const Tensor *t) {
  uint32_t k = low_const(f->L, t);
  if (t->rank == 0) return imm_or_const(f, t->dtype, f->L->consts.at[k].bits, k);
  uint16_t r = fl_reg(f, low_tensor(f->L, t->dtype, t->rank));
  fl_insw(f, OP_CONST, r, k);
  return r;
}
uint16_t fl_int(FnLower *f, int64_t v) { return fl_const(f, tensor_scalar_int(DT_i64, v)); }

bool fl_unsupported(FnLower *f, const char *what, const char *why) {
  return diag_error(f->L->d, f->span, E0401, what, why);
}

/* ---- one instance ------------------------------------------------------------------ */
static void param(FnLower *f, Var *v, uint32_t itype, VarSet *owned) {
  uint16_t r = fl_reg(f, itype);
  fl_set(f, v, (Val){.kind = VAL_REG, .reg = r});
  varset_add(owned, v);
}

/* What the body sees of the enclosing function: its captured variables and
 * dims in registers, and the tuples and functions that exist only on paper. */
static void enter_captures(FnLower *f, VarSet *owned) {
  FnBind *b = f->inst->bind;
  for (int i = 0; i < b->cap.n; i++) {
    Capture *c = &b->cap.at[i];
    if (c->var)
      param(f, c->var, c->itype, owned);
    else
      fl_dim_bind(f, c->dim, fl_reg(f, c->itype));
  }
  for (int i = 0; i < b->paper.n; i++) fl_set(f, b->paper.at[i].var, b->paper.at[i].val);
}
/* Only once all parameters have their registers: reading takes more. */
static void captured_dims(FnLower *f) {
  FnBind *b = f->inst->bind;
  for (int i = 0; b && i < b->cap.n; i++)
    if (b->cap.at[i].var) fl_dims_of(f, b->cap.at[i].var);
}

static void store_function(FnLower *f, const IFunc *head) {
  Lower *L = f->L;
  IFunc fn = *head;
  fl_reuse(f);
  fl_spare(f, head);
  resolve_labels(f);
  fn.n_regs = (uint32_t)f->reg.n;
  fn.code = (uint32_t)L->code.n, fn.n_code = (uint32_t)f->code.n;
  fn.label = (uint32_t)L->labels.n, fn.n_labels = (uint32_t)f->label.n;
  fn.line = (uint32_t)L->lines.n, fn.n_lines = (uint32_t)f->line.n;
  for (int i = 0; i < f->code.n; i++) vec_push(&L->code, f->code.at[i]);
  uint32_t states = (uint32_t)L->states.n;
  for (int i = 0; i < f->state.n; i++) vec_push(&L->states, f->state.at[i]);
  for (int i = 0; i < f->label.n; i++) {
    ILabel l = f->label.at[i];
    l.first += states;
    vec_push(&L->labels, l);
  }
  for (int i = 0; i < f->line.n; i++) vec_push(&L->lines, f->line.at[i]);
  L->funcs.at[f->inst->index] = fn;
}

/* Hosts may know the extents of a result beforehand. */
static bool says_extents(Type *t) {
  int64_t n;
  t = type_resolve(t);
  for (int i = 0; t->kind == TY_Tensor && i < t->tensor.rank; i++)
    if (dim_is_const(t->tensor.dim[i], &n)) return true;
  return false;
}

static IFunc header(FnLower *f) {
  Lower *L = f->L;
  Instance *inst = f->inst;
  const Fn *fn = inst->fn;
  VEC(uint32_t) types = {0};
  int n_cap = inst->bind ? inst->bind->cap.n : 0;
  for (int i = 0; i < n_cap; i++) vec_push(&types, inst->bind->cap.at[i].itype);
  for (int i = 0; i < fn->n; i++) {
    Type *t = fl_type(f, fn->param[i]->type);
    vec_push(&types, inst->entry ? low_itype_host(L, t) : low_itype(L, t));
  }
  Type *ret = fl_type(f, fn->ret);
  uint32_t result = inst->entry && says_extents(ret) ? low_itype_host(L, ret) : low_itype(L, ret);
  IFunc h = {.name = low_text(L, inst->name),
             .n_captures = (uint32_t)n_cap,
             .n_params = (uint32_t)fn->n,
             .first_param = (uint32_t)L->type_list.n,
             .result = result};
  for (int i = 0; i < types.n; i++) vec_push(&L->type_list, types.at[i]);
  return h;
}

static bool lower_instance(Lower *L, Instance *inst) {
  FnLower fl = {.L = L, .inst = inst, .env = inst->env, .span = inst->fn->span}, *f = &fl;
  const Fn *fn = inst->fn;
  VarSet owned = {0};
  IFunc head = header(f);
  if (inst->bind) enter_captures(f, &owned);
  int n_cap = (int)head.n_captures;
  for (int i = 0; i < fn->n; i++)
    param(f, fn->param[i], L->type_list.at[(int)head.first_param + n_cap + i], &owned);
  captured_dims(f);
  fl_enter(f, fn);
  if (!fl_block(f, fn->body, (Dest){.tail = true}, &owned)) return false;
  if (f->reg.n > 65000)
    return fl_unsupported(f, "a function", "it needs more than 65000 registers");
  store_function(f, &head);
  return true;
}

/* ---- the module ---------------------------------------------------------------------- */
static bool entry(Lower *L, Global *g) {
  if (g->fn->n_vars > 0 ||
      (g->type && type_resolve(g->type)->kind == TY_Fn && type_resolve(g->type)->fn.n_vars > 0))
    return diag_error(L->d, g->span, E0402, g->name,
                      "its type has type parameters; give them by a wrapper");
  uint32_t i = low_instance(L, g->fn, g->name, NULL, NULL);
  L->instances.at[i]->entry = true;
  IEntry e = {.name = low_text(L, g->name),
              .func = i,
              .first_name = (uint32_t)L->name_list.n,
              .doc = low_text(L, g->doc)};
  for (int k = 0; k < g->fn->n; k++) {
    uint32_t name = low_text(L, g->fn->param[k]->name);
    vec_push(&L->name_list, name);
  }
  vec_push(&L->entries, e);
  return true;
}

static void hand_over(Lower *L, Image *m) {
  *m = (Image){
      .n_text = (uint32_t)L->text.n,
      .text = L->text.at,
      .n_types = (uint32_t)L->types.n,
      .type = L->types.at,
      .n_ctors = (uint32_t)L->ctors.n,
      .ctor = L->ctors.at,
      .n_type_list = (uint32_t)L->type_list.n,
      .type_list = L->type_list.at,
      .n_dims = (uint32_t)L->dims.n,
      .dims = L->dims.at,
      .n_consts = (uint32_t)L->consts.n,
      .cst = L->consts.at,
      .n_data = L->n_data,
      .data = low_data(L),
      .n_kernels = (uint32_t)L->kernels.n,
      .kernel = L->kernels.at,
      .n_funcs = (uint32_t)L->funcs.n,
      .func = L->funcs.at,
      .n_code = (uint32_t)L->code.n,
      .code = L->code.at,
      .n_pool = (uint32_t)L->pool.n,
      .pool = L->pool.at,
      .n_labels = (uint32_t)L->labels.n,
      .label = L->labels.at,
      .n_states = (uint32_t)L->states.n,
      .state = L->states.at,
      .n_lines = (uint32_t)L->lines.n,
      .line = L->lines.at,
      .n_entries = (uint32_t)L->entries.n,
      .entry = L->entries.at,
      .n_name_list = (uint32_t)L->name_list.n,
      .name_list = L->name_list.at,
  };
}

/* A function that calls itself at types made of its own never stops being
 * specialised: what type variables stand for is bounded. */
enum { MAX_TYPE_ARG = 3000 }; /* nodes                            */
static bool can_be_made(Lower *L, const Instance *inst) {
  int left = MAX_TYPE_ARG;
  for (int i = 0; i < inst->fn->n; i++) {
    const Var *v = inst->fn->param[i];
    Type *t = type_resolve(v->type);
    if (t->kind == TY_Fn && t->fn.n_vars > 0)
      return diag_error(L->d, v->span, E0401, str_fmt("%%%s", v->name ? v->name : "_"),
                        "a parameter has one type; pass a function for each type it is used at");
  }
  for (const TyEnv *e = inst->env; e && left >= 0; e = e->up) ty_weigh(e->type, &left);
  if (left >= 0) return true;
  return diag_error(L->d, inst->fn->span, E0401, str_fmt("@%s", inst->name),
                    "it is called at ever larger types");
}

bool lower_module(Module *m, int n_entries, Global *const *entries, Diags *d, Image *out) {
  Lower L = {.m = m, .cx = m->cx, .d = d};
  bool ok = true;
  low_text(&L, "");
  for (int i = 0; i < n_entries; i++) ok &= entry(&L, entries[i]);
  for (; ok && L.done < L.instances.n; L.done++) {
    while (L.funcs.n < L.instances.n) vec_push(&L.funcs, ((IFunc){0}));
    ok = can_be_made(&L, L.instances.at[L.done]) && lower_instance(&L, L.instances.at[L.done]);
  }
  if (ok) hand_over(&L, out);
  return ok;
}
