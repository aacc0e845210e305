/* image.c -- the tables of an image's vocabulary: instructions, runtime
 * kernels, when types agree; and giving an image's memory back.               */
#include "vm/image.h"
#include "vm/image_format.h"
#include "vm/runtime.h"

const OpInfo op_info[OP_COUNT] = {
#define OP(name, form, doc) {#name, form, doc},
#include "vm/opcode.def"
#undef OP
};

const RtInfo rt_info[RT_COUNT] = {
#define RT(id, name, in, out, numbers, doc) {name, in, out, numbers},
#include "vm/runtime.def"
#undef RT
};

int rt_find(const char *name) {
  for (int i = 0; i < RT_COUNT; i++)
    if (strcmp(rt_info[i].name, name) == 0) return i;
  return -1;
}

bool itype_agree(const Image *m, uint32_t a, uint32_t b) {
  if (a == b) return true;
  const IType *x = &m->type[a], *y = &m->type[b];
  if (x->kind != y->kind || x->dtype != y->dtype) return false;
  return x->kind == IT_SCALAR || (x->kind == IT_TENSOR && x->rank == y->rank);
}

/* ---- the arrays of Image and Kernel, as data ---------------------------- */

#define F(T, f)                                                                                    \
  { offsetof(T, f), sizeof(((T *)0)->f), 1 }
#define FN(T, f, n)                                                                                \
  { offsetof(T, f), sizeof(((T *)0)->f[0]), n }
static const WireField wf_byte[] = {{0, 1, 1}};
static const WireField wf_u32[] = {{0, 4, 1}};
static const WireField wf_i64[] = {{0, 8, 1}};
static const WireField wf_type[] = {F(IType, kind),       F(IType, dtype),      F(IType, rank),
                                    F(IType, is_tuple),   F(IType, name),       F(IType, first_dim),
                                    F(IType, n_ctors),    F(IType, first_ctor), F(IType, n_list),
                                    F(IType, first_list), F(IType, result)};
static const WireField wf_ctor[] = {F(ICtor, name), F(ICtor, n_fields), F(ICtor, first_field),
                                    F(ICtor, n_names), F(ICtor, first_name)};
static const WireField wf_const[] = {F(IConst, type), F(IConst, first_dim), F(IConst, bits),
                                     F(IConst, at), F(IConst, bytes)};
static const WireField wf_func[] = {F(IFunc, name),        F(IFunc, n_captures), F(IFunc, n_params),
                                    F(IFunc, first_param), F(IFunc, result),     F(IFunc, n_regs),
                                    F(IFunc, code),        F(IFunc, n_code),     F(IFunc, label),
                                    F(IFunc, n_labels),    F(IFunc, line),       F(IFunc, n_lines)};
static const WireField wf_ins[] = {F(Ins, op), F(Ins, a), F(Ins, b), F(Ins, c)};
static const WireField wf_label[] = {F(ILabel, pc), F(ILabel, n_regs), F(ILabel, first)};
static const WireField wf_state[] = {F(IRegState, reg), F(IRegState, ctor), F(IRegState, type)};
static const WireField wf_line[] = {F(ILine, pc), F(ILine, line), F(ILine, col), F(ILine, file)};
static const WireField wf_entry[] = {F(IEntry, name), F(IEntry, func), F(IEntry, first_name),
                                     F(IEntry, doc)};
static const WireField wf_buf[] = {F(KBuf, role), F(KBuf, dtype), F(KBuf, rank), F(KBuf, name),
                                   FN(KBuf, dim, K_MAX_RANK)};
static const WireField wf_node[] = {F(KNode, kind), F(KNode, op), F(KNode, dtype), F(KNode, rank),
                                    F(KNode, a),    F(KNode, b),  F(KNode, c),     F(KNode, bits)};
static const WireField wf_stmt[] = {F(KStmt, kind),   F(KStmt, op),  F(KStmt, dtype),
                                    F(KStmt, unused), F(KStmt, var), F(KStmt, a),
                                    F(KStmt, b),      F(KStmt, c),   F(KStmt, end)};
static const WireField wf_var[] = {F(KVar, kind), F(KVar, dtype), F(KVar, name)};

#define ARRAY(S, T, n, p, f)                                                                       \
  { offsetof(S, n), offsetof(S, p), sizeof(T), sizeof f / sizeof *f, f }
#define IMG(T, n, p, f) ARRAY(Image, T, n, p, f)
#define KER(T, n, p, f) ARRAY(Kernel, T, n, p, f)
const WireArray image_array[IMAGE_ARRAYS] = {
    IMG(char, n_text, text, wf_byte),          IMG(IType, n_types, type, wf_type),
    IMG(ICtor, n_ctors, ctor, wf_ctor),        IMG(uint32_t, n_type_list, type_list, wf_u32),
    IMG(int64_t, n_dims, dims, wf_i64),        IMG(IConst, n_consts, cst, wf_const),
    IMG(IFunc, n_funcs, func, wf_func),        IMG(Ins, n_code, code, wf_ins),
    IMG(uint32_t, n_pool, pool, wf_u32),       IMG(ILabel, n_labels, label, wf_label),
    IMG(IRegState, n_states, state, wf_state), IMG(ILine, n_lines, line, wf_line),
    IMG(IEntry, n_entries, entry, wf_entry),   IMG(uint32_t, n_name_list, name_list, wf_u32),
};
const WireArray kernel_array[KERNEL_ARRAYS] = {
    KER(uint32_t, n_syms, sym_name, wf_u32), KER(KBuf, n_bufs, buf, wf_buf),
    KER(KNode, n_nodes, node, wf_node),      KER(KStmt, n_stmts, stmt, wf_stmt),
    KER(KVar, n_vars, var, wf_var),          KER(uint32_t, n_pool, pool, wf_u32),
    KER(char, n_text, text, wf_byte),
};

size_t wire_size(const WireArray *w) {
  size_t n = 0;
  for (int i = 0; i < w->n_fields; i++) n += (size_t)w->field[i].size * w->field[i].count;
  return n;
}

uint32_t *wire_count(const WireArray *w, void *s) { return (uint32_t *)((char *)s + w->count); }
void *wire_get(const WireArray *w, const void *s) {
  void *p;
  memcpy(&p, (const char *)s + w->ptr, sizeof p);
  return p;
}
void wire_set(const WireArray *w, void *s, void *p) { memcpy((char *)s + w->ptr, &p, sizeof p); }

/* ---- freeing ------------------------------------------------------------ */

static void give(KAlloc a, void *p, size_t n) {
  if (p && n) a.fn(a.user, p, n, 0);
}

static void free_arrays(const WireArray *w, int n, void *s, KAlloc a) {
  for (int i = 0; i < n; i++, w++) give(a, wire_get(w, s), (size_t)w->elem * *wire_count(w, s));
}

void image_free(Image *m, KAlloc a) {
  for (uint32_t i = 0; m->kernel && i < m->n_kernels; i++) {
    if (!m->kernel[i]) continue;
    free_arrays(kernel_array, KERNEL_ARRAYS, m->kernel[i], a);
    give(a, m->kernel[i], sizeof(Kernel));
  }
  give(a, m->kernel, (size_t)m->n_kernels * sizeof *m->kernel);
  free_arrays(image_array, IMAGE_ARRAYS, m, a);
  memset(m, 0, sizeof *m);
}

/* ---- sources ------------------------------------------------------------------------------ */
const ILine *image_line(const Image *m, const IFunc *f, uint32_t pc) {
  const ILine *l = m->line + f->line;
  uint32_t lo = 0, hi = f->n_lines;
  while (lo < hi) {
    uint32_t mid = lo + (hi - lo) / 2;
    if (l[mid].pc <= pc)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo > 0 ? &l[lo - 1] : NULL;
}
