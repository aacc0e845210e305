/* op_nn.c -- products of matrices: dense, matmul, batch_matmul, einsum, stft.   */
#include <math.h>
#include "stdlib/relkit.h"

static DType out_dtype(const OpAttrs *a, DType dflt) {
  const OpAttrVal *v = opattr(a, "out_dtype");
  return v->none || !v->given ? dflt : v->dtype;
}

/* ---- one product ---------------------------------------------------------------------
 * y[b, m, n] = sum over k of A[b, m, k] * B[b, k, n], any of b, m absent; where each
 * factor's axes stand is said by index lists over the four variables.             */
enum { VB, VM, VN, VK, VARS };
typedef struct {
  const Dim *dim;
  int n, var[3];
  bool one[3]; /* extent 1, index 0 */
} Factor;
typedef struct {
  Factor x, w;
  int n, par[3]; /* the result's variables in memory order */
  Dim ext[VARS];
} Product;

static KE factor_load(OpK *k, KTensor t, const Factor *f, const KE *var) {
  KE at[3];
  for (int i = 0; i < f->n; i++)
    at[i] = !f->one[i] ? var[f->var[i]]
                       : kb_min(k->b, var[f->var[i]], kb_sub(k->b, t.dim[i], kb_int(k->b, 1)));
  return kb_load(k->b, t.buf, at);
}

static bool product(OpPlan *p, const char *name, const Product *of) {
  OpK k = opk_begin(p, name);
  KTensor a = opk_in_as(&k, 0, of->x.n, of->x.dim), b = opk_in_as(&k, 1, of->w.n, of->w.dim);
  Dim yd[3];
  for (int i = 0; i < of->n; i++) yd[i] = of->ext[of->par[i]];
  KTensor y = opk_out_as(&k, plan_result(p, 0), of->n, yd);
  KE var[VARS], pv[3], ke = opk_dim(&k, of->ext[VK]), kv;
  for (int i = 0; i < VARS; i++) var[i] = kb_int(k.b, 0);
  kb_contract_begin(k.b, of->n, y.dim, pv, 1, &ke, &kv);
  for (int i = 0; i < of->n; i++) var[of->par[i]] = pv[i];
  var[VK] = kv;
  DType acc = relkit_acc(y.dtype);
  KE sum = kb_contract_acc(k.b, acc, kb_cast(k.b, factor_load(&k, a, &of->x, var), acc),
                           kb_cast(k.b, factor_load(&k, b, &of->w, var), acc));
  kb_store(k.b, y.buf, pv, kb_cast(k.b, sum, y.dtype));
  kb_contract_end(k.b);
  return opk_end(&k);
}

/* ---- dense ------------------------------------------------------------------------------ */
static bool rel_dense(Rel *r) {
  return rel_want_min_rank(r, 0, 1) && rel_want_rank(r, 1, 2) && rel_same_dtype(r, 0, 1) &&
         rel_want_class(r, 0, "fiu") &&
         relkit_dense(r, out_dtype(rel_attrs(r), rel_tensor(r, 0).dtype));
}
static bool lower_dense(OpPlan *p) {
  OpOperand *x = plan_operand(p, 0), *w = plan_operand(p, 1);
  Dim m = relkit_product(p->cx->dims, x->rank - 1, x->dim), k = x->dim[x->rank - 1];
  Product y = {.x = {.dim = (Dim[]){m, k}, .n = 2, .var = {VM, VK}},
               .w = {.dim = w->dim, .n = 2, .var = {VN, VK}},
               .n = 2,
               .par = {VM, VN},
               .ext = {[VM] = m, [VN] = w->dim[0], [VK] = k}};
  return product(p, "dense", &y);
}

/* ---- dense with a tiled weight (units / t, k, t) ----------------------------------------- */
static bool rel_dense_pack(Rel *r) {
  if (!rel_want_rank(r, 0, 2) || !rel_want_rank(r, 1, 3) || !rel_same_dtype(r, 0, 1) ||
      !rel_want_class(r, 0, "fiu"))
    return false;
  TensorTy x = rel_tensor(r, 0), w = rel_tensor(r, 1);
  Dim n = dim_mul(rel_dims(r), w.dim[0], w.dim[2]);
  return rel_same_dim(r, x.dim[1], w.dim[1], "the columns of data and of weight") &&
         relkit_units(r, n, "the rows of weight and units") &&
         rel_result(r, out_dtype(rel_attrs(r), x.dtype), 2, (Dim[]){x.dim[0], n});
}
static bool lower_dense_pack(OpPlan *p) {
  OpOperand *wo = plan_operand(p, 1), *xo = plan_operand(p, 0);
  Dim yd[3] = {xo->dim[0], wo->dim[0], wo->dim[2]};
  OpK k = opk_begin(p, "dense_pack");
  KTensor x = opk_in(&k, 0), w = opk_in(&k, 1), y = opk_out_as(&k, plan_result(p, 0), 3, yd);
  KE par[3], depth;
  kb_contract_begin(k.b, 3, y.dim, par, 1, &x.dim[1], &depth);
  DType acc = relkit_acc(y.dtype);
  KE a = kb_cast(k.b, kb_load(k.b, x.buf, (KE[]){par[0], depth}), acc);
  KE b = kb_cast(k.b, kb_load(k.b, w.buf, (KE[]){par[1], depth, par[2]}), acc);
  kb_store(k.b, y.buf, par, kb_cast(k.b, kb_contract_acc(k.b, acc, a, b), y.dtype));
  kb_contract_end(k.b);
  return opk_end(&k);
}

/* ---- matmul: a (..., m, k), b (k, n), each perhaps transposed -------------------------------- */
static bool rel_matmul(Rel *r) {
  bool ta = attr_bool(rel_attrs(r), "transpose_a"), tb = attr_bool(rel_attrs(r), "transpose_b");
  TensorTy a = rel_tensor(r, 0), b = rel_tensor(r, 1);
  Dim out[MAX_RANK];
  if (!rel_want_min_rank(r, 0, ta ? 2 : 1) || !rel_want_rank(r, 1, 2) || !rel_same_dtype(r, 0, 1) ||
      !rel_want_class(r, 0, "fiu") ||
      !rel_same_dim(r, a.dim[ta ? a.rank - 2 : a.rank - 1], b.dim[tb ? 1 : 0],
                    "the inner extents of tensor_a and tensor_b"))
    return false;
  Dim n = b.dim[tb ? 0 : 1];
  if (!relkit_units(r, n, "the columns of tensor_b and units")) return false;
  for (int i = 0; i < a.rank - 1; i++) out[i] = a.dim[i];
  if (ta) out[a.rank - 2] = a.dim[a.rank - 1];
  out[a.rank - 1] = n;
  return rel_result(r, out_dtype(rel_attrs(r), a.dtype), a.rank, out);
}
static bool lower_matmul(OpPlan *p) {
  bool ta = attr_bool(p->attrs, "transpose_a"), tb = attr_bool(p->attrs, "transpose_b");
  OpOperand *a = plan_operand(p, 0), *b = plan_operand(p, 1);
  DimTab *t = p->cx->dims;
  Dim n = b->dim[tb ? 0 : 1], k = b->dim[tb ? 1 : 0];
  Dim batch = ta ? relkit_product(t, a->rank - 2, a->dim) : NULL;
  Dim m = ta ? a->dim[a->rank - 1] : relkit_product(t, a->rank - 1, a->dim);
  Product y = {.x = {.dim = (Dim[]){m, k}, .n = 2, .var = {VM, VK}},
               .w = {.dim = b->dim, .n = 2, .var = {tb ? VN : VK, tb ? VK : VN}},
               .n = 2,
               .par = {VM, VN},
               .ext = {[VB] = batch, [VM] = m, [VN] = n, [VK] = k}};
  if (ta) {
    y.x = (Factor){.dim = (Dim[]){batch, k, m}, .n = 3, .var = {VB, VK, VM}};
    y.n = 3, y.par[0] = VB, y.par[1] = VM, y.par[2] = VN;
    return product(p, "matmul", &y);
  }
  return product(p, "matmul", &y);
}

/* ---- batch_matmul: batches equal, or one of them 1 ------------------------------------------- */
static bool rel_batch_matmul(Rel *r) {
  bool ta = attr_bool(rel_attrs(r), "transpose_a"), tb = attr_bool(rel_attrs(r), "transpose_b");
  if (!rel_want_rank(r, 0, 3) || !rel_want_rank(r, 1, 3) || !rel_same_dtype(r, 0, 1) ||
      !rel_want_class(r, 0, "fiu"))
    return false;
  TensorTy a = rel_tensor(r, 0), b = rel_tensor(r, 1);
  Dim batch[MAX_RANK];
  int rank;
  TensorTy ab = {a.dtype, 1, a.dim}, bb = {b.dtype, 1, b.dim};
  if (!rel_same_dim(r, a.dim[ta ? 1 : 2], b.dim[tb ? 2 : 1],
                    "the inner extents of tensor_a and tensor_b") ||
      !rel_broadcast(r, ab, bb, &rank, batch))
    return false;
  return rel_result(r, out_dtype(rel_attrs(r), a.dtype), 3,
                    (Dim[]){batch[0], a.dim[ta ? 2 : 1], b.dim[tb ? 1 : 2]});
}
static bool lower_batch_matmul(OpPlan *p) {
  bool ta = attr_bool(p->attrs, "transpose_a"), tb = attr_bool(p->attrs, "transpose_b");
  OpOperand *a = plan_operand(p, 0), *b = plan_operand(p, 1),
            *y = plan_operand(p, plan_result(p, 0));
  Product of = {.x = {.dim = a->dim, .n = 3, .var = {VB, ta ? VK : VM, ta ? VM : VK}},
                .w = {.dim = b->dim, .n = 3, .var = {VB, tb ? VN : VK, tb ? VK : VN}},
                .n = 3,
                .par = {VB, VM, VN},
                .ext = {y->dim[0], y->dim[1], y->dim[2], a->dim[ta ? 1 : 2]}};
  of.x.one[0] = !dim_equal(a->dim[0], y->dim[0]), of.w.one[0] = !dim_equal(b->dim[0], y->dim[0]);
  return product(p, "batch_matmul", &of);
}

/* ---- einsum -------------------------------------------------------------------------------------
 * Labels are letters; `...` stands for up to MAX_RANK hidden labels, aligned at the
 * right and broadcast.  Without an arrow the result has the ellipsis, then the
 * labels that occur once, in alphabetical order.                                    */
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

static const double PI = 3.14159265358979323846;

/* ---- short-time Fourier transform
 * ------------------------------------------------------------------- y[b, f, t] = sum over n of
 * x[b, t * hop + n] * w[n] * exp(-2 pi i f n / n_fft), as two products; the window, if shorter than
 * n_fft, stands in its middle.  The angle is reduced by f * n mod n_fft before it is scaled, so it
 * stays exact.               */
typedef struct {
  int64_t n_fft, hop, win;
  bool normalized, onesided;
} Stft;
static Stft read_stft(const OpAttrs *a) {
  Stft s = {attr_int(a, "n_fft"), attr_int(a, "hop_length"), attr_int(a, "win_length"),
            attr_bool(a, "normalized"), attr_bool(a, "onesided")};
  if (s.hop < 1) s.hop = s.n_fft / 4;
  if (s.win < 1) s.win = s.n_fft;
  return s;
}
static bool rel_stft(Rel *r) {
  Stft s = read_stft(rel_attrs(r));
  DimTab *t = rel_dims(r);
  if (!rel_want_rank(r, 0, 2) || !rel_want_rank(r, 1, 1) || !rel_same_dtype(r, 0, 1) ||
      !rel_want_class(r, 0, "f"))
    return false;
  if (s.n_fft < 1 || s.hop < 1 || s.win > s.n_fft)
    return rel_error(r, "n_fft and hop_length must be at least 1, win_length at most n_fft");
  TensorTy x = rel_tensor(r, 0), w = rel_tensor(r, 1);
  if (!rel_same_dim(r, w.dim[0], dim_const(t, s.win), "the extent of window and win_length") ||
      !rel_at_least(r, x.dim[1], dim_const(t, s.n_fft), "the length of data and n_fft"))
    return false;
  Dim frames =
      dim_add(t, dim_div(t, dim_sub(t, x.dim[1], dim_const(t, s.n_fft)), dim_const(t, s.hop)),
              dim_const(t, 1));
  Dim bins = dim_const(t, s.onesided ? s.n_fft / 2 + 1 : s.n_fft);
  return rel_result(r, x.dtype, 4, (Dim[]){x.dim[0], bins, frames, dim_const(t, 2)});
}
static bool stft_part(OpPlan *p, const Stft *s, int part, OpRef y_ref) {
  OpK k = opk_begin(p, part ? "stft_imag" : "stft_real");
  KB *b = k.b;
  KTensor x = opk_in(&k, 0), w = opk_in(&k, 1),
          y = part ? opk_inout(&k, y_ref) : opk_out(&k, y_ref);
  KE par[3], n, taps = kb_int(b, s->win);
  kb_contract_begin(b, 3, y.dim, par, 1, &taps, &n);
  KE off = kb_int(b, (s->n_fft - s->win) / 2), at_n = kb_add(b, n, off);
  KE a = kb_load(b, x.buf, (KE[]){par[0], kb_add(b, kb_mul(b, par[2], kb_int(b, s->hop)), at_n)});
  KE turn = kb_fmod(b, kb_mul(b, par[1], at_n), kb_int(b, s->n_fft));
  KE angle = kb_mul(b, kb_cast(b, turn, DT_f64), kb_float(b, DT_f64, 2 * PI / (double)s->n_fft));
  KE wave = part ? kb_un(b, S_neg, kb_un(b, S_sin, angle)) : kb_un(b, S_cos, angle);
  if (s->normalized) wave = kb_mul(b, wave, kb_float(b, DT_f64, 1 / sqrt((double)s->n_fft)));
  DType acc = relkit_acc(y.dtype);
  KE factor = kb_mul(b, kb_cast(b, kb_load(b, w.buf, &n), acc), kb_cast(b, wave, acc));
  KE sum = kb_contract_acc(b, acc, kb_cast(b, a, acc), factor);
  kb_store(b, y.buf, (KE[]){par[0], par[1], par[2], kb_int(b, part)}, kb_cast(b, sum, y.dtype));
  kb_contract_end(b);
  return opk_end(&k);
}
static bool lower_stft(OpPlan *p) {
  Stft s = read_stft(p->attrs);
  return stft_part(p, &s, 0, plan_result(p, 0)) && stft_part(p, &s, 1, plan_result(p, 0));
}

/* ---- records ----------------------------------------------------------------------------- */
#define OUT_DTYPE                                                                                  \
  { "out_dtype", A_DType, "", "element type of the result and the sum; that of the data if empty" }
const OpDef op_nn_dense = {
    .name = "nn.dense",
    .doc = "Matrix product of data with the transpose of weight.",
    .args = {{"data", "(..., k)", false}, {"weight", "(units, k), one row per output", false}},
    .attrs = {{"units", A_Int, "None", "rows of weight, for checking"},
              OUT_DTYPE,
              {"auto_scheduler_rewritten_layout", A_Ignored, "", ""}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_OutFusable,
    .rel = rel_dense,
    .lower = lower_dense,
    .examples = (const char *const[]){
        "nn.dense(f32[2,3], f32[4,3])", "nn.dense(f32[?2,5,?3], f32[4,?3], units=4)",
        "nn.dense(f16[2,3], f16[4,3])", "nn.dense(i8[2,3], i8[4,3], out_dtype=\"int32\")",
        "nn.dense(f32[0,3], f32[4,3])", "nn.dense(f64[2,0], f64[4,0])",
        "nn.dense(f32[3], f32[4,3])", NULL}};
const OpDef op_nn_contrib_dense_pack = {
    .name = "nn.contrib_dense_pack",
    .doc = "nn.dense with the weight in tiles of rows.",
    .args = {{"data", "(b, k)", false}, {"weight", "(units / t, k, t)", false}},
    .attrs = {{"units", A_Int, "None", "rows of weight, for checking"},
              OUT_DTYPE,
              {"weight_layout", A_Ignored, "NC", ""}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_OutFusable,
    .rel = rel_dense_pack,
    .lower = lower_dense_pack,
    .examples = (const char *const[]){"nn.contrib_dense_pack(f32[2,3], f32[2,3,4])",
                                      "nn.contrib_dense_pack(f32[?2,?3], f32[2,3,4], units=8)",
                                      "nn.contrib_dense_pack(f32[0,3], f32[2,3,4])", NULL}};
const OpDef op_nn_matmul = {
    .name = "nn.matmul",
    .doc = "Matrix product, either factor perhaps transposed; leading axes of tensor_a are kept.",
    .args = {{"tensor_a", "(..., m, k)", false}, {"tensor_b", "(k, n)", false}},
    .attrs = {{"units", A_Int, "None", "columns of the result, for checking"},
              OUT_DTYPE,
              {"transpose_a", A_Bool, "False", "tensor_a is (..., k, m)"},
              {"transpose_b", A_Bool, "False", "tensor_b is (n, k)"},
              {"auto_scheduler_rewritten_layout", A_Ignored, "", ""}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_OutFusable,
    .rel = rel_matmul,
    .lower = lower_matmul,
    .examples = (const char *const[]){
        "nn.matmul(f32[2,3], f32[3,4])",
        "nn.matmul(f32[?5,3,?2], f32[4,3], transpose_a=True, transpose_b=True)",
        "nn.matmul(f64[2,?3], f64[4,3], transpose_b=True)", "nn.matmul(f32[0,3], f32[3,4])", NULL}};
const OpDef op_nn_batch_matmul = {
    .name = "nn.batch_matmul",
    .doc = "Matrix product for each batch; a batch of 1 goes with every other.",
    .args = {{"tensor_a", "(b, m, k)", false}, {"tensor_b", "(b, k, n)", false}},
    .attrs = {OUT_DTYPE,
              {"transpose_a", A_Bool, "False", "tensor_a is (b, k, m)"},
              {"transpose_b", A_Bool, "False", "tensor_b is (b, n, k)"},
              {"auto_scheduler_rewritten_layout", A_Ignored, "", ""}},
    .flags = OP_PURE | OP_TOTAL,
    .pattern = PAT_OutFusable,
    .rel = rel_batch_matmul,
    .lower = lower_batch_matmul,
    .examples = (const char *const[]){"nn.batch_matmul(f32[2,3,4], f32[2,4,5])",
                                      "nn.batch_matmul(f32[?2,3,4], f32[?2,5,4], transpose_b=True)",
                                      "nn.batch_matmul(f32[1,4,3], f32[6,4,5], transpose_a=True)",
                                      "nn.batch_matmul(i8[2,3,4], i8[1,4,2], out_dtype=\"int32\")",
                                      "nn.batch_matmul(f32[0,3,4], f32[0,4,5])", NULL}};
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
const OpDef op_stft = {
    .name = "stft",
    .doc = "Short-time Fourier transform: batch, frequency, frame, (real, imaginary).",
    .args = {{"data", "(batch, samples)", false}, {"window", "(win_length)", false}},
    .attrs = {{"n_fft", A_Int, NULL, "points of the transform"},
              {"hop_length", A_Int, "-1", "samples between frames; n_fft / 4 if not given"},
              {"win_length", A_Int, "-1", "samples of the window; n_fft if not given"},
              {"normalized", A_Bool, "False", "divide by sqrt(n_fft)"},
              {"onesided", A_Bool, "True",
               "only the n_fft / 2 + 1 frequencies that are not mirrored"}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_stft,
    .lower = lower_stft,
    .examples = (const char *const[]){"stft(f32[2,40], f32[16], n_fft=16, hop_length=8)",
                                      "stft(f64[1,?33], f64[10], n_fft=12, hop_length=5, "
                                      "win_length=10, onesided=False, normalized=True)",
                                      NULL}};
