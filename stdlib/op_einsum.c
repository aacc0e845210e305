/* op_einsum.c -- einsum: sums of products by labels of axes.
 *
 * Labels are letters; `...` stands for up to MAX_RANK hidden labels, aligned at the
 * right and broadcast.  Without an arrow the result has the ellipsis, then the
 * labels that occur once, in alphabetical order.                                    */
#include "stdlib/relkit.h"

enum { MAX_TERMS = 8, ELLIPSIS = 64 }; /* hidden labels ELLIPSIS + i, from the right */
typedef struct {
  int n;
  int label[MAX_RANK];
} Term;
typedef struct {
  int n_terms;
  Term in[MAX_TERMS], out;
  int n_red, red[2 * MAX_RANK];
  const char *why;
} Einsum;

static bool add_label(Einsum *e, Term *t, int label) {
  if (t->n == MAX_RANK) return e->why = "an operand has too many labels", false;
  t->label[t->n++] = label;
  return true;
}
static int label_of(char c) {
  return c >= 'a' && c <= 'z' ? c - 'a' : c >= 'A' && c <= 'Z' ? 26 + c - 'A' : -1;
}

/* Reads labels up to , or - or the end; hidden: how many axes the ellipsis takes. */
static const char *read_term(Einsum *e, const char *s, Term *t, int hidden) {
  for (; *s && *s != ',' && *s != '-'; s++) {
    if (*s == ' ') continue;
    if (!strncmp(s, "...", 3)) {
      for (int i = hidden - 1; i >= 0; i--)
        if (!add_label(e, t, ELLIPSIS + i)) return NULL;
      s += 2;
    } else if (label_of(*s) < 0) {
      return e->why = "only letters, ... , and -> may occur", NULL;
    } else if (!add_label(e, t, label_of(*s))) {
      return NULL;
    }
  }
  return s;
}
static int letters_in(const char *s) {
  int n = 0;
  for (; *s && *s != ',' && *s != '-'; s++) n += label_of(*s) >= 0;
  return n;
}
static bool has_label(const Term *t, int label) {
  for (int i = 0; i < t->n; i++)
    if (t->label[i] == label) return true;
  return false;
}
static int uses_of(const Einsum *e, int label) {
  int n = 0;
  for (int i = 0; i < e->n_terms; i++)
    for (int j = 0; j < e->in[i].n; j++) n += e->in[i].label[j] == label;
  return n;
}

static bool read_einsum(const char *s, int n_operands, const int *rank, Einsum *e) {
  *e = (Einsum){0};
  int widest = 0;
  while (true) {
    if (e->n_terms >= n_operands || e->n_terms == MAX_TERMS)
      return e->why = "it has more operands than the tuple", false;
    int hidden = rank[e->n_terms] - letters_in(s);
    if (hidden < 0) hidden = 0;
    widest = hidden > widest ? hidden : widest;
    Term *t = &e->in[e->n_terms++];
    if (!(s = read_term(e, s, t, hidden))) return false;
    if (t->n != rank[e->n_terms - 1])
      return e->why = "the labels of an operand are not as many as its axes", false;
    if (*s != ',') break;
    s++;
  }
  if (e->n_terms != n_operands) return e->why = "it has fewer operands than the tuple", false;
  if (*s == '-') {
    if (s[1] != '>') return e->why = "expected ->", false;
    if (!(s = read_term(e, s + 2, &e->out, widest))) return false;
    if (*s) return e->why = "text after the result", false;
  } else {
    for (int i = widest - 1; i >= 0; i--)
      if (!add_label(e, &e->out, ELLIPSIS + i)) return false;
    for (int l = 0; l < 52; l++) {
      static const char order[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
      if (uses_of(e, label_of(order[l])) == 1 && !add_label(e, &e->out, label_of(order[l])))
        return false;
    }
  }
  for (int l = 0; l < ELLIPSIS + MAX_RANK; l++) {
    bool out = has_label(&e->out, l);
    if (out && uses_of(e, l) == 0)
      return e->why = "the result has a label that no operand has", false;
    if (!out && uses_of(e, l) > 0) {
      if (e->n_red == 2 * MAX_RANK) return e->why = "too many summed labels", false;
      e->red[e->n_red++] = l;
    }
  }
  return true;
}

/* The extent of a label: of its occurrences, broadcasting those of the ellipsis. */
static bool rel_einsum(Rel *r) {
  int n = rel_arg_size(r, 0), rank[MAX_TERMS];
  Einsum e;
  Dim ext[ELLIPSIS + MAX_RANK] = {0}, out[MAX_RANK];
  DimTab *t = rel_dims(r);
  if (n < 1 || n > MAX_TERMS) return rel_error(r, "takes 1 to %d operands, found %d", MAX_TERMS, n);
  for (int i = 0; i < n; i++) rank[i] = rel_leaf(r, 0, i).rank;
  if (!read_einsum(attr_str(rel_attrs(r), "equation"), n, rank, &e))
    return rel_error(r, "equation \"%s\": %s", attr_str(rel_attrs(r), "equation"), e.why);
  for (int i = 0; i < n; i++) {
    TensorTy x = rel_leaf(r, 0, i);
    if (x.dtype != rel_leaf(r, 0, 0).dtype)
      return rel_error(r, "the operands have different element types");
    for (int a = 0; a < x.rank; a++) {
      Dim *d = &ext[e.in[i].label[a]];
      if (!*d)
        *d = x.dim[a];
      else if (e.in[i].label[a] < ELLIPSIS) {
        if (!rel_same_dim(r, *d, x.dim[a], "two extents with one label")) return false;
      } else {
        TensorTy one = {x.dtype, 1, d}, two = {x.dtype, 1, &x.dim[a]};
        Dim both[MAX_RANK];
        int rk;
        if (!rel_broadcast(r, one, two, &rk, both)) return false;
        *d = both[0];
      }
    }
  }
  (void)t;
  for (int i = 0; i < e.out.n; i++) out[i] = ext[e.out.label[i]];
  return rel_result(r, rel_leaf(r, 0, 0).dtype, e.out.n, out);
}

typedef struct {
  OpK k;
  Einsum e;
  KTensor x[MAX_TERMS];
  KE var[ELLIPSIS + MAX_RANK];
} EinsumK;

static KE einsum_load(EinsumK *s, int i, DType acc) {
  KE at[MAX_RANK];
  KB *b = s->k.b;
  for (int a = 0; a < s->e.in[i].n; a++) {
    int l = s->e.in[i].label[a];
    at[a] =
        l < ELLIPSIS ? s->var[l] : kb_min(b, s->var[l], kb_sub(b, s->x[i].dim[a], kb_int(b, 1)));
  }
  return kb_cast(b, kb_load(b, s->x[i].buf, at), acc);
}

static bool lower_einsum(OpPlan *p) {
  int rank[MAX_TERMS];
  EinsumK s;
  Dim ext[ELLIPSIS + MAX_RANK] = {0};
  for (int i = 0; i < p->n_in; i++) rank[i] = plan_operand(p, i)->rank;
  read_einsum(attr_str(p->attrs, "equation"), p->n_in, rank, &s.e);
  for (int i = 0; i < p->n_in; i++)
    for (int a = 0; a < rank[i]; a++) {
      Dim *d = &ext[s.e.in[i].label[a]], x = plan_operand(p, i)->dim[a];
      *d = *d && s.e.in[i].label[a] >= ELLIPSIS ? dim_bcast(p->cx->dims, *d, x) : *d ? *d : x;
    }
  s.k = opk_begin(p, "einsum");
  KB *b = s.k.b;
  for (int i = 0; i < p->n_in; i++) s.x[i] = opk_in(&s.k, i);
  KTensor y = opk_out(&s.k, plan_result(p, 0));
  KE par[MAX_RANK], red_ext[2 * MAX_RANK], red[2 * MAX_RANK];
  for (int i = 0; i < s.e.n_red; i++) red_ext[i] = opk_dim(&s.k, ext[s.e.red[i]]);
  DType acc = relkit_acc(y.dtype);
  if (p->n_in == 2 && s.e.n_red > 0) {
    kb_contract_begin(b, s.e.out.n, y.dim, par, s.e.n_red, red_ext, red);
    for (int i = 0; i < s.e.out.n; i++) s.var[s.e.out.label[i]] = par[i];
    for (int i = 0; i < s.e.n_red; i++) s.var[s.e.red[i]] = red[i];
    KE left = einsum_load(&s, 0, acc);
    KE sum = kb_contract_acc(b, acc, left, einsum_load(&s, 1, acc));
    kb_store(b, y.buf, par, kb_cast(b, sum, y.dtype));
    kb_contract_end(b);
    return opk_end(&s.k);
  }
  opk_loops(&s.k, s.e.out.n, y.dim, par);
  for (int i = 0; i < s.e.out.n; i++) s.var[s.e.out.label[i]] = par[i];
  if (s.e.n_red) kb_reduce_begin(b, s.e.n_red, red_ext, red);
  for (int i = 0; i < s.e.n_red; i++) s.var[s.e.red[i]] = red[i];
  KE v = einsum_load(&s, 0, acc);
  for (int i = 1; i < p->n_in; i++) v = kb_mul(b, v, einsum_load(&s, i, acc));
  if (s.e.n_red) v = kb_reduce_end(b, S_add, opk_zero(&s.k, acc), v);
  kb_store(b, y.buf, par, kb_cast(b, v, y.dtype));
  opk_close(&s.k, s.e.out.n);
  return opk_end(&s.k);
}

const OpDef op_einsum = {.name = "einsum",
                         .doc = "Einstein summation.",
                         .args = {{"data", "operands", true}},
                         .attrs = {{"equation", A_Str, NULL, "such as \"ij,jk->ik\""}},
                         .flags = OP_PURE | OP_TOTAL_STATIC,
                         .pattern = PAT_OutFusable,
                         .rel = rel_einsum,
                         .lower = lower_einsum,
                         .examples = (const char *const[]){
                             "einsum((f32[2,3], f32[3,4]), equation=\"ij,jk->ik\")",
                             "einsum((f32[?2,3,3],), equation=\"bii->b\")",
                             "einsum((f32[2,3], f32[3], f32[2]), equation=\"ij,j,i->\")",
                             "einsum((f32[5,2,3], f32[3,4]), equation=\"...ij,jk\")",
                             "einsum((f32[2,0], f32[0,3]), equation=\"ij,jk->ik\")", NULL}};
