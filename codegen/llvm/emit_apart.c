/* emit_apart.c -- loops over buffers that may be one.
 *
 * An output may take the memory of an input that a kernel reads for the last time
 * (kernel_in_place): every iteration of a parallel loop then reads at most the
 * element that it writes.  LLVM sees only that the two may overlap and would take
 * such a loop one element at a time; it is told here that iterations do not meet. */
#include <llvm-c/DebugInfo.h>
#include <string.h>
#include "codegen/llvm/emit_stmt.h"

static unsigned kind_of(const Emit *e, const char *name) {
  return LLVMGetMDKindIDInContext(e->c, name, (unsigned)strlen(name));
}

/* The identity of a loop: a node that holds itself. */
static LLVMMetadataRef own_node(const Emit *e) {
  LLVMMetadataRef own = LLVMTemporaryMDNode(e->c, NULL, 0);
  LLVMMetadataRef node = LLVMMDNodeInContext2(e->c, &own, 1);
  LLVMMetadataReplaceAllUsesWith(own, node);
  return node;
}

static void mark_block(Block b, unsigned kind, Val id) {
  for (Val i = LLVMGetFirstInstruction(b); i; i = LLVMGetNextInstruction(i)) {
    LLVMOpcode op = LLVMGetInstructionOpcode(i);
    if (op == LLVMLoad || op == LLVMStore) LLVMSetMetadata(i, kind, id);
  }
}

bool for_is_apart(const Emit *e, uint32_t at) {
  const KStmt *s = &e->k->stmt[at];
  if (!e->shared || s->op != K_PARALLEL) return false;
  for (uint32_t i = at + 1; i < s->end; i++)
    if (e->k->stmt[i].kind != KS_Let && e->k->stmt[i].kind != KS_Store) return false;
  return true;
}

void loop_end_apart(Emit *e, Loop *l, Block before) {
  Block latch = LLVMGetInsertBlock(e->b);
  Val id = LLVMMetadataAsValue(e->c, own_node(e));
  unsigned kind = kind_of(e, "llvm.mem.parallel_loop_access");
  loop_end(e, l);
  mark_block(l->body, kind, id);
  for (Block b = LLVMGetNextBasicBlock(before); b; b = LLVMGetNextBasicBlock(b))
    mark_block(b, kind, id);
  LLVMSetMetadata(LLVMGetBasicBlockTerminator(latch), kind_of(e, "llvm.loop"), id);
}
