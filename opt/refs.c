/* refs.c -- refs that only one function sees become the values they hold.
 *
 * A ref is private if every use of it is a read or a write in the function that
 * makes it (uses in closures, arguments, data do not count as such), and all
 * writes stand in the block that makes it.  Then the walk in program order
 * knows at every read what was written last.  The ref itself is left to dce.  */
#include "opt/retype.h"

typedef struct {
  Block *block; /* that makes it                                        */
  int fn;       /* the function around that                             */
  bool shared;
  Atom now; /* what it holds                                        */
} Cell;
typedef struct {
  PassCx *cx;
  Map cell; /* Var -> Cell *                                        */
  Block *block;
  int fn, n_fns;
  Map given;
  Retype same;
} Refs;

static Cell *cell_of(const Refs *r, const Atom *a) {
  return a->kind == ATOM_Var ? map_get(&r->cell, map_ptr(a->var)) : NULL;
}

/* ---- which are private ---- */

static void find_block(void *ud, Block *b);
static void escape(void *ud, Atom *a) {
  Cell *c = cell_of(ud, a);
  if (c) c->shared = true;
}
static void find_fn(void *ud, Fn *f) {
  Refs *r = ud;
  int was = r->fn;
  r->fn = ++r->n_fns;
  find_block(r, f->body);
  r->fn = was;
}

static void find_use(Refs *r, Expr *e) {
  static const ExprVisit visit = {escape, find_block, find_fn};
  bool read = e->kind == EX_RefRead, write = e->kind == EX_RefWrite;
  Cell *c = read ? cell_of(r, &e->RefRead.ref) : write ? cell_of(r, &e->RefWrite.ref) : NULL;
  if (c && (c->fn != r->fn || (write && c->block != r->block))) c->shared = true;
  if (write) escape(r, &e->RefWrite.value);
  if (!read && !write) ir_visit(e, &visit, r);
}

static void find_block(void *ud, Block *b) {
  Refs *r = ud;
  Block *was = r->block;
  for (int i = 0; i < b->n; i++) {
    r->block = b;
    find_use(r, b->at[i].value);
    if (b->at[i].value->kind != EX_Ref) continue;
    Cell *c = NEW(Cell);
    *c = (Cell){.block = b, .fn = r->fn};
    map_set(&r->cell, map_ptr(b->at[i].var), c);
  }
  escape(r, &b->result);
  r->block = was;
}

/* ---- what they hold ---- */

static void give(Refs *r, Type *t) {
  t = t ? type_resolve(t) : NULL;
  for (int i = 0; t && t->kind == TY_Tensor && i < t->tensor.rank; i++)
    if (t->tensor.dim[i]->kind == DIM_Sym) map_set(&r->given, map_ptr(t->tensor.dim[i]), r);
}

static void replace_read(Refs *r, Binding *b, const Cell *c) {
  if (!pass_may(r->cx)) return;
  Atom a = c->now;
  Type *t = a.kind == ATOM_Var ? a.var->type : a.type;
  if (t) same_extents(&r->same, &r->given, b->var->type, t);
  b->value = bind_copy(b->var, a, b->style, b->value->span).value;
}

static void replace_write(Refs *r, Binding *b, Cell *c) {
  Expr *unit = ir_expr(EX_Tuple, b->value->span);
  c->now = b->value->RefWrite.value;
  unit->type = b->value->type;
  /* The write goes only if all reads after it will: the limit may stop us. */
  if (r->cx->o->limit < 0 && pass_may(r->cx)) b->value = unit;
}

static void replace_block(void *ud, Block *b) {
  static const ExprVisit visit = {NULL, replace_block, NULL};
  Refs *r = ud;
  for (int i = 0; i < b->n; i++) {
    Binding *bd = &b->at[i];
    Expr *e = bd->value;
    Cell *own = e->kind == EX_Ref ? map_get(&r->cell, map_ptr(bd->var)) : NULL;
    Cell *read = e->kind == EX_RefRead ? cell_of(r, &e->RefRead.ref) : NULL;
    Cell *write = e->kind == EX_RefWrite ? cell_of(r, &e->RefWrite.ref) : NULL;
    if (own) own->now = e->Ref.value;
    if (read && !read->shared) replace_read(r, bd, read);
    if (write && !write->shared) replace_write(r, bd, write);
    ir_visit(bd->value, &visit, r);
    give(r, bd->var->type);
  }
}

static void refs_global(void *ud, Global *g) {
  Refs r = {.cx = ud};
  r.same.cx = r.cx->m->cx;
  find_fn(&r, g->fn);
  if (!r.cell.n) return;
  for (int i = 0; i < g->fn->n; i++) give(&r, g->fn->param[i]->type);
  replace_block(&r, g->fn->body);
  if (r.same.dim.n) retype_fn(&r.same, g->fn);
}
static void refs_run(PassCx *cx) { each_global(cx->m, refs_global, cx); }

const Pass pass_refs = {.name = "refs",
                        .doc = "Refs that do not leave their function become plain values.",
                        .needs = FORM_TYPED,
                        .keeps = ~0u,
                        .run = refs_run};
