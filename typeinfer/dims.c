/* dims.c -- cells: the extents that inference is still finding out.
 *
 * A cell recomputes its value from all its inputs whenever one changes.  When
 * a known value changes, everything computed from it is forgotten first and
 * computed again, so that cycles (recursive functions, refs) cannot hold on to
 * a value nobody gives any more.  A join that has reached its top stays there,
 * and a cell that changes too often is sent there: the process ends.         */
#include "typeinfer/state.h"

enum { MAX_CHANGES = 12 };

Cell *cell_new(Infer *I, int level, unsigned flags) {
  Cell *c = NEW(Cell);
  c->flags = flags;
  c->level = level;
  c->order = ++I->clock;
  c->self = dim_new_meta(I->dt, c);
  vec_push(&I->cells, c);
  return c;
}

static void queue_cell(Infer *I, Cell *c) {
  if (c->queued) return;
  c->queued = true;
  vec_push(&I->queue, ((Work){.cell = c}));
}

void queue_job(Infer *I, Job *j) {
  if (j->queued) return;
  j->queued = true;
  vec_push(&I->queue, ((Work){.job = j}));
}

static void wake(Infer *I, const Cell *c) {
  for (int i = 0; i < c->out.n; i++) {
    if (c->out.at[i].cell)
      queue_cell(I, c->out.at[i].cell);
    else
      queue_job(I, c->out.at[i].job);
  }
}

/* ---- levels ---------------------------------------------------------------- */

void sym_enter(Infer *I, Dim s, int level, int order) {
  SymInfo *si = NEW(SymInfo);
  *si = (SymInfo){level, order};
  map_set(&I->syms, map_ptr(s), si);
}

Dim sym_new(Infer *I, int level, int order) {
  Dim s = dim_new_sym(I->dt, NULL, level);
  sym_enter(I, s, level, order);
  return s;
}

bool sym_known(Infer *I, Dim s) { return map_get(&I->syms, map_ptr(s)); }

int sym_level(Infer *I, Dim s) {
  const SymInfo *si = map_get(&I->syms, map_ptr(s));
  return si ? si->level : s->level;
}

typedef struct {
  Infer *I;
  const Cell *cell;
  bool hidden;
} HiddenAsk;
static void ask_hidden(void *ud, Dim s) {
  HiddenAsk *a = ud;
  const SymInfo *si = map_get(&a->I->syms, map_ptr(s));
  a->hidden |= (si ? si->level : s->level) > a->cell->level || (si && si->order > a->cell->order);
}

bool dim_hidden(Infer *I, Dim d, const Cell *c) {
  if (d->kind == DIM_Const || d->kind == DIM_Any || d == c->symbol) return false;
  HiddenAsk a = {I, c, false};
  dim_visit_syms(d, ask_hidden, &a);
  return a.hidden;
}

/* ---- values ---------------------------------------------------------------- */

bool dim_value(Dim d, Dim *out) {
  const Cell *c = cell_of(d);
  *out = c ? c->val : d;
  return !c || c->known;
}

typedef struct {
  Infer *I;
  const Inst *inst;
  bool unset;
} SubstAsk;
static Dim subst_one(void *ud, Dim s) {
  SubstAsk *a = ud;
  Dim v = NULL;
  for (int i = 0; i < a->inst->n_dims; i++) {
    if (a->inst->sym[i] != s) continue;
    if (dim_value(a->inst->cell[i], &v)) return v;
    a->unset = true;
    return NULL;
  }
  return sym_level(a->I, s) > a->inst->cap ? dim_any(a->I->dt) : NULL;
}

bool input_value(Infer *I, const CellIn *in, Dim *out) {
  if (!dim_value(in->dim, out)) return false;
  if (!in->inst || (*out)->kind == DIM_Const || (*out)->kind == DIM_Any) return true;
  SubstAsk a = {I, in->inst, false};
  *out = dim_subst(I->dt, *out, subst_one, &a);
  return !a.unset;
}

static Dim top_of(Infer *I, Cell *c) {
  if (!(c->flags & CELL_OPENS)) return dim_any(I->dt);
  if (!c->symbol) c->symbol = sym_new(I, c->level, c->order);
  return c->symbol;
}

static bool same_dim(Dim a, Dim b) { return a == b || (a->kind == DIM_Any && b->kind == DIM_Any); }

/* The strict join: what disagrees is found out at the end, here the most
 * telling input wins (the callee checks the others against it). */
static Dim more_telling(Dim a, Dim b) {
  int64_t v;
  if (a->kind == DIM_Any) return b;
  return !dim_is_const(a, &v) && dim_is_const(b, &v) ? b : a;
}

static bool join_inputs(Infer *I, Cell *c, Dim *out) {
  bool known = false;
  for (int i = 0; i < c->in.n; i++) {
    Dim v;
    if (!input_value(I, &c->in.at[i], &v)) continue;
    if (dim_hidden(I, v, c)) v = dim_any(I->dt);
    if (!known)
      *out = v;
    else if (c->flags & CELL_STRICT)
      *out = more_telling(*out, v);
    else if ((*out)->kind == DIM_Any || !dim_equal(*out, v))
      *out = dim_any(I->dt);
    known = true;
  }
  return known;
}

/* ---- changes --------------------------------------------------------------- */

typedef VEC(Cell *) CellList;

static void forget(Infer *I, Cell *c, CellList *todo) {
  if (!c->known || c->stuck) return;
  c->known = false;
  if (!(c->flags & CELL_GIVEN)) queue_cell(I, c);
  vec_push(todo, c);
}

/* Forget everything that was computed from start. */
static void forget_after(Infer *I, Cell *start) {
  CellList todo = {0};
  vec_push(&todo, start);
  while (todo.n) {
    Cell *c = vec_pop(&todo);
    for (int i = 0; i < c->out.n; i++) {
      Work w = c->out.at[i];
      if (w.cell && w.cell != start) forget(I, w.cell, &todo);
      if (!w.job) continue;
      queue_job(I, w.job);
      for (int k = 0; k < w.job->cells_out.n; k++) forget(I, w.job->cells_out.at[k], &todo);
    }
  }
}

static void become(Infer *I, Cell *c, Dim v) {
  bool joins = !(c->flags & (CELL_STRICT | CELL_RIGID | CELL_GIVEN));
  if (c->known && same_dim(c->val, v)) return;
  if (c->known && ++c->changes > MAX_CHANGES) v = dim_any(I->dt), joins = true;
  if (v->kind == DIM_Any) v = top_of(I, c), c->stuck = joins;
  if (c->known) {
    if (same_dim(c->val, v)) return;
    forget_after(I, c);
  }
  c->known = true;
  c->val = v;
  wake(I, c);
}

static void recompute(Infer *I, Cell *c) {
  Dim v;
  if (c->stuck || (c->flags & CELL_GIVEN)) return;
  if (join_inputs(I, c, &v)) become(I, c, v);
}

void cell_set(Infer *I, Cell *c, Dim v) {
  if (!c->stuck) become(I, c, v);
}

void cell_fix(Infer *I, Cell *c, Dim v) {
  become(I, c, v);
  c->stuck = true;
}

void cell_top(Infer *I, Cell *c) {
  become(I, c, dim_any(I->dt));
  c->stuck = true;
}

static void link_out(Dim d, Cell *to) {
  Cell *from = cell_of(d);
  if (from && from != to) vec_push(&from->out, ((Work){.cell = to}));
}

void cell_input(Infer *I, Cell *c, CellIn in) {
  if (cell_of(in.dim) == c) return;
  vec_push(&c->in, in);
  link_out(in.dim, c);
  if (in.inst)
    for (int i = 0; i < in.inst->n_dims; i++) link_out(in.inst->cell[i], c);
  queue_cell(I, c);
}

void cell_watch(Cell *c, Job *j) {
  for (int i = 0; i < j->watching.n; i++)
    if (j->watching.at[i] == c) return;
  vec_push(&j->watching, c);
  vec_push(&c->out, ((Work){.job = j}));
}

static void run_job(Infer *I, Job *j) {
  switch (j->kind) {
  case JOB_Rel: run_rel(I, j); break;
  case JOB_Proj: run_proj(I, j); break;
  case JOB_Inst: run_inst(I, j); break;
  }
}

void solve(Infer *I) {
  while (I->head < I->queue.n) {
    Work w = I->queue.at[I->head++];
    if (w.cell) {
      w.cell->queued = false;
      recompute(I, w.cell);
    } else {
      w.job->queued = false;
      run_job(I, w.job);
    }
  }
  vec_clear(&I->queue);
  I->head = 0;
}
