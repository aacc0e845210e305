/* emit_expr.c -- expressions: operands first, with an explicit stack, each node
 * once per evaluation; elements in registers and in memory.                  */
#include "codegen/llvm/emit.h"

/* ---- elements and vectors ------------------------------------------------------------ */
bool is_vector(Val x) { return LLVMGetTypeKind(LLVMTypeOf(x)) == LLVMVectorTypeKind; }

LLVMTypeRef shaped(LLVMTypeRef t, Val x) {
  return is_vector(x) ? LLVMVectorType(t, LLVMGetVectorSize(LLVMTypeOf(x))) : t;
}

Val int_const(LLVMTypeRef t, uint64_t v) {
  if (LLVMGetTypeKind(t) != LLVMVectorTypeKind) return LLVMConstInt(t, v, true);
  Val lane[64], one = LLVMConstInt(LLVMGetElementType(t), v, true);
  unsigned n = LLVMGetVectorSize(t);
  for (unsigned i = 0; i < n && i < 64; i++) lane[i] = one;
  return LLVMConstVector(lane, n);
}

Val lane_of(Emit *e, Val x, unsigned i) {
  return x ? LLVMBuildExtractElement(e->b, x, LLVMConstInt(int_type(e, 32), i, false), "") : NULL;
}

Val with_lane(Emit *e, Val v, Val x, unsigned i, unsigned n) {
  if (!v) v = LLVMGetPoison(LLVMVectorType(LLVMTypeOf(x), n));
  return LLVMBuildInsertElement(e->b, v, x, LLVMConstInt(int_type(e, 32), i, false), "");
}

Val emit_intrinsic(Emit *e, const char *name, LLVMTypeRef t, Val *arg, unsigned n) {
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  Val fn = LLVMGetIntrinsicDeclaration(e->m, id, &t, 1);
  return LLVMBuildCall2(e->b, LLVMIntrinsicGetType(e->c, id, &t, 1), fn, arg, n, "");
}

Val emit_call(Emit *e, const char *name, LLVMTypeRef result, Val *arg, unsigned n, bool pure) {
  LLVMTypeRef t[8];
  for (unsigned i = 0; i < n; i++) t[i] = LLVMTypeOf(arg[i]);
  LLVMTypeRef type = LLVMFunctionType(result, t, n, false);
  Val fn = LLVMGetNamedFunction(e->m, name);
  if (!fn) {
    fn = LLVMAddFunction(e->m, name, type);
    fn_attribute(e, fn, "nounwind");
    if (pure) fn_attribute(e, fn, "willreturn");
    if (pure) fn_attribute(e, fn, "memory"); /* reads and writes nothing */
  }
  return LLVMBuildCall2(e->b, type, fn, arg, n, "");
}

/* ---- halves -------------------------------------------------------------------------- */
static Val to_bf16(Emit *e, Val x) {
  LLVMTypeRef i32 = shaped(int_type(e, 32), x);
  Val u = LLVMBuildBitCast(e->b, x, i32, "");
  Val c16 = int_const(i32, 16), top = LLVMBuildLShr(e->b, u, c16, "");
  Val odd = LLVMBuildAnd(e->b, top, int_const(i32, 1), "");
  Val r = LLVMBuildAdd(e->b, u, int_const(i32, 0x7fff), "");
  r = LLVMBuildLShr(e->b, LLVMBuildAdd(e->b, r, odd, ""), c16, "");
  Val quiet = LLVMBuildOr(e->b, top, int_const(i32, 0x40), "");
  Val nan = LLVMBuildFCmp(e->b, LLVMRealUNO, x, x, "");
  r = LLVMBuildSelect(e->b, nan, quiet, r, "");
  return LLVMBuildTrunc(e->b, r, shaped(int_type(e, 16), x), "");
}

static Val from_bf16(Emit *e, Val h) {
  LLVMTypeRef i32 = shaped(int_type(e, 32), h);
  Val u = LLVMBuildShl(e->b, LLVMBuildZExt(e->b, h, i32, ""), int_const(i32, 16), "");
  return LLVMBuildBitCast(e->b, u, shaped(LLVMFloatTypeInContext(e->c), h), "");
}

static Val call_by_lanes(Emit *e, const char *name, LLVMTypeRef t, Val x) {
  if (!is_vector(x)) return emit_call(e, name, t, &x, 1, true);
  Val v = NULL;
  unsigned n = LLVMGetVectorSize(LLVMTypeOf(x));
  for (unsigned i = 0; i < n; i++) {
    Val one = lane_of(e, x, i);
    v = with_lane(e, v, emit_call(e, name, t, &one, 1, true), i, n);
  }
  return v;
}

static Val to_f16(Emit *e, Val x) {
  if (!e->cpu.f16c) return call_by_lanes(e, "rvm.to_f16", int_type(e, 16), x);
  Val h = LLVMBuildFPTrunc(e->b, x, shaped(LLVMHalfTypeInContext(e->c), x), "");
  return LLVMBuildBitCast(e->b, h, shaped(int_type(e, 16), x), "");
}

static Val from_f16(Emit *e, Val h) {
  LLVMTypeRef f = LLVMFloatTypeInContext(e->c);
  if (!e->cpu.f16c) return call_by_lanes(e, "rvm.from_f16", f, h);
  h = LLVMBuildBitCast(e->b, h, shaped(LLVMHalfTypeInContext(e->c), h), "");
  return LLVMBuildFPExt(e->b, h, shaped(f, h), "");
}

Val to_memory(Emit *e, DType t, Val x) {
  if (t == DT_bool) return LLVMBuildZExt(e->b, x, shaped(int_type(e, 8), x), "");
  if (t == DT_f16) return to_f16(e, x);
  if (t == DT_bf16) return to_bf16(e, x);
  return x;
}

Val from_memory(Emit *e, DType t, Val x) {
  if (t == DT_bool) return LLVMBuildICmp(e->b, LLVMIntNE, x, LLVMConstNull(LLVMTypeOf(x)), "");
  if (t == DT_f16) return from_f16(e, x);
  if (t == DT_bf16) return from_bf16(e, x);
  return x;
}

Val emit_round_half(Emit *e, DType t, Val x) {
  return t == DT_f16 || t == DT_bf16 ? from_memory(e, t, to_memory(e, t, x)) : x;
}

/* ---- memory -------------------------------------------------------------------------- */
/* Row-major; the access is inside the buffer, so nothing overflows. */
Val emit_address(Emit *e, uint32_t buf, const Val *index) {
  const KBuf *b = &e->k->buf[buf];
  Val at = i64_of(e, 0);
  for (int i = 0; i < b->rank; i++)
    at = i ? LLVMBuildNSWAdd(e->b, LLVMBuildNSWMul(e->b, at, e->dim[buf][i], ""), index[i], "")
           : index[0];
  return LLVMBuildInBoundsGEP2(e->b, mem_type(e, (DType)b->dtype), e->buf[buf], &at, 1, "");
}

static Val load_element(Emit *e, uint32_t buf, const Val *index) {
  DType t = (DType)e->k->buf[buf].dtype;
  Val v = LLVMBuildLoad2(e->b, mem_type(e, t), emit_address(e, buf, index), "");
  LLVMSetAlignment(v, (unsigned)dtype_bytes(t));
  return from_memory(e, t, v);
}

static Val load_or(Emit *e, uint32_t buf, const Val *index, Val other) {
  Val inside = LLVMConstInt(int_type(e, 1), 1, false);
  for (int i = 0; i < e->k->buf[buf].rank; i++) {
    Val ok = LLVMBuildICmp(e->b, LLVMIntULT, index[i], e->dim[buf][i], "");
    inside = LLVMBuildAnd(e->b, inside, ok, "");
  }
  Block from = LLVMGetInsertBlock(e->b), in = new_block(e, "inside"), next = new_block(e, "");
  LLVMBuildCondBr(e->b, inside, in, next);
  LLVMPositionBuilderAtEnd(e->b, in);
  Val v = load_element(e, buf, index);
  LLVMBuildBr(e->b, next);
  LLVMPositionBuilderAtEnd(e->b, next);
  Val phi = LLVMBuildPhi(e->b, LLVMTypeOf(v), "");
  LLVMAddIncoming(phi, (Val[]){v, other}, (Block[]){in, from}, 2);
  return phi;
}

Val emit_bits(Emit *e, Val x, DType from, DType to) {
  Val m = to_memory(e, from, x);
  return from_memory(e, to, LLVMBuildBitCast(e->b, m, shaped(mem_type(e, to), m), ""));
}

/* ---- nodes --------------------------------------------------------------------------- */
static Val emit_const(Emit *e, const KNode *n) {
  DType t = (DType)n->dtype;
  if (t == DT_bool) return LLVMConstInt(int_type(e, 1), n->bits != 0, false);
  Val v = LLVMConstInt(int_type(e, dtype_bytes(t) * 8), n->bits, false);
  if (t == DT_f32 || t == DT_f64) return LLVMConstBitCast(v, reg_type(e, t));
  if (dtype_is_float(t)) {
    float f = t == DT_f16 ? f16_to_f32((uint16_t)n->bits) : bf16_to_f32((uint16_t)n->bits);
    uint32_t u;
    memcpy(&u, &f, 4);
    return LLVMConstBitCast(LLVMConstInt(int_type(e, 32), u, false), reg_type(e, t));
  }
  return v;
}

static Val emit_node(Emit *e, KE at) {
  const KNode *n = &e->k->node[at];
  Val index[K_MAX_RANK];
  for (int i = 0; (n->kind == KN_Load || n->kind == KN_LoadOr) && i < n->rank; i++)
    index[i] = e->val[e->k->pool[n->b + (uint32_t)i]];
  switch ((KNodeKind)n->kind) {
  case KN_Const: return emit_const(e, n);
  case KN_Sym: return e->sym[n->a];
  case KN_Var:
    if (!e->in_memory[n->a]) return e->var[n->a];
    if (LLVMGetTypeKind(LLVMGetAllocatedType(e->var[n->a])) == LLVMArrayTypeKind)
      return emit_strip_var(e, n->a);
    return LLVMBuildLoad2(e->b, reg_type(e, (DType)n->dtype), e->var[n->a], "");
  case KN_Op: {
    int arity = sop_info[n->op].arity;
    DType t = (DType)e->k->node[arity == 3 ? n->b : n->a].dtype;
    return emit_op(e, (SOp)n->op, t, e->val[n->a], arity > 1 ? e->val[n->b] : NULL,
                   arity > 2 ? e->val[n->c] : NULL);
  }
  case KN_Cast: return emit_cast(e, e->val[n->a], (DType)e->k->node[n->a].dtype, (DType)n->dtype);
  case KN_Bits: return emit_bits(e, e->val[n->a], (DType)e->k->node[n->a].dtype, (DType)n->dtype);
  case KN_Load: return load_element(e, n->a, index);
  case KN_LoadOr: return load_or(e, n->a, index, e->val[n->c]);
  }
  return NULL;
}

Val emit_expr(Emit *e, KE root) {
  uint32_t n = 0;
  e->epoch++;
  e->todo[n++] = root;
  while (n > 0) {
    KE at = e->todo[n - 1], o;
    uint32_t i = 0;
    while ((o = kernel_operand(e->k, at, i)) != KE_NONE && e->seen[o] == e->epoch) i++;
    if (o != KE_NONE) {
      e->todo[n++] = o;
      continue;
    }
    e->val[at] = emit_node(e, at);
    e->seen[at] = e->epoch;
    n--;
  }
  return e->val[root];
}
