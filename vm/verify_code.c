/* verify_code.c -- one function's code, in one pass from top to bottom.
 *
 * The state is a vector: what each register holds, or nothing.  Labels declare
 * their state, so a jump only compares and nothing is ever iterated (as in
 * WebAssembly and Java's StackMapTable).  References must match exactly: one
 * that the label does not list would leak, one too many would dangle.  Scalars
 * the label does not list are forgotten.                                      */
#include "base/checked.h"
#include "vm/verify.h"

/* ---- registers ---------------------------------------------------------- */

static bool held(const Verify *v, uint32_t r) { return v->reg[r].epoch == v->epoch; }

bool v_look(Verify *v, uint32_t r, VReg *out) {
  *out = (VReg){.epoch = 0};
  if (r >= v->f->n_regs) return v_fail(v, "a register is out of range");
  if (!held(v, r)) return v_fail(v, "an empty register is read");
  *out = v->reg[r];
  return true;
}

bool v_use(Verify *v, uint32_t r, VReg *out) {
  if (!v_look(v, r, out)) return false;
  if (out->state == V_SHELL) return v_fail(v, "a shell is used");
  return out->state == V_PLAIN || v_fail(v, "a register bound by REUSE is used");
}

bool v_use_cls(Verify *v, uint32_t r, Cls cls, const char *why) {
  VReg x;
  return v_use(v, r, &x) && (x.cls == cls || v_fail(v, why));
}

bool v_take(Verify *v, uint32_t r, VReg *out) {
  if (!v_use(v, r, out)) return false;
  if (cls_is_scalar(out->cls)) return true;
  v->reg[r].epoch = 0;
  v->n_refs--;
  return true;
}

bool v_take_cls(Verify *v, uint32_t r, Cls cls, const char *why) {
  VReg x;
  return v_take(v, r, &x) && (x.cls == cls || v_fail(v, why));
}

bool v_put(Verify *v, uint32_t r, Cls cls, uint16_t ctor, bool fresh) {
  if (r >= v->f->n_regs) return v_fail(v, "a register is out of range");
  if (held(v, r) && !cls_is_scalar(v->reg[r].cls))
    return v_fail(v, "a register that owns a reference is overwritten");
  const IType *data = v_type(v, cls, IT_DATA);
  if (data && data->n_ctors == 1) ctor = 1;
  v->reg[r] = (VReg){v->epoch, cls, ctor, fresh, V_PLAIN};
  if (!cls_is_scalar(cls)) v->n_refs++;
  return true;
}

static void forget_all(Verify *v) {
  v->epoch++;
  v->n_refs = v->n_bonds = 0;
}

/* ---- labels ------------------------------------------------------------- */

static const ILabel *find_label(const Verify *v, uint32_t pc) {
  uint32_t lo = v->f->label, hi = lo + v->f->n_labels;
  while (lo < hi) {
    uint32_t mid = lo + (hi - lo) / 2;
    const ILabel *l = &v->m->label[mid];
    if (l->pc == pc) return l;
    if (l->pc < pc)
      lo = mid + 1;
    else
      hi = mid;
  }
  return NULL;
}

static bool put_state(Verify *v, const IRegState *s) {
  if (s->reg >= v->f->n_regs || s->type >= v->m->n_types)
    return v_fail(v, "label: a register or type is out of range");
  if (held(v, s->reg)) return v_fail(v, "label: a register is listed twice");
  Cls c = v_cls(v, s->type);
  const IType *data = v_type(v, c, IT_DATA);
  if (s->ctor > (data ? data->n_ctors : 0)) return v_fail(v, "label: no such constructor");
  return v_put(v, s->reg, c, s->ctor, false);
}

/* The state becomes what the label says. */
static bool load_label(Verify *v, const ILabel *l) {
  if (!range_ok(l->first, l->n_regs, v->m->n_states)) return v_fail(v, "label: state out of range");
  if (!v_spend(v, l->n_regs)) return false;
  forget_all(v);
  for (uint32_t i = 0; i < l->n_regs; i++)
    if (!put_state(v, &v->m->state[l->first + i])) return false;
  return true;
}

static bool check_labels(Verify *v) {
  for (uint32_t i = 0; i < v->f->n_labels; i++) {
    const ILabel *l = &v->m->label[v->f->label + i];
    v->pc = l->pc;
    if (l->pc >= v->f->n_code || (i > 0 && l->pc <= l[-1].pc))
      return v_fail(v, "labels are not in order");
    if (!load_label(v, l)) return false;
  }
  return true;
}

/* Does the state here imply the label's?  Its entries are known to be good. */
static bool implies(Verify *v, const ILabel *l) {
  uint32_t refs = 0;
  if (!v_spend(v, l->n_regs)) return false;
  if (v->n_bonds) return v_fail(v, "REUSE: not settled on the way to a label");
  for (uint32_t i = 0; i < l->n_regs; i++) {
    const IRegState *s = &v->m->state[l->first + i];
    const VReg *x = &v->reg[s->reg];
    if (!held(v, s->reg)) return v_fail(v, "the label expects a register that is empty here");
    if (x->cls != v_cls(v, s->type)) return v_fail(v, "the label expects another type");
    if (x->state == V_SHELL) return v_fail(v, "a shell reaches a label");
    if (s->ctor != 0 && s->ctor != x->ctor)
      return v_fail(v, "the label expects a constructor that is not known here");
    refs += !cls_is_scalar(x->cls);
  }
  return refs == v->n_refs || v_fail(v, "a reference is lost on the way to the label");
}

bool v_edge(Verify *v, uint32_t target) {
  const ILabel *l = find_label(v, target);
  return l ? implies(v, l) : v_fail(v, "a jump goes to no label");
}

/* ---- the pass ----------------------------------------------------------- */

static bool enter(Verify *v) {
  uint32_t n = v->f->n_captures + v->f->n_params;
  forget_all(v);
  for (uint32_t i = 0; i < n; i++)
    if (!v_put(v, i, v_list_cls(v, v->f->first_param + i), 0, false)) return false;
  return true;
}

/* At pc: if the function's next label is here the state becomes the label's. */
static bool arrive(Verify *v, uint32_t *next) {
  const ILabel *l = *next < v->f->n_labels ? &v->m->label[v->f->label + *next] : NULL;
  if (!l || l->pc != v->pc) return v->live || v_fail(v, "code that is not reached needs a label");
  if (v->live && !implies(v, l)) return false;
  v->live = true;
  ++*next;
  return load_label(v, l);
}

bool verify_func(Verify *v, const IFunc *f) {
  uint32_t next = 0;
  v->f = f;
  v->pc = 0;
  if (!check_labels(v) || !enter(v)) return false;
  v->live = true;
  for (v->pc = 0; v->pc < f->n_code; v->pc++)
    if (!arrive(v, &next) || !verify_ins(v, v->m->code[f->code + v->pc])) return false;
  if (v->live) return v_fail(v, "the end of the code is reached");
  v->f = NULL;
  return true;
}
